"""Data that fit, evaluate and predict take: arrays of any library, lists, batches, steps, class weights."""

import warnings

import numpy as np
import pytest

import seqcore as sc
from seqcore import layers, losses, models
from seqcore.autograd.tensor import Tensor
from tests.helpers.small_models import dense_model


class Foreign:
    """An array as other libraries have them: it gives its numbers through ``__array__``, and its rows."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def __array__(self, dtype=None, copy=None):
        return self.array

    def __len__(self):
        return len(self.array)

    def __iter__(self):
        return (Foreign(row) for row in self.array)

    def __getitem__(self, rows):
        return Foreign(self.array[rows])


class Bare:
    """An array that says nothing but its numbers, not even its shape."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class Exchanged:
    """An array that gives its numbers only through the array exchange protocol."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def __dlpack__(self, **arguments):
        return self.array.__dlpack__(**arguments)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class Elsewhere(Exchanged):
    """An array on a graphics card."""

    def __dlpack_device__(self):
        return 2, 0


def library(name):
    """A function that turns an array into one of a library, where it is installed."""

    def convert(array):
        module = pytest.importorskip(name)
        if name == "torch":
            return module.tensor(array)
        if name == "jax":
            return module.numpy.asarray(array)
        return module.DataFrame(array) if array.ndim == 2 else module.Series(array) if array.ndim == 1 else array

    return convert


ARRAYS = {
    "array": Foreign,
    "exchanged": Exchanged,
    "bare": Bare,
    "tensor": Tensor,
    "list of one": lambda array: [array],
    "tuple of one": lambda array: (array,),
    "nested lists": lambda array: array.tolist(),
    "subclass": lambda array: array.view(type("Sub", (np.ndarray,), {})),
    "torch": library("torch"),
    "jax": library("jax"),
    "pandas": library("pandas"),
}


def table(rng, rows=24):
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    return x, (x @ [1.0, -2.0, 0.5]).astype(np.float32), rng.uniform(0.5, 2, rows).astype(np.float32)


@pytest.mark.parametrize("convert", ARRAYS.values(), ids=ARRAYS)
def test_every_kind_of_array_is_an_array(rng, convert):
    """In each place that takes data: the same numbers as those of NumPy's array."""

    def run(convert):
        sc.set_seed(3)
        model = dense_model()
        x, y, weight = map(convert, table(np.random.default_rng(0)))
        history = model.fit(
            x, y, sample_weight=weight, epochs=2, batch_size=5, validation_data=(x, y, weight), verbose=0
        ).history
        split = model.fit(x, y, validation_split=0.25, verbose=0).history
        numbers = [model.evaluate(x, y, sample_weight=weight, verbose=0), model.train_on_batch(x, y, weight)]
        numbers += [model.test_on_batch(x, y), *history["loss"], *history["val_loss"], *split["val_loss"]]
        outputs = [model(x).numpy(), model.predict(x, verbose=0), model.predict_on_batch(x)]
        batches = model.evaluate([(x, y), (x, y)] if hasattr(x, "shape") else iter([(x, y)] * 2), verbose=0)
        return [np.array([*numbers, batches]), *outputs]

    for one, other in zip(run(convert), run(lambda array: array)):
        np.testing.assert_allclose(one, other, rtol=1e-6)
        assert one.shape == other.shape


def test_float64_of_other_libraries_stays_float64(rng):
    x = rng.normal(size=(4, 3))
    model = models.Sequential([layers.Input((3,)), layers.Dense(2, dtype="float64")])
    for convert in (Foreign, Exchanged):
        np.testing.assert_array_equal(model.predict(convert(x), verbose=0), model.predict(x, verbose=0))


def test_a_list_of_one_array_stays_a_list_for_a_model_of_its_own(rng):
    """As in Keras, ``call`` gets what the caller gave; only a chain of layers takes the array out."""

    class First(models.Model):
        def call(self, inputs):
            assert isinstance(inputs, list)
            return inputs[0]

    x = rng.normal(size=(3, 2)).astype(np.float32)
    np.testing.assert_array_equal(First().predict([x], verbose=0), x)


def masked(array):
    hidden = np.zeros(array.shape, bool)
    hidden[1] = True
    return np.ma.masked_array(array, hidden)


