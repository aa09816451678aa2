"""Hostile calls of the core: what is put in place of the arguments of valid calls, and the making of such calls.

Run as a program it makes the hostile calls of some functions and says before each which one it is; `test_hostile_calls`
starts it and watches.
"""

import contextlib
import copy
import functools
import os
import random
import re
import signal
import sys
import time
import warnings

import numpy as np

try:
    import resource
except ImportError:  # not on every platform
    resource = None

from seqcore import _core
from tests.helpers.valid_calls import (
    CALLS,
    F32,
    F64,
    I64,
    OUTPUTS,
    corpus,
    full,
    guarded,
    guards,
    guards_hold,
    keyword_only,
    parameters,
    whole,
)

MEMORY = 6 << 30  # bytes of address space that a child may use

# What does not belong there ------------------------------------------------------------------------------------------


class Evil:
    """Fails, or worse, wherever something looks at it."""

    def __index__(self):
        raise RuntimeError("__index__\nwas asked")

    __float__ = __len__ = __array__ = __bool__ = __iter__ = __fspath__ = __repr__ = __str__ = __index__


class Index:
    """A number for whoever asks."""

    def __index__(self):
        return 1

    def __float__(self):
        return 0.5


class Whole(int):
    pass


class Text(str):
    pass


class Rows(list):
    def __getitem__(self, at):
        raise RuntimeError("a list of its own mind")

    def __len__(self):
        return 1 << 62


class Own(np.ndarray):
    pass


def endless():
    loop = []
    loop.append(loop)
    return loop


NUMBERS = [0, -1, 1, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**5000]
NUMBERS += [0.5, -0.5, 1e308, -1e308, 5e-324, float("nan"), float("inf"), -float("inf"), 1j, True, False]
TEXTS = ["", "x", "a\nb", "\ud800", "tanh\0", "t\xe4nh" * 100, b"", b"tanh", bytearray(b"tanh")]
ANYTHING = {
    **{
        f"number {value!r:.24}" if value != 10**5000 else "number 10**5000": functools.partial(int, value)
        if type(value) is int
        else functools.partial(copy.copy, value)
        for value in NUMBERS
    },
    **{f"text {n}": functools.partial(copy.copy, value) for n, value in enumerate(TEXTS)},
    "None": lambda: None,
    "float32": lambda: F32(0.5),
    "int64": lambda: I64(1),
    "uint64": lambda: np.uint64(2**64 - 1),
    "bool_": lambda: np.bool_(True),
    "timedelta64": lambda: np.timedelta64(1),
    "longdouble": lambda: np.longdouble(1),
    "complex64": lambda: np.complex64(1j),
    "str_": lambda: np.str_("tanh"),
    "array without axes": lambda: np.array(1.0),
    "empty array": lambda: np.array([]),
    "array of objects": lambda: np.array([None, Evil], object),
    "array of strings": lambda: np.array(["a", "b"]),
    "void array": lambda: np.zeros(3, "V7"),
    "64 axes": lambda: np.zeros((1,) * (64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32), F32),
    "huge array of nothing": lambda: np.empty((2**61, 0), F32),
    "[]": list,
    "()": tuple,
    "{}": dict,
    "[[]]": lambda: [[]],
    "[None]": lambda: [None],
    "[3]": lambda: [3],
    "(1, 2, 3)": lambda: (1, 2, 3),
    "huge sizes": lambda: (2**21, 2**21, 2**21),
    "sizes past 2**63": lambda: (2**62, 2**62, 2**62),
    "sizes with 0": lambda: (2**62, 0, 2**62),
    "sizes with -1": lambda: (3, -1, 5),
    "long list": lambda: [None] * 10000,
    "nested lists": lambda: [[[1.0] * 5] * 4] * 3,
    "list in itself": endless,
    "range": lambda: range(3),
    "generator": lambda: (n for n in range(3)),
    "set": lambda: {1.0},
    "object": object,
    "class": lambda: _core.stream.Stream,
    "function": lambda: _core.dense.softmax,
    "Evil": Evil,
    "[Evil]": lambda: [Evil()],
    "Index": Index,
    "Whole": lambda: Whole(1),
    "Text": lambda: Text("tanh"),
    "Rows": lambda: Rows([np.zeros(3)]),
    "slice": lambda: slice(None),
    "memoryview": lambda: memoryview(bytearray(8)),
    "Stream": lambda: _core.stream.Stream(1),
    "SavedForward": lambda: _core.recurrent.recurrent_forward(
        "rnn", np.ones((1, 1, 1)), [(np.ones((1, 1)), np.ones((1, 1)), None)]
    )[2],
    "AliasTable": lambda: _core.sampling.AliasTable(np.ones(3)),
    "PackedWeights": _core.recurrent.PackedWeights,
}


