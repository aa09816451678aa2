"""Files of MNIST with random images."""

import gzip

import numpy as np


def idx(values, kind=8):
    values = np.asarray(values, np.uint8)
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, kind, values.ndim]) + sizes + values.tobytes()


def write_mnist(folder, train=12, test=4, compress=(), dots=False, **changes):
    """Four idx files of random images, byte strings in ``changes`` put over them."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte": rng.integers(0, 256, (train, 5, 4)),
        "train-labels-idx1-ubyte": np.arange(train) % 10,
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (test, 5, 4)),
        "t10k-labels-idx1-ubyte": np.arange(test) % 10,
    }
    for number, (name, values) in enumerate(arrays.items()):
        content = changes.get(name.split("-idx")[0].replace("-", "_"), idx(values))
        path = folder / (name.replace("-idx", ".idx") if dots else name)
        if number in compress:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
        else:
            path.write_bytes(content)
    return arrays
