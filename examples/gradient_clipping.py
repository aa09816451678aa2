"""A custom training loop with and without clipping: a ReLU network learns the sum of 40 numbers.

python examples/gradient_clipping.py --clip 1 --batches 400
"""

import argparse
import math

import numpy as np

import seqcore as sc


def train(clip: float, batches: int, seed: int) -> None:
    """Plain SGD from recurrent weights that stretch the state 1.5 times at each step; ``clip`` 0 means no clipping."""
    sc.set_seed(seed)
    rng = np.random.default_rng(seed)
    cell = sc.layers.SimpleRNN(32, activation="relu", recurrent_initializer=sc.initializers.Orthogonal(1.5))
    model = sc.Sequential([sc.layers.Input((None, 1)), cell, sc.layers.Dense(1)])
    optimizer, loss_of = sc.optimizers.SGD(0.03), sc.losses.MeanSquaredError()
    total, largest, every = 0.0, 0.0, max(1, batches // 8)
    for batch in range(1, batches + 1):
        x = rng.uniform(-1, 1, (64, 40, 1)).astype(np.float32)
        y = x.sum(axis=1) / math.sqrt(40 / 3)  # of variance 1
        with sc.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        norm = sc.global_norm(gradients)
        if clip:
            gradients, _ = sc.clip_by_global_norm(gradients, clip, use_norm=norm)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        total, largest = total + float(loss), max(largest, float(norm))
        if not math.isfinite(total):
            print(f"  batch {batch:4}: the loss is no longer a number")
            return
        if batch % every == 0:
            print(f"  batch {batch:4}: loss {total / every:10.4g}   largest norm of the gradients {largest:10.4g}")
            total = largest = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=float, default=1.0, help="largest norm of all gradients together")
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    for clip in (0.0, arguments.clip):
        print(f"clipped by global norm {clip:g}:" if clip else "without clipping:")
        train(clip, arguments.batches, arguments.seed)


if __name__ == "__main__":
    main()
