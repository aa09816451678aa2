"""Hostile calls of every function of the core: nothing that Python can pass crashes, hangs or writes out of bounds.

Every argument of a valid call, and every array inside of one, is replaced by what does not belong there. Children
(`tests/helpers/hostile.py`) make some hundred calls each under a memory limit and tell the parent about each before
they make it, so that a crash or a hang costs one child and names its call. A call is either refused in one line that
names an argument, and changes nothing, or it is harmless: only its outputs change, and the valid calls give the same
bits afterwards.
"""

import copy
import inspect
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from seqcore import _core
from tests.helpers import hostile, valid_calls
from tests.helpers.valid_calls import CALLS, F32, ROOT

BATCH = 400  # calls of one child, or a few more
DEADLINE = 20  # seconds that one call may take on a busy machine
LEAST = 5000

# The parent ----------------------------------------------------------------------------------------------------------


class Report:
    """Counts of all calls, and the faults by call."""

    def __init__(self):
        self.counts, self.faults, self.lock = {}, [], threading.Lock()

    def count(self, ended):
        with self.lock:
            self.counts[ended] = self.counts.get(ended, 0) + 1

    def fault(self, call, kind, what):
        self.count(kind)
        self.faults.append(f"{kind}: {call[0]}({call[1]}): {what}")

    @property
    def calls(self):
        return sum(number for ended, number in self.counts.items() if ended != "impossible")


def run_children(keys, report, sabotage=None, deadline=DEADLINE):
    """Has the calls of these keys made, by a new child behind each crash and each hang."""
    calls = [call for key in keys for call in hostile.calls_of(key)]
    begin = 0
    while begin < len(calls):
        options = [f"{index}={what}" for index, what in (sabotage or {}).items()]
        path = os.pathsep.join(path for path in sys.path if path)
        process = subprocess.Popen(
            [sys.executable, hostile.__file__, ",".join(keys), str(begin), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            cwd=ROOT,
        )
        index, last, rest, finished, hung = begin - 1, time.monotonic(), b"", False, False
        while True:
            ready, _, _ = select.select([process.stdout], [], [], 1)
            block = os.read(process.stdout.fileno(), 1 << 16) if ready else None
            if block == b"":
                break
            if block is None:
                hung = time.monotonic() - last > (deadline if index >= begin else 3 * DEADLINE)
                if hung:
                    process.kill()
                    break
                continue
            last = time.monotonic()
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                what, _, text = line.decode().partition(" ")
                if what == "call":
                    index = int(text)
                elif what == "end":
                    report.count(text)
                elif what == "wrong":
                    report.fault(calls[index], "wrong", text)
                finished = finished or what == "done"
        errors = process.communicate()[1].decode(errors="replace")[-300:]
        assert index >= begin, f"the child made no call: {errors}"
        if hung:
            report.fault(calls[index], "hang", f"no answer in {deadline} s")
        elif not finished:
            report.fault(calls[index], "crash", f"child ended with {process.returncode} {errors}")
        begin = len(calls) if finished else index + 1


# Tests ---------------------------------------------------------------------------------------------------------------


def test_every_function_is_called():
    """The calls above are of all that the module has, with all arguments, and valid."""
    names = [pair for module in vars(_core).values() if inspect.ismodule(module) for pair in vars(module).items()]
    places = {name for name, value in names if inspect.isbuiltin(value)}
    for name, value in names:
        if inspect.isclass(value) and not name.startswith("_"):
            places |= {f"{name}.{method}" for method, of in vars(value).items() if inspect.ismethoddescriptor(of)}
            places |= {f"{name}.__init__"} if "__new__" in vars(value) else set()
    assert places == {key.partition("/")[0] for key in CALLS}
    assert set(valid_calls.stub()) == places - {"PackedWeights.__reduce__"}
    for key, make in CALLS.items():
        function, arguments = make()
        assert list(arguments) == valid_calls.parameters(key), key
        function(**arguments)
        assert valid_calls.guards_hold()
        valid_calls.guards.clear()


@pytest.mark.parametrize("key", [key for key in CALLS if key not in ("memory", "peak_gflops")])
def test_misaligned_arrays(key):
    """Arrays that begin between two addresses give the same bits, in results and in what is written in place."""
    both = []
    for change in (np.copy, hostile.misaligned):
        function, arguments = CALLS[key]()
        for name, argument in arguments.items():
            for path, value in hostile.leaves(argument):
                if isinstance(value, np.ndarray):
                    arguments[name] = hostile.replaced(arguments[name], path, change)
        both.append([hostile.bits(function(**arguments)), hostile.bits(list(arguments.values()))])
    assert both[0] == both[1]
    valid_calls.guards.clear()


def test_no_object_without_its_value():
    """Nothing makes an object of a class of the core but its constructor, or the function that returns it."""
    saved = valid_calls.backward()["saved"]
    objects = [saved, _core.stream.Stream(1), _core.sampling.AliasTable(np.ones(2))]
    makers = [
        lambda kind, _: kind.__new__(kind),
        lambda kind, _: object.__new__(kind),
        lambda kind, _: type("Sub", (kind,), {}),
        lambda _, thing: copy.copy(thing),
        lambda _, thing: copy.deepcopy(thing),
        lambda _, thing: pickle.loads(pickle.dumps(thing)),
        lambda kind, _: kind(*[None] * 9),
    ]
    for thing in objects:
        for make in makers:
            with pytest.raises(TypeError):
                make(type(thing), thing)
    with pytest.raises(TypeError):
        type(saved)()
    for copied in (
        copy.copy(_core.recurrent.PackedWeights()),
        pickle.loads(pickle.dumps(_core.recurrent.PackedWeights())),
    ):
        assert type(copied) is _core.recurrent.PackedWeights
    for wrong in (None, 3, _core.recurrent.PackedWeights(), object()):
        with pytest.raises(TypeError, match="step"):
            _core.stream.Stream.step(wrong, np.zeros((1, 1), F32))


def test_a_crash_and_a_hang_are_faults():
    """The harness sees both, names the call, and goes on behind it."""
    report = Report()
    run_children(["info", "memory", "get_num_threads"], report, {3: "crash", 8: "hang"}, deadline=4)
    assert report.counts == {"TypeError": 13, "crash": 1, "hang": 1}, report.counts
    crash, hang = report.faults
    assert crash.startswith("crash: info(a name") and f"ended with {-signal.SIGSEGV}" in crash
    assert hang.startswith("hang: memory(a name")


def test_hostile_calls(record_property):
    """No crash, no hang, no riddle: the counts are printed."""
    report, groups, waiting = Report(), [], 0
    for key in CALLS:
        waiting = waiting or groups.append([]) or 0
        groups[-1].append(key)
        waiting += len(hostile.calls_of(key))
        waiting = waiting if waiting < BATCH else 0
    batches = iter(groups)
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                batch = next(batches, None)
            if batch is None:
                return
            run_children(batch, report)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    summary = f"{report.calls} hostile calls of {len(CALLS)} valid ones: {dict(sorted(report.counts.items()))}"
    print(summary)
    record_property("hostile_calls", summary)
    faults = "\n".join(sorted(report.faults)[:60])
    assert not report.faults, f"{len(report.faults)} faults; {summary}\n{faults}"
    assert report.calls >= LEAST, summary
