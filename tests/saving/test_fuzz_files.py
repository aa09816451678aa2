"""Damaged files of every reader: ValueError or OSError in one line, bounded memory and time, nothing half changed.

The valid files and their readers stand in ``file_readers.py``. Each reader runs in a process of its own under a limit
of memory: ``python -m tests.saving.test_fuzz_files NAME COUNT`` runs one by hand.
"""

import bz2
import gzip
import importlib
import inspect
import io
import json
import os
import pkgutil
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np

CASES = 600
_MEMORY = 256 << 20  # bytes that a call may take
_SECONDS = 5  # of processor time
_LONGEST = 1000  # characters of a message

# ---------------------------------------------------------------- damage

_NUMBERS = [
    b"0",
    b"-1",
    b"1",
    b"255",
    b"65536",
    b"2147483648",
    b"9223372036854775808",
    b"1e999",
    b"nan",
    b"-inf",
    b"0x10",
]
_NUMBERS += [b"1_000", b"9" * 30, b"9" * 5000, b"1.5", b""]
_PIECES = [
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b'"',
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b",,,",
    b"  ",
    b"\n\n",
    b"{",
    b"]",
]
_HEADERS = [
    b"\x1f\x8b\x08\x00",
    b"PK\x03\x04",
    b"\x89HDF\r\n\x1a\n",
    b"\x80\x04\x95",
    b"\x93NUMPY\x01\x00v\x00",
    b"BZh91AY&SY",
]
_HEADERS += [b"\x00\x00\x08\x03\xff\xff\xff\xff", b"\xff" * 8, b"\x00" * 8, b"999999999 999999999\n", b"<html>", b"{}"]
_VALUES = [
    None,
    True,
    0,
    -1,
    2**31,
    2**64,
    1e308,
    1.5,
    "",
    "x",
    "a" * 300,
    [],
    {},
    [[]],
    {"a": 1},
    [1, 2, 3],
    ["a"],
    "..",
    "\0",
]


def damaged_bytes(content, rng):
    """A copy with one to three places changed."""
    raw = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        size = len(raw)
        at, end = sorted(int(place) for place in rng.integers(0, size + 1, 2))
        end = min(end, at + int(rng.choice([1, 4, 16, 200, 10**6])))
        choice = int(rng.integers(0, 10))
        if choice == 0 and size:  # flip bits
            for place in rng.integers(0, size, int(rng.integers(1, 9))):
                raw[place] ^= 1 << int(rng.integers(0, 8))
        elif choice == 1:  # cut off
            del raw[at:]
        elif choice == 2:  # repeat a part
            raw[at:at] = raw[at:end] * int(rng.integers(1, 5))
        elif choice == 3:  # leave a part out
            del raw[at:end]
        elif choice == 4:  # put random bytes in
            raw[at:at] = rng.bytes(int(rng.integers(1, 20)))
        elif choice == 5:  # put in what means something
            raw[at:at] = _PIECES[int(rng.integers(len(_PIECES)))]
        elif choice == 6:  # another number
            numbers = list(re.finditer(rb"[-+]?\d+(\.\d+)?", raw))
            if numbers:
                match = numbers[int(rng.integers(len(numbers)))]
                raw[match.start() : match.end()] = _NUMBERS[int(rng.integers(len(_NUMBERS)))]
        elif choice == 7:  # another binary number
            width = int(rng.choice([1, 2, 4, 8]))
            start = int(rng.integers(0, min(size, 200) + 1))
            raw[start : start + width] = rng.choice([b"\x00", b"\xff", b"\x7f", b"\x80"]) * width
        elif choice == 8:  # the start of another kind of file
            header = _HEADERS[int(rng.integers(len(_HEADERS)))]
            raw[: int(rng.choice([0, len(header)]))] = header
        elif choice == 9:  # two parts change places
            raw[at:] = raw[end:] + raw[at:end]
    return bytes(raw)


