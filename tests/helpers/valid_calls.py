"""A valid call of every function, method and constructor of the compiled core, with all of its arguments."""

import ast
import functools
import os
from pathlib import Path

import numpy as np

from seqcore import _core

ROOT = Path(__file__).resolve().parents[2]
F32, F64, I32, I64 = np.float32, np.float64, np.int32, np.int64

GUARD = 64  # elements before and behind each array, which no call may write
guards = []  # (buffer, its first element that belongs to the array, how many) of this call


def guarded(array):
    """A copy of an array in the middle of a buffer whose other elements are watched."""
    buffer = np.frombuffer(bytearray(b"\xa5" * ((array.size + 2 * GUARD) * array.itemsize)), array.dtype)
    guards.append((buffer, array.size))
    inside = buffer[GUARD : GUARD + array.size].reshape(array.shape)
    inside[...] = array
    return inside


def guards_hold():
    """True if the memory before and behind an array is unchanged."""
    return all(set(buffer[:GUARD].tobytes() + buffer[GUARD + size :].tobytes()) <= {0xA5} for buffer, size in guards)


def full(*shape, dtype=F32):
    """Numbers between 0.1 and 0.9."""
    count = int(np.prod(shape))
    return guarded((0.1 + 0.8 * (np.arange(count) * 7 % 11) / 11).reshape(shape).astype(dtype))


def whole(*values, dtype=I32):
    return guarded(np.array(values, dtype))


def flags(*shape):
    return guarded((np.arange(int(np.prod(shape))) % 3 > 0).reshape(shape))


def layer(dtype=F32):  # B 3, T 4, D 5, H 6
    return full(5, 24, dtype=dtype), full(6, 24, dtype=dtype), full(24, dtype=dtype)


def forward(variant):
    """Arguments of `recurrent_forward` that use all of them, in one or two directions."""
    both = variant == "both"
    return {
        "cell": "lstm",
        "x": full(3, 4, 5),
        "weights": [layer() for _ in range(1 + both)],
        "sequences": True,
        "save": True,
        "states": True,
        "packed": _core.recurrent.PackedWeights(),
        "initial": [(full(3, 6), full(3, 6)) for _ in range(1 + both)],
        "reverse": (False, True) if both else (True,),
        "lengths": None if both else whole(4, 1, 0),
        "mask": flags(3, 4) if both else None,
        "input_dropout": [full(3, 5) for _ in range(1 + both)],
        "state_dropout": [full(3, 6) for _ in range(1 + both)],
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "processing_order": False,
        "zero_masked": True,
        "mixed": False,
        "layout": "keras",
        "batch_sizes": None,
        "reserve": None,
        "restore": False,
        "own_y": both,
    }


def forward_of_torch():
    """Arguments of `recurrent_forward` as PyTorch's layers give them: rows without padding, a reserve."""
    return {
        **forward("both"),
        "cell": "gru",
        "x": full(8, 5),
        "weights": [(full(18, 5), full(18, 6), full(18), full(18)) for _ in range(2)],
        "initial": [(full(3, 6),) for _ in range(2)],
        "mask": None,
        "state_dropout": None,
        "layout": "torch",
        "batch_sizes": whole(3, 2, 2, 1, dtype=I64),
        "reserve": full(11 * _core.recurrent.reserve_columns("gru", 6, 2, False)),
        "own_y": False,
    }


def backward():
    return {
        "saved": _core.recurrent.recurrent_forward(**forward("one"))[2],
        "dy": full(3, 4, 6),
        "dstates": [(full(3, 6), full(3, 6))],
        "need_dx": True,
        "need_weights": True,
        "need_initial": True,
        "step_gradients": True,
        "out": [layer()],
    }


def scan(dtype=F32):
    return {"initial": full(3, 5, dtype=dtype), "lengths": whole(4, 1, 0), "mask": None, "reverse": True}


def optimizer(*slots, **options):
    """Arguments of an optimizer over two arrays, with so many lists of slots."""
    lists = {name: [full(3, 4), full(5)] for name in ("params", "grads", *slots)}
    return {**lists, "learning_rate": 0.1, **options, "scale": 0.5, "clipvalue": 0.7}