@pytest.mark.parametrize("place", ["x", "y", "sample_weight", "lengths", "mask", "validation_data"])
@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch", "predict"])
def test_masked_arrays_are_refused_by_name(rng, place, method):
    model = models.Sequential([layers.Input((4, 3)), layers.LSTM(2, return_sequences=True), layers.Dense(1)])
    model.compile("sgd", "mse")
    given = {"x": rng.normal(size=(6, 4, 3)), "y": np.ones((6, 4)), "sample_weight": np.ones(6)}
    whole = {"lengths": np.full(6, 4), "mask": np.ones((6, 4), bool), "validation_data": np.ones((6, 4, 3))}
    if place == "mask":
        with pytest.raises(TypeError, match="mask: expected an array without a mask"):
            model(given["x"], mask=masked(whole["mask"]))
        return
    if place == "validation_data":
        if method != "fit":
            return
        given[place] = (masked(whole[place]), np.ones((6, 4)))
    else:
        given[place] = masked((given | whole)[place])
    if method == "predict":
        given = {name: value for name, value in given.items() if name in ("x", "lengths")}
        if place not in given:
            return
    with pytest.raises(TypeError, match=f"{place}: .*expected an array without a mask"):
        getattr(model, method)(**given)


@pytest.mark.parametrize(
    "x, message",
    [
        (None, "x: expected an array, a list of arrays or an iterable of batches, got NoneType"),
        ([["a", "b"]], "x: expected numbers, got list of strings"),
        (np.array(["a"]), "x: expected numbers, got ndarray of strings"),
        ([[1.0, 2.0], [3.0]], "x: expected rows of one length, got a ragged list"),
        (np.array([None, 1.0]), "x: expected numbers, got an array of objects such as None"),
        ({"a": np.ones((2, 3))}, "inputs: expected one array for layer .*, got a dict; take one of its arrays: 'a'"),
        ({}, "x: expected at least one input, got an empty dict"),
        ({"a": np.ones((2, 3)), "b": np.ones(3)}, "x: expected inputs with the same number of rows, got 2 and 3"),
        (type("Sparse", (), {"shape": (2, 3), "toarray": None})(), "x: expected a dense array, got a Sparse"),
        (type("Opaque", (), {"shape": (2, 3)})(), "x: expected numbers, got "),
        (Elsewhere(np.ones((2, 3))), "x: expected numbers, got a Elsewhere .*not in the memory of the CPU; move it"),
        (1 + 2j, "x: expected numbers"),
        (np.zeros((0, 3)), "x: expected at least one row"),
        ([], "x: "),
    ],
)
def test_what_is_no_data_is_named(x, message):
    model = dense_model()
    for call in (lambda: model.fit(x, np.ones(2), verbose=0), lambda: model.predict(x, verbose=0)):
        with pytest.raises((TypeError, ValueError), match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (None, "x: expected numbers, got None"),
        ("abc", "x: expected numbers, got 'abc'"),
        (3.0, "x: expected an array with a batch axis, got a single number"),
        (object(), "x: expected numbers, got <object object"),
        ((np.ones((2, 3)),) * 4, r"x: expected batches x, \(x, y\) or \(x, y, sample_weight\), got 4 parts"),
        ((), r"x: expected batches x, \(x, y\) or \(x, y, sample_weight\), got 0 parts"),
        ((np.ones((2, 3)), np.ones(3)), r"y: expected 2 rows as in x, got shape \(3,\)"),
        ([np.ones((2, 3)), "ab"], "y: expected numbers, got 'ab'"),
        ({"x": np.ones((2, 3))}, "y: expected targets to train on, got None"),
    ],
)
def test_an_item_that_is_no_batch_is_named(item, message):
    model = dense_model()
    before = model.get_weights()
    anew = type("Batches", (), {"__iter__": lambda self: iter([item])})
    for data in (anew(), iter([item]), (item for _ in range(2))):
        with pytest.raises((TypeError, ValueError), match=message) as refused:
            model.fit(data, verbose=0)
        assert "\n" not in str(refused.value)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "y, message",
    [
        (["cat", "dog"], "y: expected numbers, got list of strings"),
        (np.ones(3), r"y: expected 2 rows as in x, got shape \(3,\)"),
        ([np.ones(2), np.ones(2), np.ones(2)], "y: expected 2 rows .*a model with one loss has one output"),
        ({"out": np.ones(2)}, "y: expected an array, got a dict; a model with one loss has one output"),
        (1.0, "y: expected an array with a batch axis"),
        (np.ones((2, 2)), r"y_true: expected the shape of y_pred, \(2, 1\), got \(2, 2\)"),
    ],
)
def test_targets_that_do_not_fit_are_named(y, message):
    model = dense_model()
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises((TypeError, ValueError), match=message):
            call(np.ones((2, 3)), y)