def damaged_tree(tree, rng):
    """A JSON value with one part changed."""
    places = []

    def walk(value):
        if isinstance(value, (dict, list)):
            for key in value if isinstance(value, dict) else range(len(value)):
                places.append((value, key))
                walk(value[key])

    tree = json.loads(json.dumps(tree))
    walk(tree)
    if not places:
        return _VALUES[int(rng.integers(len(_VALUES)))]
    parent, key = places[int(rng.integers(len(places)))]
    choice = int(rng.integers(0, 6))
    if choice == 0:
        del parent[key]
    elif choice == 1 and isinstance(parent, dict):
        parent[f"{key}x"] = parent.pop(key)
    elif choice == 2 and isinstance(parent, list):
        parent.insert(key, parent[key])
    elif choice == 3:
        other, there = places[int(rng.integers(len(places)))]
        parent[key] = json.loads(json.dumps(other[there])) if there in other or isinstance(other, list) else None
    elif choice == 4 and isinstance(parent[key], int):
        parent[key] += int(rng.choice([-1, 1, 8, 2**40]))
    else:
        parent[key] = _VALUES[int(rng.integers(len(_VALUES)))]
    return tree


def _json_text(tree, rng):
    text = json.dumps(tree, ensure_ascii=bool(rng.integers(2))).encode("utf-8", "surrogatepass")
    return text if rng.integers(50) else text.replace(b"[", b"[" * 3000, 1)


def damaged_json(content, rng):
    return _json_text(damaged_tree(json.loads(content), rng), rng)


def damaged_header(content, rng):
    """A safetensors file with another header of the right length; texts that are JSON are changed inside."""
    length = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    texts = header.get("__metadata__", {})
    inner = [key for key, text in texts.items() if text[:1] in "[{"]
    if inner and rng.integers(3):
        key = inner[int(rng.integers(len(inner)))]
        texts[key] = _json_text(damaged_tree(json.loads(texts[key]), rng), rng).decode("utf-8", "surrogatepass")
        raw = json.dumps(header).encode()
    else:
        raw = _json_text(damaged_tree(header, rng), rng)
    if not rng.integers(4):
        body = damaged_bytes(body, rng)
    return len(raw).to_bytes(8, "little") + raw + body