def sampled(**options):
    table = _core.sampling.sample_classes("uniform", 9, np.zeros(6, I64), 4, True, 1, 2)
    return {
        "weights": full(9, 5),
        "biases": full(9),
        "labels": whole([1, 2], [3, 8], [0, 4], dtype=I64),
        "inputs": full(3, 5),
        "sampled_values": (guarded(table[0]), guarded(table[1].reshape(3, 2)), guarded(table[2])),
        "num_sampled": 4,
        "softmax": True,
        "target": 0.5,
        "correct": True,
        "remove_hits": True,
        "by_columns": False,
        "gradients": True,
        "need_dx": True,
        "need_weights": True,
        "weight": 0.5,
        "row_weights": full(3),
        "seed": 3,
        "call": 4,
        **options,
    }


def word2vec():
    return {
        "words": whole(0, 1, 2, 3, 4, 0, 1, 2),
        "sentences": whole(0, 3, 8, dtype=I64),
        "first": 0,
        "last": 2,
        "input": full(5, 16),
        "output": full(5, 16),
        "size": 16,
        "subsample_threshold": whole(1 << 31, 1 << 31, 1 << 31, 1 << 31, 1 << 31, dtype=np.uint32),
        "noise": _core.sampling.AliasTable(np.arange(1.0, 6.0)),
        "log_noise": full(5),
        "window": 2,
        "negatives": 3,
        "shrink": True,
        "cbow": False,
        "mean": True,
        "rate_begin": 0.1,
        "rate_end": 0.01,
        "seed": 5,
        "threads": 1,
        "lock": full(5),
        "deterministic": True,
    }