# ---------------------------------------------------------------- batches and steps


class Count(sc.callbacks.Callback):
    """Batches of each epoch, of validation and of prediction."""

    def __init__(self):
        self.train, self.test, self.predict = [], 0, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.train.append(0)

    def on_train_batch_end(self, batch, logs=None):
        self.train[-1] += 1

    def on_test_batch_end(self, batch, logs=None):
        self.test += 1

    def on_predict_batch_end(self, batch, logs=None):
        self.predict += 1


class Recorder(models.Sequential):
    """Notes the first number of each batch it trains on."""

    def __init__(self):
        super().__init__([layers.Input((1,)), layers.Dense(1)])
        self.seen = []

    def call(self, inputs, training=None, mask=None, lengths=None):
        self.seen.append(int(np.asarray(inputs)[0, 0]))
        return super().call(inputs, training, mask, lengths)


class Batches:
    """Keras's ``PyDataset``: batches by number, with hooks."""

    def __init__(self, x, size=8):
        self.x, self.size, self.hooks = x, size, []

    def __len__(self):
        return len(self.x) // self.size

    def __getitem__(self, index):
        part = self.x[index * self.size : (index + 1) * self.size]
        return part, part

    def on_epoch_begin(self):
        self.hooks.append("begin")

    def on_epoch_end(self):
        self.hooks.append("end")


class Again:
    """An iterable without a length."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return (self.batches[i] for i in range(len(self.batches)))


def endless(batches):
    while True:
        yield from (batches[i] for i in range(len(batches)))


KINDS = {
    "array": lambda x: ((x, x), {"batch_size": 8}),
    "by number": lambda x: ((Batches(x),), {}),
    "iterable": lambda x: ((Again(Batches(x)),), {}),
    "list": lambda x: (([Batches(x)[i] for i in range(len(x) // 8)],), {}),
    "endless": lambda x: ((endless(Batches(x)),), {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_steps(kind):
    """3 steps of 8 batches: an epoch continues where the last one ended; a short one starts again."""
    x = np.arange(64, dtype=np.float32)[:, None]
    model, count = Recorder(), Count()
    model.compile(sc.optimizers.SGD(0.0), "mse")
    args, options = KINDS[kind](x)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(*args, steps_per_epoch=3, epochs=4, shuffle=False, verbose=0, callbacks=[count], **options)
    short = kind != "endless"
    assert count.train == ([3, 3, 2, 3] if short else [3, 3, 3, 3])
    assert model.seen == [0, 8, 16, 24, 32, 40, 48, 56, 0, 8, 16, 24][: sum(count.train)]
    assert [str(one.message) for one in caught] == [
        "steps_per_epoch: expected 3 batches per epoch, got 2 before the data ended"
    ] * short
    model.seen = []
    # Validation always starts with the first batch, where the data can.
    args, options = KINDS[kind](x)
    data = args if len(args) > 1 else args[0]
    model.fit(x, x, epochs=2, batch_size=64, validation_data=data, validation_steps=2, verbose=0, callbacks=[count],
              **({"validation_batch_size": 8} if options else {}))  # fmt: skip
    assert count.test == 4
    assert model.seen[1:3] == [0, 8] and model.seen[4:6] == ([16, 24] if kind == "endless" else [0, 8])
    args, options = KINDS[kind](x)
    model.evaluate(*args, steps=3, callbacks=[count], verbose=0, **options)
    assert count.test == 7
    args, options = KINDS[kind](x)
    assert model.predict(args[0], steps=3, callbacks=[count], verbose=0, **options).shape == (24, 1)
    assert count.predict == 3


def test_more_steps_than_batches():
    x = np.arange(64, dtype=np.float32)[:, None]
    count = Count()
    model = Recorder()
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="steps_per_epoch: expected 20 batches per epoch, got 8"):
        model.fit(x, x, batch_size=8, steps_per_epoch=20, epochs=2, verbose=0, callbacks=[count])
    assert count.train == [8, 8]


def test_a_whole_number_of_epochs_needs_no_warning():
    x = np.arange(64, dtype=np.float32)[:, None]
    model = Recorder()
    model.compile("sgd", "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in KINDS:
            count = Count()
            args, options = KINDS[kind](x)
            model.fit(*args, steps_per_epoch=4, epochs=5, verbose=0, callbacks=[count], **options)
            assert count.train == [4] * 5


def test_shuffle():
    """Batches by number come in a new order each epoch; what is iterated keeps its order."""
    x = np.arange(64, dtype=np.float32)[:, None]
    order = list(range(0, 64, 8))
    for kind, moves in (("by number", True), ("iterable", False), ("list", False)):
        for shuffle in (True, False):
            sc.set_seed(5)
            model = Recorder()
            model.compile("sgd", "mse")
            model.fit(*KINDS[kind](x)[0], epochs=2, shuffle=shuffle, verbose=0)
            first, second = model.seen[:8], model.seen[8:]
            assert sorted(first) == sorted(second) == order
            assert (first != order and first != second) is (moves and shuffle)
    model = dense_model()
    with pytest.raises(ValueError, match="shuffle: expected True or False, got 'batch'"):
        model.fit(np.ones((2, 3)), np.ones(2), shuffle="batch", verbose=0)


def test_hooks_of_the_data():
    x = np.arange(16, dtype=np.float32)[:, None]
    model = Recorder()
    model.compile("sgd", "mse")
    data = Batches(x)
    model.fit(data, epochs=3, verbose=0)
    assert data.hooks == ["begin", "end"] * 3
    data.hooks.clear()
    model.fit(data, epochs=2, steps_per_epoch=1, verbose=0)
    assert data.hooks == ["begin", "end"] * 2
    data.hooks.clear()
    model.fit(x, x, validation_data=data, epochs=2, verbose=0)
    model.evaluate(data, verbose=0)
    model.predict(data, verbose=0)
    assert data.hooks == ["begin", "end"] * 4

    class WithoutLength:
        num_batches = None

        def __getitem__(self, index):
            return x[:8], x[:8]

    count = Count()
    model.fit(WithoutLength(), steps_per_epoch=3, epochs=2, verbose=0, callbacks=[count])
    assert count.train == [3, 3]


def test_a_generator_goes_on_after_fit():
    """Batches that a call did not take are left in the caller's generator."""
    x = np.arange(64, dtype=np.float32)[:, None]
    source = endless(Batches(x))
    model = Recorder()
    model.compile("sgd", "mse")
    for _ in range(2):
        model.fit(source, steps_per_epoch=2, verbose=0)
    assert model.seen == [0, 8, 16, 24]
    np.testing.assert_array_equal(next(source)[0], x[32:40])


