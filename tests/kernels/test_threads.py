"""Threads: results equal bit by bit for any count, fork, two models at once, Ctrl-C, and how the count is set."""

import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import seqcore as sc
from seqcore import _core, layers, losses
from seqcore.layers import registry
from tests.helpers import cases
from tests.helpers.cases import Case

COUNTS = (1, 2, 3, 7, 16)
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

dtypes = pytest.mark.parametrize("dtype", cases.DTYPES)
cells = pytest.mark.parametrize("cell", cases.CELLS)


def for_each_count(run):
    """Runs with 1 to 16 threads and asserts that the dictionaries of arrays are the same bits."""
    results = []
    for count in COUNTS:
        _core.system.set_num_threads(count)
        results.append({name: np.array(value) for name, value in run().items()})
    for other in results[1:]:
        cases.identical(results[0], other)


def script(text, timeout=120, **environment):
    """Runs Python code in a process of its own, with the project importable."""
    path = os.pathsep.join([ROOT, *sys.path])
    variables = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True, timeout=timeout, env=variables
    )


def succeeds(text, timeout=120, **environment):
    """Output of the code, asserting that it succeeds."""
    done = script(text, timeout, **environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


# The same bits --------------------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("ragged", ["none", "lengths", "mask"])
@pytest.mark.parametrize("directions", ["forward", "both"])
@pytest.mark.parametrize(("batch", "units", "features"), [(3, 9, 5), (33, 130, 70), (64, 40, 100)])
@cells
def test_recurrent(cell, batch, units, features, directions, ragged, dtype):
    """All cells, one and two directions, ragged batches, work small and large enough to be shared out."""
    case = Case(cell, units, features, batch, steps=9, directions=directions, ragged=ragged)
    problem = cases.make(case, dtype)
    for_each_count(lambda: cases.run_core(problem, True))


@pytest.mark.parametrize(("units", "batch"), [(650, 20), (1500, 5), (700, 1)])
@cells
def test_large_layers(cell, units, batch):
    """Layers whose units may be shared out instead of the rows."""
    problem = cases.make(Case(cell, units, 300, batch, steps=2), "float32")
    for_each_count(lambda: cases.run_core(problem))


@pytest.mark.parametrize("ragged", ["none", "lengths", "mask"])
@pytest.mark.parametrize("directions", ["forward", "both"])
@pytest.mark.parametrize(("units", "batch"), [(200, 20), (330, 5), (650, 1)])
@cells
def test_grids_of_sequences_and_units(cell, units, batch, directions, ragged):
    """Parts of the sequences times parts of the units, which begin and end within panels, and whole rows of blocks."""
    case = Case(cell, units, 64, batch, 5, directions=directions, ragged=ragged, input_dropout=True, state_dropout=True)
    name, _ = cases.CELLS[cell]
    directions_of = {"directions": len(cases.DIRECTIONS[directions]), "threads": 16}
    loop = _core.recurrent.plan_threads(name, batch, batch * 5, 64, units, **directions_of)["loop"]
    if batch == 1 or (name, directions) == ("lstm", "forward"):
        assert (loop[1] > 1) == (name != "gru_reset_before")
    problem = cases.make(case, "float32")
    for_each_count(lambda: cases.run_core(problem, True))


@dtypes
@pytest.mark.parametrize("ragged", ["none", "lengths", "mask"])
@pytest.mark.parametrize("directions", ["forward", "both"])
@pytest.mark.parametrize("batch", [1, 3])
@cells
def test_fewer_sequences_than_threads(cell, batch, directions, ragged, dtype):
    """The products with W and their backward pass are then shared by steps."""
    case = Case(
        cell,
        70,
        130,
        batch,
        steps=150 // batch,
        directions=directions,
        ragged=ragged,
        input_dropout=True,
        state_dropout=True,
    )
    problem = cases.make(case, dtype)
    for_each_count(lambda: cases.run_core(problem, True))


@dtypes
@pytest.mark.parametrize("shape", [(7, 9, 17), (300, 200, 1000), (2000, 33, 65)], ids=str)
def test_linear_softmax(shape, dtype, rng):
    """The fused loss and its gradients."""
    rows, inputs, classes = shape
    x, kernel = rng.normal(size=(rows, inputs)).astype(dtype), rng.normal(size=(inputs, classes)).astype(dtype)
    bias, targets = rng.normal(size=classes).astype(dtype), rng.integers(0, classes, rows).astype(np.int32)
    names = ("losses", "correct", "dx", "dkernel", "dbias")
    for_each_count(lambda: dict(zip(names, _core.dense.linear_softmax(x, kernel, bias, targets), strict=True)))


@dtypes
@pytest.mark.parametrize("shape", [(7, 9, 17), (900, 200, 130), (5000, 33, 65), (3, 300, 1001)], ids=str)
def test_dense(shape, dtype, rng):
    """Dense layer, its gradients and softmax."""
    rows, inputs, outputs = shape
    x, kernel = rng.normal(size=(rows, inputs)).astype(dtype), rng.normal(size=(inputs, outputs)).astype(dtype)
    bias, dy = rng.normal(size=outputs).astype(dtype), rng.normal(size=(rows, outputs)).astype(dtype)

    def run():
        y = _core.dense.dense_forward(x, kernel, bias, "tanh")
        gradients = _core.dense.dense_backward(x, kernel, y, dy, "tanh")
        return {
            "y": y,
            "softmax": _core.dense.softmax(y),
            **dict(zip(("dx", "dkernel", "dbias"), gradients, strict=True)),
        }

    for_each_count(run)


@dtypes
@pytest.mark.parametrize("columns", [3, 65, 200])
def test_gradients_of_few_rows_of_an_embedding(columns, dtype, rng):
    """Half of the positions have one id, as in padded texts, the others low ones: threads share columns too."""
    ids = rng.integers(0, 40, 9000) ** 2 * rng.integers(0, 2, 9000)
    dy = rng.normal(size=(9000, columns)).astype(dtype)
    for_each_count(lambda: dict(enumerate(_core.embedding.embedding_backward(ids, dy, 2000))))


@dtypes
def test_sums_scatter_and_scan(dtype, rng):
    """Norms, embedding gradients, dropout masks and the context's scan."""
    arrays = [rng.normal(size=n).astype(dtype) for n in (3, 1000, 300_001)]
    table, ids = rng.normal(size=(500, 65)).astype(dtype), rng.integers(0, 500, (40, 200)).astype(np.int32)
    dy, z = rng.normal(size=(8000, 65)).astype(dtype), rng.normal(size=(33, 20, 65)).astype(dtype)

    def run():
        values, indices = _core.embedding.embedding_backward(ids.reshape(-1), dy, 500)
        s, last = _core.context.context_scan_forward(z, 0.9)
        dz, dinitial = _core.context.context_scan_backward(z, None, 0.9, z.shape, dtype=dtype)
        return {
            "sum": _core.optimizer.sum_squares(arrays),
            "rows": _core.embedding.embedding_forward(table, ids),
            "values": values,
            "indices": indices,
            "mask": _core.random.dropout_mask((300, 1001), 0.3, 1, 2, 3, dtype),
            "s": s,
            "last": last,
            "dz": dz,
            "dinitial": dinitial,
        }

    for_each_count(run)


@dtypes
@pytest.mark.parametrize(
    ("name", "slots", "options"),
    [
        ("sgd", 0, {}),
        ("sgd", 1, {"momentum": 0.9, "nesterov": True}),
        ("adam", 3, {}),
        ("rmsprop", 3, {"momentum": 0.9, "epsilon": 1e-3}),
        ("adagrad", 1, {}),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_optimizers(name, slots, options, dtype, rng):
    """Updates of flat parameters large enough to be shared out."""
    sizes = (5, 200_003)
    start, grads = ([rng.normal(size=n).astype(dtype) for n in sizes] for _ in range(2))

    def run():
        params = [p.copy() for p in start]
        state = [[np.zeros(n, dtype) for n in sizes] for _ in range(slots)]
        for _ in range(2):
            getattr(_core.optimizer, name)(params, grads, *state, learning_rate=0.1, clipvalue=1.0, **options)
        return {str(n): a for n, a in enumerate([*params, *(s for ss in state for s in ss)])}

    for_each_count(run)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads of the process are not listed")
def test_calls_of_fewer_threads_end_none():
    """Calls of 2 and 3 threads in turn make no new ones: OpenMP ends those that a smaller team leaves out."""
    code = """
        import os
        from seqcore import _core
        from tests.helpers.valid_calls import word2vec

        # More than are used, so that a busy machine does not lower the number.
        _core.system.set_num_threads(64)
        arguments = word2vec()

        def threads_after(count):
            _core.word2vec.train_word2vec(**{**arguments, "threads": count})
            return set(os.listdir("/proc/self/task"))

        before, made = threads_after(3), set()
        for _ in range(30):
            for count in (2, 3):
                made |= threads_after(count) - before
        print(len(made))
    """
    assert int(succeeds(code)) == 0


# Fork and threads -----------------------------------------------------------------------------------------------------

WORK = """
import numpy as np
from seqcore import _core
from tests.helpers import cases

def work(seed=0):
    found = {}
    for cell in ("lstm", "gru"):
        problem = cases.make(cases.Case(cell, 130, 70, 33, steps=9, seed=seed, directions="both"), "float32")
        found |= {cell + name: value for name, value in cases.run_core(problem).items()}
    x, kernel = np.ones((300, 64), np.float32), np.linspace(-1, 1, 64000, dtype=np.float32).reshape(64, 1000)
    found["loss"] = _core.dense.linear_softmax(x, kernel, None, np.zeros(300, np.int32))[0]
    return found
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_fork_after_threads():
    """A forked child of a process that used threads computes the same, and so does the child's child."""
    code = """
        import os, sys
        _core.system.set_num_threads(2)
        expected = work()
        def child(depth):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    cases.identical(work(), expected)
                    code = 0 if depth == 0 else child(depth - 1)
                finally:
                    os._exit(code)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        status = child(1)
        cases.identical(work(), expected)
        sys.exit(status)
    """
    succeeds(WORK + textwrap.dedent(code), timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_fork_while_another_thread_computes():
    """A fork in the middle of another thread's call leaves a child that can compute."""
    code = """
        import os, sys, threading
        _core.system.set_num_threads(2)
        expected = work()
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                work(1)
        thread = threading.Thread(target=busy)
        thread.start()
        status = 0
        for _ in range(5):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    cases.identical(work(), expected)
                    code = 0
                finally:
                    os._exit(code)
            status |= os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        stop.set()
        thread.join()
        sys.exit(status)
    """
    succeeds(WORK + textwrap.dedent(code), timeout=60, PYTHONWARNINGS="ignore")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_fork_pool():
    """A multiprocessing pool of forked workers."""
    code = """
        import multiprocessing
        _core.system.set_num_threads(2)
        expected = [work(seed) for seed in range(4)]
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for got, value in zip(pool.map(work, range(4)), expected):
                cases.identical(got, value)
    """
    succeeds(WORK + textwrap.dedent(code), timeout=60)


def test_two_python_threads():
    """Two models in two Python threads at once give what each gives alone."""
    problems = [
        cases.make(Case("lstm", 130, 70, 33, steps=9), "float32"),
        cases.make(Case("gru", 65, 40, 20, steps=9, directions="both", ragged="lengths"), "float64"),
    ]
    _core.system.set_num_threads(2)
    expected = [cases.run_core(problem) for problem in problems]
    failures = []

    def run(problem, value):
        try:
            for _ in range(20):
                cases.identical(cases.run_core(problem), value)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in zip(problems, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


@pytest.fixture
def fast_switches():
    """The interpreter goes from thread to thread as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


# One forward pass, several threads that ask for its gradients ---------------------------------------------------------


def at_once(work, threads=6):
    """Runs ``work(number)`` in that many Python threads that start together; raises what one of them raised."""
    start, failures = threading.Barrier(threads), []

    def run(number):
        try:
            start.wait()
            work(number)
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("out", [False, True], ids=["new", "out"])
@pytest.mark.parametrize("sequences", [True, False], ids=["sequences", "last"])
@pytest.mark.parametrize("directions", ["forward", "both"])
@pytest.mark.parametrize("ragged", ["none", "lengths", "mask"])
@cells
def test_one_saved_forward_pass(cell, ragged, directions, sequences, out):
    """Every thread gets the gradients that it would get alone, whichever gradient of the output it starts from."""
    _core.system.set_num_threads(2)
    case = Case(
        cell, 70, 40, 33, steps=7, directions=directions, ragged=ragged, sequences=sequences, state_dropout=True
    )
    problem = cases.make(case, "float32")
    starts = [problem.dy * np.float32(scale) for scale in (1, 2, 4)]

    def forward():
        return _core.recurrent.recurrent_forward(problem.cell, problem.x, problem.weights, **problem.options)

    def backward(saved, dy, out=None):
        return cases.named(
            dy, (), *_core.recurrent.recurrent_backward(saved, dy, problem.dstates, step_gradients=True, out=out)
        )

    expected = [backward(forward()[2], dy) for dy in starts]
    y, _, saved = forward()
    kept = y.copy()

    def work(number):
        arrays = [tuple(map(np.empty_like, part)) for part in problem.weights] if out else None
        for turn in range(5):
            n = (number + turn) % len(starts)
            cases.identical(backward(saved, starts[n], arrays), expected[n])

    at_once(work)
    assert (y == kept).all()


def recurrent_loss(rng):
    """The loss of a recurrent model with an embedding, whose gradients are arrays and IndexedSlices."""
    model = sc.Sequential(
        [
            layers.Embedding(50, 8),
            layers.Bidirectional(layers.LSTM(30, return_sequences=True)),
            layers.ContextRNN(12, 6, return_sequences=True),
            layers.GRU(20),
            layers.Dense(3, activation="softmax"),
        ]
    )
    ids, targets = rng.integers(0, 50, (40, 12)), rng.integers(0, 3, 40)
    with sc.GradientTape(persistent=True) as tape:
        loss = losses.SparseCategoricalCrossentropy()(targets, model(ids))
    return tape, loss, model.trainable_variables


def fused_loss(rng, reduction):
    """The fused product, softmax and cross-entropy after a layer."""
    layer = layers.LSTM(24, return_sequences=True)
    kernel, bias = sc.Variable(rng.normal(size=(24, 90)).astype("f4")), sc.Variable(np.zeros(90, np.float32))
    with sc.GradientTape(persistent=True) as tape:
        hidden = layer(rng.normal(size=(20, 9, 5)).astype("f4"))
        loss = sc.ops.linear_softmax_cross_entropy(
            hidden, kernel, bias, rng.integers(0, 90, (20, 9)), reduction=reduction
        )
    return tape, loss, [*layer.trainable_variables, kernel, bias]


def sampled_loss(rng, formula):
    """A sampled loss and its mean, whose gradients are IndexedSlices."""
    inputs = sc.Variable(rng.normal(size=(60, 16)).astype("f4"))
    weights, biases = sc.Variable(rng.normal(size=(300, 16)).astype("f4")), sc.Variable(np.zeros(300, np.float32))
    with sc.GradientTape(persistent=True) as tape:
        single = formula(weights, biases, rng.integers(0, 300, (60, 1)), inputs, 30, 300, seed=3)
        loss = sc.reduce_mean(single)
    return tape, loss, [inputs, weights, biases]


ASKED = {
    "recurrent": recurrent_loss,
    "fused mean": lambda rng: fused_loss(rng, "mean"),
    "fused sum": lambda rng: fused_loss(rng, "sum"),
    "fused none": lambda rng: fused_loss(rng, "none"),
    "nce": lambda rng: sampled_loss(rng, sc.nce_loss),
    "sampled softmax": lambda rng: sampled_loss(rng, sc.sampled_softmax_loss),
    "negative sampling": lambda rng: sampled_loss(rng, sc.negative_sampling_loss),
}


@pytest.mark.parametrize("name", ASKED)
def test_one_persistent_tape(name, rng):
    """Every thread gets the gradients that it would get alone, whatever the others do with theirs."""
    _core.system.set_num_threads(2)
    tape, loss, variables = ASKED[name](rng)

    def gradients():
        found = tape.gradient(loss, variables)
        return {str(n): np.array(one) for n, one in enumerate(found)}, found

    expected, _ = gradients()

    def work(number):
        for _ in range(8):
            copies, found = gradients()
            cases.identical(copies, expected)
            for one in found:
                values = one.values if isinstance(one, sc.IndexedSlices) else one.numpy()
                if values.flags.writeable:
                    values[...] = number

    at_once(work)


def test_one_tape_that_is_not_persistent(fast_switches):
    """Exactly one of the threads gets the gradients, all of them; the others are told that they were asked for."""
    w = sc.Variable(np.ones((5, 5), np.float32))
    for _ in range(50):
        with sc.GradientTape() as tape:
            y = w
            for _ in range(20):
                y = y + w
            loss = sc.reduce_sum(y)
        found = []

        def work(number, tape=tape, loss=loss, found=found):
            try:
                found.append(tape.gradient(loss, w).numpy())
            except RuntimeError as error:
                assert "called already" in str(error)

        at_once(work, 3)
        assert len(found) == 1 and (found[0] == 21).all()


# The first call, by several threads -----------------------------------------------------------------------------------


class Slow(layers.Layer):
    """A user's layer that says it is built before it is, and lets other threads run meanwhile."""

    def build(self, input_shape):
        super().build(input_shape)
        time.sleep(0.01)
        self.factor = self.add_weight((input_shape[-1],), "normal", name="factor")

    def call(self, inputs):
        return inputs * self.factor


class Lazy(sc.Model):
    """A user's model that makes a layer in its first call."""

    def __init__(self):
        super().__init__()
        self.head = None

    def call(self, inputs):
        if self.head is None:
            time.sleep(0.01)
            self.head = layers.Dense(4)
        return self.head(inputs)


class Inner(sc.Model):
    """A user's model around layers and another model."""

    def __init__(self):
        super().__init__()
        self.first = sc.Sequential([layers.LSTM(5, return_sequences=True), layers.GRU(4)])
        self.second = [Slow(), layers.Dense(3)]

    def call(self, inputs, training=False):
        x = self.first(inputs, training=training)
        for layer in self.second:
            x = layer(x)
        return x


SEQUENCE, ROWS = np.linspace(-1, 1, 60, dtype=np.float32).reshape(3, 4, 5), np.eye(3, 5, dtype=np.float32)
# Layers whose arguments are not obvious; the others are made with units.
FIRST_CALLS = {
    "Activation": (lambda: layers.Activation("tanh"), ROWS),
    "AdditiveAttention": (layers.AdditiveAttention, [SEQUENCE, SEQUENCE]),
    "Bidirectional": (lambda: layers.Bidirectional(layers.LSTM(3)), SEQUENCE),
    "Bidirectional of contexts": (lambda: layers.Bidirectional(layers.ContextRNN(3, 2)), SEQUENCE),
    "ContextRNN": (lambda: layers.ContextRNN(3, 2), SEQUENCE),
    "ContextRNNCell": (lambda: layers.ContextRNNCell(3, 2), ROWS),
    "Conv1D": (lambda: layers.Conv1D(3, 2), SEQUENCE),
    "Dense": (lambda: layers.Dense(4), ROWS),
    "Dropout": (lambda: layers.Dropout(0.5), ROWS),
    "Embedding": (lambda: layers.Embedding(9, 4), np.arange(6).reshape(2, 3)),
    "Flatten": (layers.Flatten, SEQUENCE),
    "GRU": (lambda: layers.GRU(3), SEQUENCE),
    "GRUCell": (lambda: layers.GRUCell(3), ROWS),
    "LSTM": (lambda: layers.LSTM(3), SEQUENCE),
    "LSTMCell": (lambda: layers.LSTMCell(3), ROWS),
    "LayerNormalization": (layers.LayerNormalization, SEQUENCE),
    "SimpleRNN": (lambda: layers.SimpleRNN(3), SEQUENCE),
    "SimpleRNNCell": (lambda: layers.SimpleRNNCell(3), ROWS),
    "TimeDistributed": (lambda: layers.TimeDistributed(layers.Dense(2)), SEQUENCE),
    "TimeDistributed of a user's layer": (lambda: layers.TimeDistributed(Slow()), SEQUENCE),
    "Sequential": (lambda: sc.Sequential([layers.LSTM(6), Slow(), layers.Dense(2)]), SEQUENCE),
    "Sequential in a Sequential": (
        lambda: sc.Sequential([sc.Sequential([layers.GRU(6), layers.Dense(2)]), Slow()]),
        SEQUENCE,
    ),
    "a user's layer": (Slow, ROWS),
    "a user's model": (Inner, SEQUENCE),
    "a model in a model": (lambda: sc.Sequential([Inner(), Slow()]), SEQUENCE),
    "a layer made by the call": (Lazy, ROWS),
}


def arrays_of(result):
    """The arrays of an output, which may be nested."""
    if isinstance(result, (list, tuple)):
        return [array for one in result for array in arrays_of(one)]
    return [np.array(result)]


@pytest.mark.parametrize("name", FIRST_CALLS)
def test_first_call(name, fast_switches):
    """Each thread gets the output of the weights that the layer keeps, and there is one set of them."""
    make, x = FIRST_CALLS[name]
    alone = make()
    alone(x)
    for _ in range(5):
        layer, found = make(), {}

        def work(number, layer=layer, found=found):
            found[number] = arrays_of(layer(x))

        at_once(work)
        assert [w.shape for w in layer.weights] == [w.shape for w in alone.weights]
        for number in found:
            for a, b in zip(found[number], arrays_of(layer(x)), strict=True):
                np.testing.assert_array_equal(a, b)


def test_first_calls_are_of_every_layer_with_weights():
    """A layer that is added later is added above, too."""
    own = {name: cls for name, cls in registry.LAYERS.classes.items() if cls.__module__.startswith("seqcore.layers.")}
    missing = {n for n, cls in own.items() if cls.build is not layers.Layer.build} - set(FIRST_CALLS)
    assert not missing


def test_first_call_by_predict(fast_switches):
    """The same by predict, whose states are its own."""
    for _ in range(5):
        model = sc.Sequential([layers.LSTM(6, return_sequences=True), layers.Bidirectional(layers.GRU(4)), Slow()])
        found = {}

        def work(number, model=model, found=found):
            found[number] = model.predict(SEQUENCE, verbose=0)

        at_once(work)
        for number in found:
            np.testing.assert_array_equal(found[number], model(SEQUENCE).numpy())


def test_failing_first_calls(fast_switches):
    """A first call that fails leaves the others with a whole model."""
    for _ in range(5):
        model = sc.Sequential([layers.Dense(4), Slow(), layers.LSTM(3)])
        found = {}

        def work(number, model=model, found=found):
            if number % 2:
                with pytest.raises(ValueError, match="inputs"):
                    model(ROWS)
            else:
                found[number] = model(SEQUENCE).numpy()

        at_once(work)
        assert len(found) == 3
        for number in found:
            np.testing.assert_array_equal(found[number], model(SEQUENCE).numpy())


def test_a_call_that_waits_for_threads_of_its_own():
    """A model may call its layers from threads of its own, in its first call too."""

    class Parallel(sc.Model):
        def __init__(self):
            super().__init__()
            self.parts = [layers.LSTM(3), layers.GRU(3)]

        def call(self, inputs):
            found = {}

            def work(number):
                found[number] = self.parts[number](inputs)

            at_once(work, 2)
            return found[0] + found[1]

    model = Parallel()
    first = model(SEQUENCE).numpy()
    np.testing.assert_array_equal(model(SEQUENCE).numpy(), first)


def test_weights_that_change_between_calls(fast_switches):
    """Calls without gradients keep packed weights: no thread computes with those of an older version."""
    layer = layers.LSTM(7)
    layer(SEQUENCE)
    settings = [[w + np.float32(n) for w in layer.get_weights()] for n in range(4)]
    expected = []
    for weights in settings:
        layer.set_weights(weights)
        expected.append(layer(SEQUENCE).numpy().copy())
    for turn in range(100):
        n = turn % len(settings)
        layer.set_weights(settings[n])
        at_once(lambda number, n=n: np.testing.assert_array_equal(layer(SEQUENCE).numpy(), expected[n]), 3)


def test_numbers_are_given_once(fast_switches):
    """Dropout streams, draws of classes and automatic names: no two threads get the same."""
    from seqcore import random

    found = []

    def work(number):
        found.extend((random.next_stream(), random.next_draw(), layers.Dense(1).name) for _ in range(300))

    at_once(work)
    for numbers in zip(*found, strict=True):
        assert len(set(numbers)) == len(found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_fork_in_a_first_call():
    """A child that was forked while another thread built a layer can build it, too."""
    code = """
        import os, sys, threading, time
        import numpy as np
        import seqcore as sc
        from seqcore import layers
        begun = threading.Event()
        class Slow(layers.Layer):
            def build(self, input_shape):
                self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")
                if threading.current_thread() is not threading.main_thread():
                    begun.set()
                    time.sleep(0.5)
            def call(self, inputs):
                return inputs * self.factor
        model = sc.Sequential([layers.Dense(3), Slow()])
        x = np.ones((2, 5), np.float32)
        other = threading.Thread(target=model, args=(x,))
        other.start()
        begun.wait()
        pid = os.fork()
        if pid == 0:
            os._exit(0 if model(x).shape == (2, 3) and len(model.weights) == 3 else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        other.join()
        sys.exit(status)
    """
    succeeds(code, timeout=60, PYTHONWARNINGS="ignore")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_fork_while_another_thread_uses_the_saved_pass():
    """A child that was forked in the middle of a backward pass can go on with the same saved forward pass."""
    code = """
        import os, sys, threading
        _core.system.set_num_threads(2)
        problem = cases.make(cases.Case("lstm", 130, 70, 33, steps=9), "float32")
        saved = _core.recurrent.recurrent_forward(problem.cell, problem.x, problem.weights, **problem.options)[2]
        gradient = lambda: _core.recurrent.recurrent_backward(saved, problem.dy)[0]
        expected = gradient()
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                gradient()
        threads = [threading.Thread(target=busy) for _ in range(2)]
        for thread in threads:
            thread.start()
        status = 0
        for _ in range(10):
            pid = os.fork()
            if pid == 0:
                os._exit(0 if (gradient() == expected).all() else 1)
            status |= os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        stop.set()
        for thread in threads:
            thread.join()
        sys.exit(status)
    """
    succeeds(WORK + textwrap.dedent(code), timeout=60, PYTHONWARNINGS="ignore")


# Ctrl-C ---------------------------------------------------------------------------------------------------------------

INTERRUPT = """
import os, signal, sys, threading, time
import numpy as np
from seqcore import _core

signal.signal(signal.SIGINT, signal.default_int_handler)  # a process started in the background ignores it

def interrupted(call, after=0.3):
    sent = []
    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
    timer = threading.Timer(after, send)
    timer.start()
    try:
        call()
    except KeyboardInterrupt:
        waited = time.monotonic() - sent[0]
        print("stopped after", waited)
        assert waited < 1.0, waited
        return
    timer.cancel()
    sys.exit("the call ended before it was interrupted")

def layer(cell, gates, units, features=8):
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 0.1, (features, gates * units)).astype(np.float32)
    recurrent = rng.normal(0, 0.01, (units, gates * units)).astype(np.float32)
    return [(kernel, recurrent, None)]
"""


@pytest.mark.native
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3), ("rnn", 1)])
def test_interrupt_forward(cell, gates, threads):
    """SIGINT ends a long call within a second; the next call works and gives the right numbers."""
    code = f"""
        _core.system.set_num_threads({threads})
        weights = layer("{cell}", {gates}, 1536)
        x = np.broadcast_to(np.ones((1, 1, 8), np.float32), (2, 16000 // {gates}, 8))
        initial = [tuple(np.zeros((2, 1536), np.float32) for _ in range(2 if "{cell}" == "lstm" else 1))]
        forward = _core.recurrent.recurrent_forward
        interrupted(lambda: forward("{cell}", x, weights, initial=initial, sequences=False, save=False))
        assert not any(s.any() for s in initial[0])
        y = forward("{cell}", x[:, :3], weights, sequences=False, save=False)[0]
        from tests.helpers import reference
        expected = reference.forward("{cell}", x[:, :3], weights, sequences=False)[0]
        assert abs(y - expected).max() < 1e-5
    """
    assert "stopped" in succeeds(INTERRUPT + textwrap.dedent(code), timeout=120)


@pytest.mark.native
@pytest.mark.parametrize("threads", [1, 2])
def test_interrupt_backward(threads):
    """After SIGINT in the backward pass the call can be made again, and gives what it would have given."""
    code = f"""
        _core.system.set_num_threads({threads})
        weights = layer("lstm", 4, 1536)
        x = np.ones((40, 100, 8), np.float32)
        y, _, saved = _core.recurrent.recurrent_forward("lstm", x, weights)
        dy, kept = np.ones(y.shape, np.float32), y.copy()
        out = [(np.empty_like(weights[0][0]), np.empty_like(weights[0][1]), None)]
        interrupted(lambda: _core.recurrent.recurrent_backward(saved, dy, out=out), after=0.05)
        assert (y == kept).all() and (dy == 1).all() and (x == 1).all()
        dx = _core.recurrent.recurrent_backward(saved, dy, out=out)[0]
        expected = _core.recurrent.recurrent_backward(_core.recurrent.recurrent_forward("lstm", x, weights)[2], dy)
        assert (dx == expected[0]).all()
        assert (out[0][0] == expected[1][0][0]).all() and (out[0][1] == expected[1][0][1]).all()
    """
    assert "stopped" in succeeds(INTERRUPT + textwrap.dedent(code), timeout=120)


@pytest.mark.native
def test_interrupt_while_waiting():
    """SIGINT also reaches a thread that waits for its turn with a saved forward pass."""
    code = """
        _core.system.set_num_threads(1)
        x, weights = np.ones((40, 100, 8), np.float32), layer("lstm", 4, 1536)
        y, _, saved = _core.recurrent.recurrent_forward("lstm", x, weights)
        dy = np.ones(y.shape, np.float32)
        other = threading.Thread(target=_core.recurrent.recurrent_backward, args=(saved, dy))
        def both():
            other.start()
            time.sleep(0.1)
            _core.recurrent.recurrent_backward(saved, dy)
        interrupted(both)
        assert other.is_alive()
        other.join()
    """
    assert "stopped" in succeeds(INTERRUPT + textwrap.dedent(code), timeout=120)


@pytest.mark.native
def test_interrupt_linear_softmax():
    """After SIGINT in the fused loss its inputs are as they were, and the next call gives the right numbers."""
    code = """
        _core.system.set_num_threads(1)
        kernel = np.zeros((512, 20000), np.float32)
        x, targets = np.ones((12000, 512), np.float32), np.zeros(12000, np.int32)
        out = (np.empty_like(kernel), None)
        interrupted(lambda: _core.dense.linear_softmax(x, kernel, None, targets, out=out))
        assert (x == 1).all() and not kernel.any() and not targets.any()
        losses = _core.dense.linear_softmax(x[:5], kernel, None, targets[:5], out=out)[0]
        assert abs(losses - np.log(20000)).max() < 1e-5
        expected = 5 * (1 / 20000 - (np.arange(20000) == 0))
        assert abs(out[0] - expected).max() < 1e-5
    """
    assert "stopped" in succeeds(INTERRUPT + textwrap.dedent(code), timeout=120)


@pytest.mark.native
@pytest.mark.parametrize("threads", [1, 2])
def test_interrupt_optimizer(threads):
    """SIGINT during an update of large arrays: every element has made the same number of steps."""
    code = f"""
        _core.system.set_num_threads({threads})
        params, grads, velocity = ([np.full(1_000_000, v, np.float32)] for v in (0.0, 1.0, 0.0))
        def steps():
            while True:
                _core.optimizer.sgd(params, grads, velocity, learning_rate=1e-3, momentum=0.5)
        interrupted(steps)
        assert (params[0] == params[0][0]).all() and (velocity[0] == velocity[0][0]).all()
        assert params[0][0] < 0
    """
    assert "stopped" in succeeds(INTERRUPT + textwrap.dedent(code), timeout=120)


# The number of threads ------------------------------------------------------------------------------------------------


def test_set_num_threads():
    """The count is taken, and what is no count is refused by name."""
    for count in COUNTS:
        _core.system.set_num_threads(count)
        assert _core.system.get_num_threads() == count
        assert _core.system.info()["threads"] == count
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="count"):
            _core.system.set_num_threads(wrong)
    for wrong in ("2", 1.5, None):
        with pytest.raises(TypeError, match="count"):
            _core.system.set_num_threads(wrong)
    assert _core.system.get_num_threads() == COUNTS[-1]


SHOW = "from seqcore import _core; print(_core.system.get_num_threads())"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SEQCORE_NUM_THREADS": "3"}, "3"),
        ({"OMP_NUM_THREADS": "3"}, "3"),
        ({"SEQCORE_NUM_THREADS": "1", "OMP_NUM_THREADS": "3"}, "1"),
    ],
    ids=str,
)
def test_environment(environment, expected):
    """SEQCORE_NUM_THREADS counts before OMP_NUM_THREADS."""
    clean = {"SEQCORE_NUM_THREADS": "", "OMP_NUM_THREADS": ""}
    assert succeeds(SHOW, **{**clean, **environment}) == expected


