"""Instruction sets: the kernels' proofs under each one this processor runs, the override, and no shared symbols."""

import collections
import glob
import itertools
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from seqcore import _core

ROOT = pathlib.Path(__file__).resolve().parents[2]
ISAS = ("base", "avx2", "avx512", "avx512_bf16")
REDUCED = " or ".join(
    [
        "test_shapes",
        "test_options",
        "test_activation",
        "test_nan_in_one_row",
        "test_infinite_inputs",
        "test_unaligned_memory",
        "test_rows_do_not_depend_on_the_batch",
        "test_context",
        "test_dense",
        "test_softmax",
        "test_linear_softmax",
        "test_sum_squares",
        "test_optimizers",
        "test_dropout_keys",
        "test_stream",
        "test_float32_against_float64",
        "(test_central_differences and layers1)",
        "(test_central_differences and layers2 and both and lengths)",
        "(test_central_differences and layers3 and both and mask and (units1 or units7 or units65))",
        "(test_recurrent and both and lengths)",
    ]
)


def run(arguments, **environment):
    """A Python process with the project importable and the variables set (None: unset)."""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **environment}
    variables = {name: value for name, value in variables.items() if value is not None}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=900, env=variables, cwd=ROOT
    )


@pytest.mark.parametrize("isa", ISAS)
def test_proofs(isa):
    """A reduced set of the proofs, forced onto one instruction set."""
    found = _core.system.info()
    if isa not in found["isas"]:
        pytest.skip(f"this processor runs {found['isas']}")
    if isa == found["isa"]:
        return  # the other test files run it in full
    files = [f"tests/kernels/test_{name}.py" for name in ("recurrent_kernels", "gradients", "threads")]
    command = ["-m", "pytest", "-o", "addopts=", "-x", "-p", "no:cacheprovider", *files, "-k", REDUCED]
    done = run(command, SEQCORE_ISA=isa)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"\d{3,} passed", done.stdout), done.stdout[-500:]


SHOW = "from seqcore import _core; print(_core.system.info()['isa'])"


@pytest.mark.parametrize("isa", ISAS)
def test_override(isa):
    """SEQCORE_ISA forces an instruction set; one this processor lacks is refused with a clear error."""
    done = run(["-c", SHOW], SEQCORE_ISA=isa)
    if isa in _core.system.info()["isas"]:
        assert done.stdout.strip() == isa, done.stderr
        return
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0 and "SEQCORE_ISA" in last and isa in last


@pytest.mark.parametrize("isa", ["sse9", "AVX-512", "avx", "base avx2"])
def test_unknown_name(isa):
    """An unknown name is an error of one line that names the variable, the value and the names there are."""
    done = run(["-c", SHOW], SEQCORE_ISA=isa)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "SEQCORE_ISA" in last and isa in last and "base" in last, done.stderr


def test_default_is_the_best():
    """Without the variable, or with an empty one, the last of those available is taken."""
    for value in (None, ""):
        assert run(["-c", SHOW], SEQCORE_ISA=value).stdout.strip() == _core.system.info()["isas"][-1]


# Symbols --------------------------------------------------------------------------------------------------------------


def symbols(path):
    """Global and weak symbols the file defines, demangled."""
    done = subprocess.run(
        ["nm", "-C", "--defined-only", "--extern-only", str(path)], capture_output=True, text=True, check=True
    )
    found = set()
    for line in done.stdout.splitlines():
        match = re.match(r"[0-9a-f]+ ([A-Zuvw]) (.+)$", line.strip())
        if match:
            found.add(match[2])
    return found


def variant_objects():
    """Object files of each variant below the build folder: {isa: [paths]}."""
    folder = os.environ.get("SEQCORE_BUILD_DIR")
    found = collections.defaultdict(list)
    if folder:
        for path in glob.glob(os.path.join(folder, "**", "*.o"), recursive=True):
            variant = re.search(r"kernels_(\w+)\.dir", os.path.relpath(path, folder))
            if variant and variant[1] in ISAS:
                found[variant[1]].append(path)
        assert found, f"SEQCORE_BUILD_DIR: expected a build folder with the variants' object files, got {folder}"
    return found


PAIRS = tuple(itertools.combinations(ISAS, 2))


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed")
def test_no_shared_symbols():
    """No symbol is defined by two variants, so the linker cannot hand one variant another's code.

    With SEQCORE_BUILD_DIR the variants' object files are compared. Otherwise the module is looked at: it must hold no
    symbol of plain Eigen, and none that stands in the namespaces of two variants.
    """
    objects = variant_objects()
    if objects:
        assert len(objects) > 1, f"one variant only: {dict(objects)}"
        defined = {isa: set().union(*map(symbols, paths)) for isa, paths in objects.items()}
        assert all(defined.values()), {isa: len(names) for isa, names in defined.items()}
        for first, second in PAIRS:
            shared = defined.get(first, set()) & defined.get(second, set())
            assert not shared, sorted(shared)[:5]
        return
    done = subprocess.run(["nm", "-C", "--defined-only", _core.__file__], capture_output=True, text=True, check=True)
    names = [line.split(" ", 2)[2] for line in done.stdout.splitlines() if line.count(" ") >= 2]
    if not names:
        pytest.skip("the module is stripped: set SEQCORE_BUILD_DIR to the build folder")
    plain = [name for name in names if re.search(r"(^|[^\w:])Eigen::", name)]
    assert not plain, plain[:5]
    variants = {isa: {n for n in names if re.search(rf"\b(Eigen|isa)_{isa}::", n)} for isa in ISAS}
    assert any(variants.values())
    for first, second in PAIRS:
        mixed = variants[first] & variants[second]
        assert not mixed, sorted(mixed)[:5]