def test_validation_on_an_iterator(rng):
    """It needs validation_steps where there are several epochs; where it ends, validation does, not the run."""
    x, y, _ = table(rng)
    batches = [(x[:8], y[:8]), (x[8:16], y[8:16]), (x[16:], y[16:])]
    model = dense_model()
    with pytest.raises(ValueError, match="validation_data: expected data that can be walked more than once"):
        model.fit(x, y, epochs=2, validation_data=iter(batches), verbose=0)
    assert len(model.fit(x, y, validation_data=iter(batches), verbose=0).history["val_loss"]) == 1
    with pytest.warns(UserWarning, match="validation_steps: expected 2 batches per epoch, got 1"):
        history = model.fit(x, y, epochs=4, validation_data=iter(batches), validation_steps=2, verbose=0).history
    assert len(history["loss"]) == 4 and len(history["val_loss"]) == 2
    with pytest.warns(UserWarning, match="validation_steps: expected 3 batches per epoch, got 0"):
        history = model.fit(x, y, epochs=3, validation_data=iter(batches), validation_steps=3, verbose=0).history
    assert len(history["loss"]) == 3 and len(history["val_loss"]) == 1
    with pytest.raises(ValueError, match="at least one batch"), pytest.warns(UserWarning):
        model.evaluate(iter([]), steps=2, verbose=0)


def test_lists_are_batches_as_tuples_are(rng):
    """A generator of lists and a torch ``DataLoader`` yield [x, y]; a list of Python numbers is an x."""
    x, y, weight = table(rng, 8)
    model = dense_model()
    whole = model.evaluate(x, y, sample_weight=weight, verbose=0)
    assert model.evaluate(iter([[x, y, weight]]), verbose=0) == pytest.approx(whole, rel=1e-6)
    np.testing.assert_allclose(model.predict(iter([x.tolist()]), verbose=0), model.predict(x, verbose=0), rtol=1e-6)
    assert model.predict(iter([[x, y]]), verbose=0).shape == (8, 1)
    with pytest.raises(ValueError, match="x: expected batches .* got 4 parts"):
        model.evaluate(iter([[x, y, weight, x]]), verbose=0)