def corpus():
    """A small text, one for all calls of a process."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"seqcore-hostile-{os.getpid()}.txt"
    if not path.exists():
        path.write_text("a b c\nb c d d\n")
    return str(path)


def stream(ids=False):
    made = _core.stream.Stream(2)
    if ids:
        made.add_embedding(full(4, 5))
    made.add_recurrent("lstm", *layer())
    made.add_dense(full(6, 3), full(3), "softmax")
    return made


def recurrent_stream():
    made = _core.stream.Stream(2)
    made.add_recurrent("lstm", *layer())
    return made


def dense(**options):
    return {"x": full(3, 5), "kernel": full(5, 4), **options}


CONTEXT = {
    "context_kernel": lambda: full(6, 2),
    "kernel": lambda: full(6, 3),
    "context_recurrent": lambda: full(2, 3),
    "recurrent": lambda: full(3, 3),
    "bias": lambda: full(3),
}

# By place (and, behind a slash, a variant): a function that makes (the callable, its arguments by name) again.
CALLS = {
    "info": lambda: (_core.system.info, {}),
    "memory": lambda: (_core.system.memory, {}),
    "get_num_threads": lambda: (_core.system.get_num_threads, {}),
    "set_num_threads": lambda: (_core.system.set_num_threads, {"count": 1}),
    "peak_gflops": lambda: (_core.system.peak_gflops, {"dtype": "float64", "seconds": 0.001}),
    "PackedWeights.__init__": lambda: (_core.recurrent.PackedWeights, {}),
    "PackedWeights.__reduce__": lambda: (_core.recurrent.PackedWeights().__reduce__, {}),
    "recurrent_forward": lambda: (_core.recurrent.recurrent_forward, forward("one")),
    "recurrent_forward/both": lambda: (_core.recurrent.recurrent_forward, forward("both")),
    "recurrent_forward/torch": lambda: (_core.recurrent.recurrent_forward, forward_of_torch()),
    "recurrent_backward": lambda: (_core.recurrent.recurrent_backward, backward()),
    "reserve_columns": lambda: (
        _core.recurrent.reserve_columns,
        {"cell": "gru", "units": 6, "directions": 2, "own_y": False, "dtype": "float64"},
    ),
    "new_reserve": lambda: (_core.recurrent.new_reserve, {"size": 16, "dtype": "float64"}),
    "replay_regions": lambda: (_core.system.replay_regions, {"regions": np.array([[1.0, 0.5, 0.25, 2.0, 1.0]] * 3)}),
    "plan_threads": lambda: (
        _core.recurrent.plan_threads,
        {
            "cell": "gru",
            "batch": 20,
            "rows": 700,
            "features": 650,
            "units": 650,
            "directions": 2,
            "dtype": "float64",
            "save": False,
            "threads": 2,
            "busy": 1,
            "lanes": 8,
        },
    ),
    "plan_product": lambda: (
        _core.recurrent.plan_product,
        {"rows": 700, "units": 200, "gates": 4, "threads": 16, "dtype": "float64", "lanes": 8},
    ),
    "plan_gradients": lambda: (
        _core.recurrent.plan_gradients,
        {"columns": 400, "units": 200, "gates": 4, "threads": 16, "dtype": "float64", "lanes": 8},
    ),
    "context_scan_forward": lambda: (_core.context.context_scan_forward, {"z": full(3, 4, 5), "alpha": 0.5, **scan()}),
    "context_scan_backward": lambda: (
        _core.context.context_scan_backward,
        {
            "ds": full(3, 4, 5, dtype=F64),
            "ds_last": full(3, 5, dtype=F64),
            "alpha": 0.5,
            "shape": (3, 4, 5),
            "lengths": None,
            "mask": flags(3, 4),
            "reverse": False,
            "dtype": "float64",
        },
    ),
    "dense_forward": lambda: (_core.dense.dense_forward, dense(bias=full(4), activation="tanh", mixed=False)),
    "dense_backward": lambda: (
        _core.dense.dense_backward,
        {
            **dense(y=full(3, 4), dy=full(3, 4), activation="tanh", use_bias=True, need_dx=True, need_weights=True),
            "out": (full(5, 4), full(4)),
            "mixed": False,
        },
    ),
    "linear_softmax": lambda: (
        _core.dense.linear_softmax,
        {
            **dense(bias=full(4), targets=whole(0, 3, 1), weights=full(3), gradients=True, need_dx=True),
            "out": (full(5, 4), full(4)),
            "mixed": False,
        },
    ),
    "softmax": lambda: (_core.dense.softmax, {"x": full(3, 5)}),
    "normal_cdf": lambda: (_core.dense.normal_cdf, {"x": full(5)}),
    "embedding_forward": lambda: (
        _core.embedding.embedding_forward,
        {"table": full(4, 5), "ids": whole([0, 3, 1], [2, 2, 0])},
    ),
    "embedding_backward": lambda: (
        _core.embedding.embedding_backward,
        {"ids": whole(3, 0, 3, dtype=I64), "dy": full(3, 5), "rows": 4},
    ),
    "dropout_mask": lambda: (
        _core.random.dropout_mask,
        {"shape": (3, 5), "rate": 0.5, "seed": 1, "stream": 2, "call": 3, "dtype": "float64", "first": 2},
    ),
    "sum_squares": lambda: (_core.optimizer.sum_squares, {"arrays": [full(3, 4), full(5, dtype=F64)]}),
    "is_sorted_unique": lambda: (_core.optimizer.is_sorted_unique, {"indices": whole(0, 2, 5, dtype=I64), "bound": 6}),
    "sgd": lambda: (_core.optimizer.sgd, optimizer("velocities", momentum=0.9, nesterov=True)),
    "sgd_slices": lambda: (
        _core.optimizer.sgd_slices,
        {
            "params": [full(4, 5), full(5, 4)],
            "values": [full(2, 5), full(2, 5)],
            "indices": [whole(0, 3, dtype=I64), whole(1, 2, dtype=I64)],
            "learning_rate": 0.1,
            "scale": 0.5,
            "clipvalue": 0.7,
            "columns": [False, True],
        },
    ),
    "adam": lambda: (
        _core.optimizer.adam,
        optimizer("momentums", "velocities", "max_velocities", beta_1=0.9, beta_2=0.99, epsilon=1e-7, step=2),
    ),
    "rmsprop": lambda: (
        _core.optimizer.rmsprop,
        optimizer("velocities", "momentums", "averages", rho=0.9, momentum=0.5, epsilon=1e-7),
    ),
    "adagrad": lambda: (_core.optimizer.adagrad, optimizer("accumulators", epsilon=1e-7)),
    "Stream.__init__": lambda: (_core.stream.Stream, {"batch_size": 2, "dtype": "float64"}),
    "Stream.add_embedding": lambda: (_core.stream.Stream(2).add_embedding, {"table": full(4, 5)}),
    "Stream.add_recurrent": lambda: (
        _core.stream.Stream(2).add_recurrent,
        {
            "cell": "lstm",
            **dict(zip(("kernel", "recurrent", "bias"), layer())),
            "activation": "relu",
            "recurrent_activation": "hard_sigmoid",
            "mixed": False,
        },
    ),
    "Stream.add_context": lambda: (
        recurrent_stream().add_context,
        {**{name: make() for name, make in CONTEXT.items()}, "alpha": 0.5, "activation": "tanh", "mixed": False},
    ),
    "Stream.add_dense": lambda: (
        recurrent_stream().add_dense,
        {"kernel": full(6, 3), "bias": full(3), "activation": "softmax", "mixed": False},
    ),
    "Stream.add_conv1d": lambda: (
        recurrent_stream().add_conv1d,
        {"kernel": full(3, 6, 4), "bias": full(4), "activation": "relu", "dilation_rate": 2, "mixed": False},
    ),
    "Stream.add_activation": lambda: (recurrent_stream().add_activation, {"activation": "softmax"}),
    "Stream.add_layer_normalization": lambda: (
        recurrent_stream().add_layer_normalization,
        {"gamma": full(6), "beta": full(6), "epsilon": 0.5},
    ),
    "Stream.step": lambda: (stream().step, {"x": full(2, 5), "out": full(2, 3)}),
    "Stream.step/ids": lambda: (stream(ids=True).step, {"x": whole(0, 3), "out": full(2, 3)}),
    "Stream.reset": lambda: (stream().reset, {"rows": whole(1, 0, dtype=I64)}),
    "Stream.get_state": lambda: (stream().get_state, {}),
    "Stream.set_state": lambda: (stream().set_state, {"state": [(full(2, 6), full(2, 6))]}),
    "AliasTable.__init__": lambda: (_core.sampling.AliasTable, {"weights": full(5, dtype=F64)}),
    "sample_classes": lambda: (
        _core.sampling.sample_classes,
        {
            "distribution": _core.sampling.AliasTable(np.arange(1.0, 8.0)),
            "range_max": 7,
            "true_classes": whole(0, 6, dtype=I64),
            "num_sampled": 4,
            "unique": True,
            "seed": 1,
            "call": 2,
        },
    ),
    "accidental_hits": lambda: (
        _core.sampling.accidental_hits,
        {"true_classes": whole([1, 2], [3, 1], dtype=I64), "sampled_candidates": whole(1, 3, 1, dtype=I64)},
    ),
    "sampled_loss": lambda: (_core.sampling.sampled_loss, sampled()),
    "sampled_loss/drawn": lambda: (
        _core.sampling.sampled_loss,
        sampled(sampled_values=None, weights=full(5, 9), by_columns=True, softmax=False),
    ),
    "count_words": lambda: (_core.corpus.count_words, {"corpus_file": corpus()}),
    "encode_words": lambda: (
        _core.corpus.encode_words,
        {"corpus_file": corpus(), "words": [b"a", b"b", b"d"], "longest": 100},
    ),
    "train_word2vec": lambda: (_core.word2vec.train_word2vec, word2vec()),
}

# Arguments whose arrays a call may change.
OUTPUTS = {
    "recurrent_forward": {"reserve"},
    "recurrent_backward": {"out"},
    "dense_backward": {"out"},
    "linear_softmax": {"out"},
    "sgd": {"params", "velocities"},
    "sgd_slices": {"params"},
    "adam": {"params", "momentums", "velocities", "max_velocities"},
    "rmsprop": {"params", "velocities", "momentums", "averages"},
    "adagrad": {"params", "accumulators"},
    "train_word2vec": {"input", "output"},
    "Stream.step": {"out"},
}

# The stubs, which say what there is ----------------------------------------------------------------------------------


@functools.cache
def stub():
    """{place: (names of the parameters, those by name alone)} of all functions, methods and constructors."""
    places = {}
    functions = []
    for path in (ROOT / "src/seqcore/_core").glob("*.pyi"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                functions.append((node.name, node))
            elif isinstance(node, ast.ClassDef):
                methods = [method for method in node.body if isinstance(method, ast.FunctionDef)]
                functions += [(f"{node.name}.{method.name}", method) for method in methods]
    for place, function in functions:
        if not function.decorator_list:  # a property
            named = [arg.arg for arg in function.args.kwonlyargs]
            places[place] = ([arg.arg for arg in function.args.args if arg.arg != "self"] + named, named)
    return places


def parameters(key):
    return stub().get(key.partition("/")[0], ([], []))[0]


def keyword_only(key):
    return stub().get(key.partition("/")[0], ([], []))[1]
