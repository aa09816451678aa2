"""A cell stepped by hand under a GradientTape: the model must remember the first number of a noisy sequence.

python examples/cells_in_a_loop.py --steps 20
"""

import argparse

import numpy as np

import seqcore as sc


class Memory(sc.Model):
    """Reads (B, T, 1) step by step; one output per sequence."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.cell = sc.layers.LSTMCell(units)
        self.head = sc.layers.Dense(1)

    def call(self, inputs, training=False):
        state = self.cell.get_initial_state(inputs.shape[0])
        for x_t in sc.unstack(inputs, axis=1):
            out, state = self.cell(x_t, state, training)
        return self.head(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=32)
    parser.add_argument("--steps", type=int, default=15, help="length of a sequence")
    parser.add_argument("--batches", type=int, default=600)
    arguments = parser.parse_args()

    sc.set_seed(0)
    rng = np.random.default_rng(0)
    model, optimizer, loss_of = Memory(arguments.units), sc.optimizers.Adam(0.005), sc.losses.MeanSquaredError()
    total, every = 0.0, max(1, arguments.batches // 6)
    for batch in range(1, arguments.batches + 1):
        x = rng.uniform(-1, 1, (64, arguments.steps, 1)).astype(np.float32)
        with sc.GradientTape() as tape:
            loss = loss_of(x[:, 0], model(x, training=True))
        gradients, _ = sc.clip_by_global_norm(tape.gradient(loss, model.trainable_variables), 1.0)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        total += float(loss)
        if batch % every == 0:
            print(f"batch {batch}: mean squared error {total / every:.4f} (guessing the mean: 0.3333)")
            total = 0.0


if __name__ == "__main__":
    main()