@pytest.mark.parametrize("value", ["zero", "-2", "0", "1.5"])
def test_environment_without_sense(value):
    """A value that is no count is an error of one line, which names the variable and shows the value."""
    done = script(SHOW, SEQCORE_NUM_THREADS=value)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "SEQCORE_NUM_THREADS" in last and value in last


def test_default_is_at_most_what_the_process_may_use():
    """Without settings: at least one thread, at most one for each processor the process may run on."""
    count = int(succeeds(SHOW, SEQCORE_NUM_THREADS="", OMP_NUM_THREADS=""))
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert 1 <= count <= allowed


LIMITED = """
import os, resource, threading
import numpy as np
from seqcore import _core
from tests.helpers import cases

def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

def no_more_threads():
    if os.getuid() == 0:
        os.setresuid(54321, 54321, 54321)  # the limit does not bind root
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))

def room_for(number):
    size = memory() + number * (256 << 20) + (192 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))

_core.system.set_num_threads(1)
problem = cases.make(cases.Case("lstm", 130, 70, 33, steps=9), "float32")
expected = cases.run_core(problem)
cases.identical(cases.run_core(problem), expected)
"""


@pytest.mark.native
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits as on Linux")
@pytest.mark.parametrize("limit", ["no_more_threads()", "room_for(0)", "room_for(1)", "room_for(3)"])
def test_threads_that_cannot_be_made(limit):
    """The work is done by the threads that there are; OpenMP would end the process."""
    code = f"""
        {limit}
        for count in (2, 7, 3, 20, 1, 7):
            _core.system.set_num_threads(count)
            cases.identical(cases.run_core(problem), expected)
        print("done")
    """
    assert succeeds(LIMITED + textwrap.dedent(code), OMP_STACKSIZE="256M", MALLOC_ARENA_MAX="1") == "done"