def damaged_archive(content, rng):
    """A zip archive with one member changed, renamed, left out or twice, packed again."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, archive.read(info), info.compress_type) for info in archive.infolist()]
    at = int(rng.integers(len(members)))
    name, inside, packing = members[at]
    choice = int(rng.integers(0, 10))
    if choice == 0:
        members.pop(at)
    elif choice == 1:
        members[at] = (name + "x", inside, packing)
    elif choice == 2:
        members[at] = (name, inside, int(rng.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])))
    elif choice == 3:
        members[at] = (name, members[at - 1][1], packing)
    else:
        members[at] = (name, damaged_bytes(inside, rng), packing)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, inside, packing in members:
            archive.writestr(name, inside, packing)
    return buffer.getvalue()


def damaged(content, rng, packed):
    """One damaged copy: of the bytes, of what is packed in them, or of the values that they spell."""
    if packed and not rng.integers(3):
        pack = (lambda raw: gzip.compress(raw, 1)) if rng.integers(4) else bz2.compress
        return damaged_bytes(pack(content), rng) if rng.integers(2) else pack(damaged_bytes(content, rng))
    if rng.integers(3):
        if content[:2] == b"PK":
            return damaged_archive(content, rng)
        if content[8:9] == b"{":
            return damaged_header(content, rng)
        if content[:1] in b"{[" and content[:1]:
            return damaged_json(content, rng)
    return damaged_bytes(content, rng)


# ---------------------------------------------------------------- the process of one reader


class _TooSlow(BaseException):
    pass


def _stop(*_):
    raise _TooSlow


def _status(key):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) << 10
    raise AssertionError(key)


def run_reader(name, count, seed=0):
    """Runs one reader on damaged files; a report as JSON can hold it."""
    from tests.helpers.file_readers import READERS

    reader = READERS[name]
    warnings.simplefilter("error")
    signal.signal(signal.SIGPROF, _stop)
    problems, refused = [], 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for file, content in reader.files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
        reader.read(folder)  # the valid files
        before = reader.state() if reader.state else None
        resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + _MEMORY, resource.RLIM_INFINITY))
        peak = _status("VmHWM")
        start = time.process_time()
        for case in range(count):
            rng = np.random.default_rng((seed, zlib.crc32(name.encode()), case))
            file = list(reader.files)[int(rng.integers(len(reader.files)))]
            content = damaged(reader.files[file], rng, reader.packed)
            (folder / file).write_bytes(content)
            problem = None
            try:
                signal.setitimer(signal.ITIMER_PROF, _SECONDS)
                try:
                    reader.read(folder)
                finally:
                    signal.setitimer(signal.ITIMER_PROF, 0)
                if reader.state:
                    (folder / file).write_bytes(reader.files[file])
                    reader.read(folder)
                    before = reader.state()
            except (ValueError, OSError) as error:
                refused += 1
                text = str(error)
                if "\n" in text or len(text) > _LONGEST or not text:
                    problem = f"no line: {text[:200]!r}"
                elif reader.state and reader.state() != before:
                    problem = f"half changed: {text[:200]}"
                    reader.read(folder) if (folder / file).write_bytes(reader.files[file]) else None
                    before = reader.state()
            except (Exception, _TooSlow) as error:
                frame = traceback.extract_tb(error.__traceback__)[-1]
                problem = f"{type(error).__name__}: {str(error)[:200]!r} at {frame.filename}:{frame.lineno}"
            if problem is not None:
                problems.append(f"case {case}, {file}: {problem}")
            (folder / file).write_bytes(reader.files[file])
        grown, seconds = _status("VmHWM") - peak, time.process_time() - start
    return {"cases": count, "refused": refused, "grown": grown, "seconds": seconds, "problems": problems}


if __name__ == "__main__":
    print(json.dumps(run_reader(sys.argv[1], int(sys.argv[2]), *map(int, sys.argv[3:]))))
    sys.exit()


# ---------------------------------------------------------------- tests


import pytest  # noqa: E402

from tests.helpers.file_readers import EXCUSED, READERS  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def run_in_process(name, count):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    command = [sys.executable, "-m", "tests.saving.test_fuzz_files", name, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=ROOT)
    assert done.returncode == 0, f"{name} ended with {done.returncode}: {done.stderr[-2000:]}"
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", READERS)
def test_damaged_files(name):
    report = run_in_process(name, CASES)
    print(f"{name}: {report['cases']} cases, {report['refused']} refused, {report['grown'] >> 20} MiB")
    assert not report["problems"], "\n".join(report["problems"][:10])
    assert report["cases"] == CASES and report["grown"] < _MEMORY
    assert report["refused"] > CASES / 10 or name == "describe_foreign_file", "hardly any damage was noticed"


def test_there_are_enough_cases():
    assert len(READERS) >= 29 and CASES * len(READERS) >= 20_000


_OF_FILES = re.compile(
    r"^(path|file|folder|filename|filepath|fname|fvocab|corpus_file|analogies|pairs|log_dir|checkpoint)$"
)


def readers_of_the_package():
    """Public functions and methods with an argument that names a file, as ``function`` or ``Class.method``."""
    import seqcore

    names = set()
    for info in pkgutil.walk_packages(seqcore.__path__, "seqcore."):
        if re.search(r"\.(__main__|bench|experiments)\b", info.name):
            continue
        try:
            module = importlib.import_module(info.name)
        except ImportError:
            if ".interop." not in info.name:  # otherwise a door to a library that is not installed
                raise
            continue
        for name, value in vars(module).items():
            if getattr(value, "__module__", None) != module.__name__ or name.startswith("_"):
                continue
            methods = (
                [key for key in vars(value) if not key.startswith("_") or key == "__init__"]
                if inspect.isclass(value)
                else []
            )
            named = (
                [(f"{name}.{key}", getattr(value, key)) for key in methods]
                if inspect.isclass(value)
                else [(name, value)]
            )
            for spelled, function in named:
                try:
                    arguments = inspect.signature(function).parameters
                except (TypeError, ValueError):  # no function, or one of the core
                    continue
                if any(map(_OF_FILES.match, arguments)):
                    names.add(spelled)
    return names


def test_no_reader_is_forgotten():
    """Each public function that takes the name of a file is read from by this test, or excused by name."""
    covered = {name for reader in READERS.values() for name in reader.covers}
    names = readers_of_the_package()
    assert not (names - covered - set(EXCUSED)), "neither read here nor excused"
    assert not (set(EXCUSED) - names), "excused, but not there"
    assert not (covered & set(EXCUSED))
