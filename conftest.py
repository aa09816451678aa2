"""Settings of all tests: doctests run in the installed modules, Ctrl-C works, the thread count is put back."""

import importlib
import importlib.util
import os
import pkgutil
import signal

import numpy as np
import pytest

import seqcore

# Files that are collected where the library that they import is installed.
_NEEDS = {
    "h5py": ("src/seqcore/interop/keras/files.py",),
    "jax": ("src/seqcore/interop/keras/on_jax.py",),
    "keras": ("src/seqcore/interop/keras/layers.py", "tests/helpers/keras_gradients.py"),
    "onnx": ("src/seqcore/interop/onnx/export.py", "src/seqcore/interop/onnx/importing.py"),
    "tensorflow": ("src/seqcore/interop/keras/on_tensorflow.py",),
    "torch": (
        "benchmarks/torch_layers.py",
        "src/seqcore/interop/keras/on_torch.py",
        "src/seqcore/interop/torch/conversion.py",
        "src/seqcore/interop/torch/layers.py",
        "src/seqcore/interop/torch/operators.py",
    ),
}
# Keras takes a backend that is installed.
for _backend in ("torch", "tensorflow", "jax"):
    if importlib.util.find_spec(_backend) is not None:
        os.environ.setdefault("KERAS_BACKEND", _backend)
_LEFT_OUT = [file for library, files in _NEEDS.items() if importlib.util.find_spec(library) is None for file in files]

# Doctests shall run in the modules that are installed, not in src/.
for _module in pkgutil.walk_packages(seqcore.__path__, "seqcore."):
    _file = "src/" + _module.name.replace(".", "/") + ".py"
    if _file != "src/seqcore/__main__.py" and _file not in _LEFT_OUT:
        importlib.import_module(_module.name)

# A process started in the background ignores Ctrl-C, and so would the tests that send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A program for version 0.1.
collect_ignore = ["tests/files_0.1", *_LEFT_OUT]

# SEQCORE_THIN=N, for a build with sanitizers: each Nth case of a parametrized test, few examples of a property test,
# nothing that is slow or needs a native build.
THIN = int(os.environ.get("SEQCORE_THIN", "1"))

try:
    from hypothesis import settings
except ImportError:
    pass
else:
    settings.register_profile("seqcore", deadline=None, derandomize=True, max_examples=max(5, 50 // THIN))
    settings.load_profile("seqcore")


def pytest_collection_modifyitems(config, items):
    if THIN == 1:
        return
    kept, left_out, seen = [], [], {}
    for item in items:
        name = item.nodeid.partition("[")[0]
        heavy = item.get_closest_marker("slow") or item.get_closest_marker("native")
        number = seen[name] = seen.get(name, -1) + (not heavy)
        (left_out if heavy or number % THIN else kept).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


def pytest_report_header(config):
    from seqcore import _core

    found = _core.system.info()
    return f"seqcore {found['version']}, instruction set {found['isa']} of {found['isas']}, threads {found['threads']}"


@pytest.fixture
def rng():
    """Random numbers, the same in each run."""
    return np.random.default_rng(20240229)


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch):
    monkeypatch.delenv("SEQCORE_DATA", raising=False)


@pytest.fixture(autouse=True)
def _threads_as_before():
    from seqcore import _core

    before = _core.system.get_num_threads()
    yield
    if _core.system.get_num_threads() != before:
        _core.system.set_num_threads(before)