@pytest.mark.native
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits as on Linux")
def test_threads_that_cannot_be_made_for_several_callers():
    """Teams of several Python threads grow one after the other, so that none counts on what another one takes."""
    code = """
        threading.stack_size(1 << 20)
        _core.system.set_num_threads(4)
        failures = []
        start = threading.Barrier(5)
        def work():
            try:
                start.wait()
                cases.identical(cases.run_core(problem), expected)
                start.wait()
            except BaseException as error:
                failures.append(error)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        room_for(5)
        start.wait()
        start.wait()
        for thread in threads:
            thread.join()
        assert not failures, failures
        print("done")
    """
    for _ in range(3):
        assert succeeds(LIMITED + textwrap.dedent(code), OMP_STACKSIZE="256M", MALLOC_ARENA_MAX="1") == "done"


def test_threadpoolctl():
    """threadpoolctl's limit counts inside its block, and the results stay the same."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    if not _core.system.info()["openmp"]:
        pytest.skip("built without OpenMP")
    problem = cases.make(Case("lstm", 130, 70, 33, steps=9), "float32")
    expected = cases.run_core(problem)
    _core.system.set_num_threads(2)
    with threadpoolctl.threadpool_limits(limits=1, user_api="openmp"):
        assert _core.system.get_num_threads() == 1
        cases.identical(cases.run_core(problem), expected)
    assert _core.system.get_num_threads() == 2
    cases.identical(cases.run_core(problem), expected)