def misaligned(array):
    memory = np.zeros(array.nbytes + 1, np.uint8)
    moved = memory[1:].view(array.dtype) if array.nbytes else array
    moved = moved.reshape(array.shape)
    moved[...] = array
    return moved


def read_only(array):
    array.flags.writeable = False
    return array


def no_strides(array, shape=None, writeable=False):
    """One element that stands for all."""
    element = np.ones(1, array.dtype)
    shape = array.shape if shape is None else shape
    return np.lib.stride_tricks.as_strided(element, shape, (0,) * len(shape), writeable=writeable)


def resized(array, axis, size):
    shape = list(array.shape)
    shape[axis] = size
    return guarded(np.resize(array, shape)) if array.size and size else np.empty(shape, array.dtype)


def filled(array, value):
    with np.errstate(all="ignore"):
        array[...] = value
    return array


def object_array(value):
    made = np.empty(len(value), object)
    made[:] = [None] * len(value)
    return made


TYPES = "float16 float32 float64 longdouble int8 int16 int32 int64 uint32 uint64 bool complex64 complex128 object"
TYPES += " S3 U3 M8[s] m8[s]"


def array_mutants(array):
    """(label, what makes it from the array) of arrays that are nearly right."""
    for name in TYPES.split():
        if array.dtype != name:
            yield name, lambda a, name=name: a.astype("i8").astype(name) if name[0] in "MmSU" else a.astype(name)
    yield "other byte order", lambda a: a.astype(a.dtype.newbyteorder())
    yield "structured", lambda a: np.zeros(a.shape, [("a\nb", "f4")])
    yield "list", lambda a: a.tolist()
    yield "tuple", lambda a: tuple(a)
    yield "bytes", lambda a: a.tobytes()
    yield "memoryview", memoryview
    yield "its own kind", lambda a: a.view(Own)
    yield "masked array", lambda a: np.ma.masked_array(a, mask=True)
    yield "matrix", lambda a: np.asmatrix(a) if a.ndim < 3 else a.view(Own)
    yield "read-only", read_only
    yield "misaligned", misaligned
    yield "flat", lambda a: a.ravel()[: a.size // 2]
    yield "one axis more", lambda a: a[None]
    yield "one axis more behind", lambda a: a[..., None]
    yield "one axis less", lambda a: a[0]
    yield "without axes", lambda a: a.ravel()[0]
    yield "transposed", lambda a: a.T
    yield "transposed, right shape", lambda a: np.ascontiguousarray(a.T).T
    yield "Fortran", np.asfortranarray
    yield "every second", lambda a: np.repeat(a, 2, axis=-1)[..., ::2]
    yield "every second row", lambda a: np.repeat(a, 2, axis=0)[::2]
    yield "backwards", lambda a: a[::-1]
    yield "backwards inside", lambda a: a[..., ::-1]
    yield "one element for all", no_strides
    yield "one writeable element for all", lambda a: no_strides(a, writeable=True)
    for axis in range(array.ndim):
        for size in (0, 1, array.shape[axis] - 1, array.shape[axis] + 1, 1000):
            yield f"axis {axis} of {size}", lambda a, axis=axis, size=size: resized(a, axis, size)
        for size in (2**31 - 1, 2**31, 2**40, 2**56):
            shape = (*array.shape[:axis], size, *array.shape[axis + 1 :])
            yield f"axis {axis} of {size}, one element", lambda a, shape=shape: no_strides(a, shape)
            empty = tuple(0 if n == (axis + 1) % array.ndim else k for n, k in enumerate(shape))
            if array.ndim > 1:
                yield f"axis {axis} of {size}, empty", lambda a, empty=empty: np.empty(empty, a.dtype)
    values = {"-1": -1, "0": 0, "1": 1}
    if array.dtype.kind == "f":
        values |= {"NaN": np.nan, "inf": np.inf, "-inf": -np.inf, "denormal": 1e-320, "huge": np.finfo(array.dtype).max}
    elif array.dtype.kind in "iu":
        values |= {"largest": np.iinfo(array.dtype).max, "smallest": np.iinfo(array.dtype).min, "100": 100}
    for name, value in values.items():
        if not (array.dtype.kind == "u" and value < 0):
            yield f"all {name}", lambda a, value=value: filled(a, value)
    if array.dtype == F64 and array.ndim == 1:
        yield "one huge weight", lambda a: np.array([1e308] + [1e-3] * (a.size - 1))


def list_mutants():
    yield "one less", lambda a: type(a)(list(a)[:-1])
    yield "one more", lambda a: type(a)([*a, a[0]])
    yield "twice the first", lambda a: type(a)([a[0]] * len(a))
    yield "the other kind", lambda a: list(a) if isinstance(a, tuple) else tuple(a)
    yield "one deeper", lambda a: [a]
    yield "first only", lambda a: a[0]
    yield "a dict", lambda a: dict(enumerate(a))
    yield "an iterator", iter
    yield "an array of objects", object_array
    yield "a list of its own kind", Rows


def leaves(value, path=()):
    """(path, value) of a value and of all that it holds."""
    yield path, value
    if isinstance(value, (list, tuple)):
        for n, item in enumerate(value):
            yield from leaves(item, (*path, n))


def replaced(value, path, change):
    """The value with what lies at the path changed."""
    if not path:
        return change(value)
    parts = list(value)
    parts[path[0]] = replaced(parts[path[0]], path[1:], change)
    return tuple(parts) if isinstance(value, tuple) else parts


def at(arguments, name, path):
    value = arguments[name]
    for n in path:
        value = value[n]
    return value


class Mutation:
    """One change of the arguments of a valid call."""

    def __init__(self, label, apply):
        self.label, self.apply = label, apply


def at_path(name, path, label, change):
    def apply(arguments):
        arguments[name] = replaced(arguments[name], path, change)

    return Mutation(f"{name}{list(path) or ''}: {label}", apply)


def shared(one, other):
    """Two arguments that are the same memory."""

    def apply(arguments):
        target, source = at(arguments, *one), at(arguments, *other)
        if target.shape != source.shape:
            count = min(target.size, source.size)
            source = source.ravel()[:count].view(target.dtype) if target.dtype == source.dtype else source
            source = source.reshape(target.shape) if source.size == target.size else source
        arguments[one[0]] = replaced(arguments[one[0]], one[1], lambda _: source)

    return Mutation(f"{one[0]}{list(one[1])}: the memory of {other[0]}{list(other[1])}", apply)


def mutations(arguments):
    """All changes of one argument, or of two that become the same memory."""
    arrays = []
    for name, argument in arguments.items():
        for path, value in leaves(argument):
            for label, make in ANYTHING.items():
                yield at_path(name, path, label, lambda _, make=make: make())
            if isinstance(value, np.ndarray):
                arrays.append((name, path))
                for label, change in array_mutants(value):
                    yield at_path(name, path, label, change)
            elif isinstance(value, (list, tuple)) and value:
                for label, change in list_mutants():
                    yield at_path(name, path, label, change)
    for one in arrays:
        for other in arrays:
            if one != other:
                yield shared(one, other)


# All calls ------------------------------------------------------------

PER_CALL = 260  # mutations of one valid call: those that are always made, the rest drawn
ALWAYS = (
    ": None",
    ": []",
    ": list",
    ": read-only",
    ": other byte order",
    ": axis 0 of 0",
    ": axis 0 of 2147483648, one element",
)
PAIRS = 30  # calls with two of them


UNKNOWN = ("nobody", r"'a\nb'", r"'\ud800'")  # as errors name the unknown names below


def mangled(count):
    """Wrong ways to pass right arguments: (label, positional, named) from a dict of arguments."""
    yield "one argument too many", lambda a: ([*a.values(), None], {})
    yield "many arguments too many", lambda a: ([*a.values(), *[1] * 300], {})
    yield "an unknown name", lambda a: ([], {**a, "nobody": 1})
    yield "a name of two lines", lambda a: ([], {**a, "a\nb": 1})
    yield "a name that is not text", lambda a: ([], {**a, "\ud800": 1})
    if count:
        yield "none at all", lambda a: ([], {})
        yield "the last one missing", lambda a: (list(a.values())[:-1], {})
        yield "the first one missing", lambda a: ([], dict(list(a.items())[1:]))
        yield "the first one twice", lambda a: (list(a.values())[:1], a)


def calls_of(key):
    """Hostile calls made from one valid call, the same in every process: (key, label, mutations, way to pass it)."""
    guards.clear()
    arguments = CALLS[key]()[1]
    guards.clear()
    chosen = random.Random(key)
    single = list(mutations(arguments))
    some = [one for one in single if one.label.endswith(ALWAYS)]
    rest = [one for one in single if not one.label.endswith(ALWAYS)]
    some += chosen.sample(rest, min(max(0, PER_CALL - len(some)), len(rest)))
    calls = [(key, one.label, (one,), None) for one in some]
    for _ in range(PAIRS if single else 0):
        pair = chosen.sample(single, 2)
        calls.append((key, " and ".join(one.label for one in pair), tuple(pair), None))
    return calls + [(key, label, (), way) for label, way in mangled(len(arguments))]


# A child -------------------------------------------------------------------------------------------------------------


def passed(key, arguments, index):
    """Positional and named arguments: in turn, as many by position as may be, or all by name."""
    named = keyword_only(key)
    if index % 2:
        return [], arguments
    return [a for n, a in arguments.items() if n not in named], {n: a for n, a in arguments.items() if n in named}


def arrays_of(value, depth=0):
    """The arrays with memory of their own size that a value holds."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind != "O" and 0 < value.size <= 100000 and value.nbytes <= 1 << 20:
            yield value
    elif type(value) in (list, tuple) and depth < 5 and len(value) < 100:
        for item in value:
            yield from arrays_of(item, depth + 1)


def snapshot(arguments):
    return [(name, array, array.tobytes()) for name, value in arguments.items() for array in arrays_of(value)]


def check_refusal(key, error):
    """The fault of a refusal, or None."""
    text = str(error)
    if type(error) not in (ValueError, TypeError, MemoryError):
        return f"{type(error).__name__}: {text}"
    if "\n" in text or not text.isprintable() or len(text) > 600:
        return f"no single line: {text!r:.200}"
    place = key.partition("/")[0]
    owner, _, function = place.rpartition(".")
    if type(error) is MemoryError:
        return (
            None
            if re.match(rf"{owner if function == '__init__' else function}: expected .*(bytes|lists)", text)
            else text
        )
    name = re.match(r"('.*'|\w+)(\[\d+\])?: ", text)
    known = {*parameters(key), function, owner, *UNKNOWN}
    if not name or name[1] not in known or "expected " not in text or ", got " not in text:
        return f"names no argument: {text}"
    return None


def use(result, depth=0):
    """Reads and writes every array of a result: it must be memory."""
    if isinstance(result, np.ndarray):
        if result.size and result.nbytes <= 1 << 24:
            np.isfinite(result).sum()
            if result.flags.writeable:
                result[...] = 0
    elif isinstance(result, (list, tuple)):
        for item in result:
            use(item, depth + 1)
    elif isinstance(result, _core.recurrent.SavedForward):
        assert result.nbytes > 0


def go_on(streaming):
    """Steps of a stream to which something was added, and one more layer."""
    for x in [*(full(2, width) for width in (1, 4, 5, 6, 1000)), whole(0, 1), full(2, 5, dtype=F64)]:
        with contextlib.suppress(ValueError, TypeError):
            use(streaming.step(x))
            streaming.add_dense(np.ones((100000, 1), x.dtype), None)
            use(streaming.step(x))


def bits(result):
    if isinstance(result, np.ndarray):
        return result.tobytes()
    if isinstance(result, (list, tuple)):
        return [bits(item) for item in result]
    return result if isinstance(result, (bytes, int, str)) else type(result).__name__


def valid_results():
    """The results of all valid calls."""
    results = {}
    for key, make in CALLS.items():
        function, arguments = make()
        result = function(**arguments)
        if key not in ("memory", "peak_gflops"):
            results[key] = [bits(result), [bits(a) for value in arguments.values() for a in arrays_of(value)]]
        guards.clear()
    return results


def one_call(index, call):
    """Its fault (or None), and how it ended."""
    key, label, changes, way = call
    guards.clear()
    function, arguments = CALLS[key]()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for change in changes:
                change.apply(arguments)
    except (ValueError, TypeError, AttributeError, IndexError, MemoryError, KeyError):
        return None, "impossible"  # NumPy makes no such array, or two changes exclude each other
    before = snapshot(arguments)
    positional, named = way(arguments) if way else passed(key, arguments, index)
    try:
        result = function(*positional, **named)
    except BaseException as error:
        wrong, ended, outputs = check_refusal(key, error), type(error).__name__, set()
    else:
        use(result)
        if isinstance(getattr(function, "__self__", None), _core.stream.Stream):
            go_on(function.__self__)
        wrong, ended, outputs = None, "accepted", OUTPUTS.get(key.partition("/")[0], set())
    _core.system.set_num_threads(1)
    if not guards_hold():
        return "memory around an array was written", ended
    written = [array for name, array, _ in before if name in outputs]
    for name, array, content in before:
        changed = name not in outputs and array.tobytes() != content
        if changed and not any(np.may_share_memory(array, other) for other in written):
            return f"changed {name} ({ended})", ended
    return wrong, ended


def limit_memory(size):
    """Sets the address space that this process may use; returns what it was before."""
    if resource is None or "libasan" in os.environ.get("LD_PRELOAD", ""):  # which maps terabytes
        return size
    before, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size, most))
    return before


def child(keys, begin, sabotage):
    """Makes the calls of these keys from number ``begin`` on, a line for each before and after."""
    before = limit_memory(MEMORY)
    calls = [call for key in keys for call in calls_of(key)]
    _core.system.set_num_threads(1)
    expected = valid_results()
    warnings.simplefilter("error")
    for index in range(begin, len(calls)):
        print(f"call {index}", flush=True)
        if sabotage.get(str(index)) == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if sabotage.get(str(index)) == "hang":
            time.sleep(1000)
        wrong, ended = one_call(index, calls[index])
        print(f"end {ended}" if wrong is None else f"wrong {wrong!r}", flush=True)
    # Threads that a call has started hold address space as long as the process lives.
    limit_memory(before)
    warnings.simplefilter("default")
    if valid_results() != expected:
        print("wrong 'valid calls give other results than before'", flush=True)
    with contextlib.suppress(OSError):
        os.remove(corpus())
    print("done", flush=True)


if __name__ == "__main__":
    child(sys.argv[1].split(","), int(sys.argv[2]), dict(pair.split("=") for pair in sys.argv[3:]))
