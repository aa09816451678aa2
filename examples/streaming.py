"""The same model over whole sequences and one time step at a time, and the cost of a step.

python examples/streaming.py --units 64 --steps 2000
"""

import argparse
import time

import numpy as np

import seqcore as sc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--steps", type=int, default=1000, help="time steps to stream")
    arguments = parser.parse_args()

    sc.set_seed(0)
    model = sc.Sequential(
        [
            sc.layers.Input((None, 16)),
            sc.layers.GRU(arguments.units, return_sequences=True),
            sc.layers.LSTM(arguments.units, return_sequences=True),
            sc.layers.Dense(3, activation="softmax"),
        ]
    )
    x = np.random.default_rng(0).normal(size=(1, arguments.steps, 16)).astype(np.float32)
    whole = model.predict(x, verbose=0)

    stream = model.stream()
    seconds, largest = [], 0.0
    for t in range(arguments.steps):
        x_t = np.ascontiguousarray(x[:, t])
        begin = time.perf_counter()
        y_t = stream.step(x_t)
        seconds.append(time.perf_counter() - begin)
        largest = max(largest, float(np.abs(y_t - whole[:, t]).max()))
    print(f"one step: median {1e6 * np.median(seconds):.1f} µs")
    print(f"largest difference to the whole sequence: {largest:.1e}")

    middle = stream.get_state()  # copies: the stream can return to this state
    first = stream.step(x_t)
    stream.set_state(middle)
    print(f"the same step from the same state is equal: {np.array_equal(first, stream.step(x_t))}")


if __name__ == "__main__":
    main()