def test_weights_of_a_batch_may_be_none(rng):
    """In a list as in a generator, and in several batches of which some have weights."""
    x, y, weight = table(rng)

    def losses(batches):
        sc.set_seed(0)
        model = dense_model()
        return model.fit(batches, validation_data=batches, shuffle=False, verbose=0).history

    for parts in ([(x, y, None)], [(x, y, None)] * 2, [(x, y, weight), (x, y, None)]):
        pairs = [part if part[-1] is not None else part[:2] for part in parts]
        assert losses(parts) == losses(pairs)


def test_validation_after_a_list_of_epochs(rng):
    x, y, _ = table(rng)
    history = dense_model().fit(x, y, epochs=5, validation_data=(x, y), validation_freq=[1, 4], verbose=0).history
    assert len(history["loss"]) == 5 and len(history["val_loss"]) == 2


@pytest.mark.parametrize(
    "arguments",
    [{"epochs": 2.5}, {"epochs": True}, {"epochs": np.nan}, {"epochs": "2"}, {"batch_size": True}, {"batch_size": 2.0},
     {"batch_size": np.nan}, {"batch_size": 0}, {"initial_epoch": 0.5}, {"steps_per_epoch": 1.5},
     {"steps_per_epoch": 0}, {"steps_per_epoch": True}, {"validation_steps": 0.5}, {"validation_steps": -1},
     {"validation_batch_size": 2.0}, {"validation_batch_size": 0}, {"validation_freq": 1.5}, {"validation_freq": 0},
     {"validation_freq": [1.5]},
     {"validation_freq": "all"}, {"verbose": "x"}, {"verbose": 1.5}, {"verbose": None}, {"shuffle": 3},
     {"validation_split": np.nan}, {"validation_split": "half"}, {"validation_split": -0.5}, {"callbacks": 3},
     {"class_weight": [1.0]}, {"class_weight": {"a": 1.0}}, {"class_weight": {0.5: 1.0}}, {"class_weight": {0: np.nan}},
     {"class_weight": {0: "big"}}, {"class_weight": {-1: 1.0}}],
    ids=str,
)  # fmt: skip
def test_numbers_of_the_wrong_kind_are_named(arguments, rng):
    """Fractions, booleans, NaN and strings where whole numbers belong; nothing is trained."""
    x = rng.normal(size=(8, 3))
    model = dense_model()
    before = model.get_weights()
    (name,) = arguments
    if name.startswith("validation_") and name != "validation_split":
        arguments = arguments | {"validation_data": (x, np.ones(8))}
    with pytest.raises((TypeError, ValueError), match=f"^{name}: expected") as caught:
        model.fit(x, np.ones(8, int), **{"verbose": 0, **arguments})
    assert "\n" not in str(caught.value)
    for one, other in zip(model.get_weights(), before):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"validation_data": (np.ones((8, 3)),)}, "validation_data: expected .* got only x"),
        ({"validation_data": np.ones((8, 3))}, "validation_data: expected .* got only x"),
        ({"validation_data": (np.ones((8, 3)),) * 4}, "validation_data: expected .* got 4 entries"),
        ({"validation_data": 3}, "validation_data: x: expected"),
        ({"validation_data": (np.ones((8, 3)), np.ones(7))}, "validation_data: y: expected 8 rows"),
        ({"sample_weight": [1.0, np.nan] * 4}, "sample_weight: expected finite numbers, got nan"),
        ({"sample_weight": np.full(8, np.inf)}, "sample_weight: expected finite numbers, got inf"),
        ({"sample_weight": {"out": np.ones(8)}}, "sample_weight: expected an array, got a dict"),
        ({"sample_weight": "balanced"}, "sample_weight: expected numbers"),
        ({"class_weight": "balanced"}, "class_weight: expected a dict class -> weight, got str"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_training(arguments, message):
    model = dense_model()
    before = model.get_weights()
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        model.fit(np.ones((8, 3)), np.ones(8, int), verbose=0, **arguments)
    for one, other in zip(model.get_weights(), before):
        np.testing.assert_array_equal(one, other)


def test_settings_of_a_validation_that_does_not_take_place(rng):
    x, y, _ = table(rng)
    for name, value in (("validation_steps", 2), ("validation_batch_size", 4), ("validation_freq", 2)):
        with pytest.raises(ValueError, match=f"{name}: expected validation_data or validation_split"):
            dense_model().fit(x, y, verbose=0, **{name: value})
    with pytest.raises(ValueError, match="validation_batch_size: expected None where validation_data yields"):
        dense_model().fit(x, y, verbose=0, validation_data=iter([(x, y)]), validation_batch_size=4)


# ---------------------------------------------------------------- class weights

WEIGHTS = {0: 1.0, 1: 5.0, 2: 0.5}


def weighted_loss(x, y, loss, **arguments):
    """Loss of one batch, by fit and by train_on_batch, which must agree."""
    values = []
    for method in ("fit", "train_on_batch", "generator"):
        sc.set_seed(1)
        model = models.Sequential([layers.Input(x.shape[1:]), layers.Dense(3, activation="softmax")])
        model.compile(sc.optimizers.SGD(0.0), loss)
        if method == "fit":
            values.append(model.fit(x, y, batch_size=len(x), verbose=0, **arguments).history["loss"][0])
        elif method == "train_on_batch":
            values.append(model.train_on_batch(x, y, **arguments))
        elif "class_weight" in arguments:
            values.append(model.fit(iter([(x, y)]), verbose=0, **arguments).history["loss"][0])
    np.testing.assert_allclose(values, values[0], rtol=1e-6)
    return values[0]


@pytest.mark.parametrize("kind", ["int8", "int64", "uint8", "float32", "float64", "bool"])
@pytest.mark.parametrize("form", ["ids", "ids with an axis", "ids per step", "ids per step, with an axis", "one-hot",
                                  "one-hot per step", "smooth"])  # fmt: skip
def test_class_weights_of_every_form_of_targets(form, kind, rng):
    steps = (4,) if "step" in form else ()
    x, c = rng.normal(size=(16, *steps, 3)), rng.integers(0, 2 if kind == "bool" else 3, (16, *steps))
    right = np.vectorize(WEIGHTS.get)(c)
    if form.startswith("ids"):
        y, loss = c.astype(kind), "sparse_categorical_crossentropy"
        y = y[..., None] if "axis" in form else y
    else:
        y, loss = np.eye(3)[c].astype(kind), "categorical_crossentropy"
        if form == "smooth":
            y = (0.8 * y + 0.2 / 3).astype("float32")
    weighted = weighted_loss(x, y, loss, class_weight=WEIGHTS)
    np.testing.assert_allclose(weighted, weighted_loss(x, y, loss, sample_weight=right), rtol=1e-6)
    # A loss that does not say what targets it takes: they are looked at.
    function = getattr(losses, loss)
    if kind != "bool" and form != "smooth":
        custom = weighted_loss(x, y, lambda t, p: function(t, p), class_weight=WEIGHTS)
        np.testing.assert_allclose(custom, weighted, rtol=1e-6)


def test_class_weights_that_cannot_be(rng):
    x = rng.normal(size=(4, 3))
    for y in ([0, 1.5, 2, 1], [0, np.nan, 1, 1]):
        with pytest.raises(ValueError, match="y: expected class numbers that class_weight can name, got"):
            weighted_loss(x, np.array(y), "sparse_categorical_crossentropy", class_weight=WEIGHTS)
    # A class far away costs nothing.
    weighted_loss(x, np.array([0, 1, 2, 1]), "sparse_categorical_crossentropy", class_weight={10**15: 2.0})
    model = models.Sequential([layers.Input((3,)), layers.Dense(3, activation="softmax")])
    model.compile(sc.optimizers.SGD(0.0), "categorical_crossentropy")
    y = np.eye(3)[[0, 1, 2, 1]]
    weighted = model.train_on_batch(x, y, class_weight=WEIGHTS)
    for doubled in (np.full(4, 2.0), np.full((4, 1), 2.0)):
        assert model.train_on_batch(x, y, doubled, WEIGHTS) == pytest.approx(2 * weighted, rel=1e-6)
    with pytest.raises(ValueError, match=r"sample_weight: expected shape \(4, 2\), as class_weight gives it"):
        weighted_loss(
            x,
            np.zeros((4, 2), int),
            "sparse_categorical_crossentropy",
            class_weight=WEIGHTS,
            sample_weight=np.ones((4, 3)),
        )
