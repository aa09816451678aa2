"""Data of other libraries for fit, evaluate and predict: data frames, tensors, loaders of batches.

Each part runs where its library is installed; last run with torch 2.13.0, keras 3.15.1, pandas 3.1.1, polars 2.1.0,
jax 0.10.2.
"""

import numpy as np
import pytest

import seqcore as sc
from seqcore import layers, models
from seqcore.autograd import as_array

N = 12


@pytest.fixture
def table(rng):
    return rng.normal(size=(N, 3)).astype(np.float32), rng.normal(size=(N, 1)).astype(np.float32)


def history(*data, **options):
    """Losses of two epochs of the same model, batches of four rows in their order."""
    sc.set_seed(3)
    model = models.Sequential([layers.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model.fit(*data, epochs=2, shuffle=False, verbose=0, **options).history


# ---------------------------------------------------------------- data frames


def frames(name, columns):
    library = pytest.importorskip(name)
    return library.DataFrame(columns), library.Series


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_frames_and_columns(name, table):
    x, y = table
    frame, series = frames(name, dict(zip("abc", x.T)) | {"y": y[:, 0]})
    expected = history(x, y, batch_size=4)
    assert history(frame[["a", "b", "c"]], frame["y"], batch_size=4) == expected
    assert history(frame[["c", "b", "a"]][["a", "b", "c"]], frame[["y"]], batch_size=4) == expected
    # An array in each cell.
    assert history(series(x.tolist()), series(y[:, 0]), batch_size=4) == history(x.astype(float), y, batch_size=4)
    batches = [(frame[["a", "b", "c"]][i : i + 4], frame["y"][i : i + 4]) for i in range(0, N, 4)]
    assert history(batches) == expected


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_columns_of_several_types_become_one(name):
    columns = {"a": [0.5, 1.5], "b": [1, 2], "c": [True, False]}
    frame, _ = frames(name, columns)
    np.testing.assert_array_equal(as_array(frame), np.array([[0.5, 1, 1], [1.5, 2, 0]]))


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_a_column_of_words_is_named(name, table):
    frame, _ = frames(name, {"size": [0.5, 1.5], "town": ["here", "there"], "c": [1, 2]})
    with pytest.raises(TypeError, match="x: expected columns of numbers, got .*here.* in the column 'town'") as refused:
        history(frame, np.ones(2))
    assert "\n" not in str(refused.value)


def test_missing_numbers_are_nan():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": pandas.array([1.5, None], "Float32"), "b": pandas.array([1, None], "Int64")})
    np.testing.assert_array_equal(as_array(frame), [[1.5, 1], [np.nan, np.nan]])


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_columns_by_name_are_a_dict_of_inputs(name):
    class Sum(models.Model):
        def call(self, inputs):
            return inputs["a"] + inputs["b"]

    frame, _ = frames(name, {"a": [1.0, 2.0], "b": [3.0, 4.0]})
    columns = {column: frame[column] for column in frame.columns}
    assert Sum().predict(columns, verbose=0).tolist() == [4.0, 6.0]


# ---------------------------------------------------------------- tensors


def test_tensors_of_torch_share_their_memory(table):
    torch = pytest.importorskip("torch")
    x, y = (torch.tensor(array) for array in table)
    assert np.shares_memory(as_array(x), x.numpy())
    assert history(x, y, batch_size=4) == history(*table, batch_size=4)
    wide = as_array(x.to(torch.bfloat16))
    np.testing.assert_array_equal(wide, x.to(torch.bfloat16).float().numpy())
    for odd in (torch.empty(N, 3, device="meta"), x.to_sparse(), x.clone().requires_grad_()):
        with pytest.raises(TypeError, match="x: expected numbers, got a Tensor that NumPy cannot read: ") as refused:
            history(odd, y)
        assert "\n" not in str(refused.value)


def test_arrays_of_jax(table):
    jax = pytest.importorskip("jax")
    x, y = (jax.numpy.asarray(array) for array in table)
    assert history(x, y, batch_size=4) == history(*table, batch_size=4)


# ---------------------------------------------------------------- sources of batches


def test_loaders_of_torch(table):
    torch = pytest.importorskip("torch")
    data = torch.utils.data
    tensors = [torch.tensor(array) for array in table]
    loader = data.DataLoader(data.TensorDataset(*tensors), batch_size=4)
    expected = history(*table, batch_size=4, validation_data=table)
    assert history(loader, validation_data=data.DataLoader(data.TensorDataset(*tensors), batch_size=4)) == expected
    model = models.Sequential([layers.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    np.testing.assert_array_equal(model.predict(loader, verbose=0), model.predict(table[0], 4, verbose=0))
    assert model.evaluate(loader, verbose=0) == model.evaluate(*table, 4, verbose=0)

    class Stream(data.IterableDataset):
        def __iter__(self):
            return iter(zip(*table))

    assert history(data.DataLoader(Stream(), batch_size=4)) == history(*table, batch_size=4)


def test_loaders_of_torch_with_dicts(table):
    torch = pytest.importorskip("torch")

    class Items(torch.utils.data.Dataset):
        def __len__(self):
            return N

        def __getitem__(self, row):
            return {"a": table[0][row], "b": table[0][row]}, {"sum": table[1][row]}

    class Sum(models.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, inputs):
            return {"sum": self.dense(inputs["a"] + inputs["b"])}

    losses = []
    for data in ([Items()[slice(i, i + 4)] for i in range(0, N, 4)], torch.utils.data.DataLoader(Items(), 4)):
        sc.set_seed(3)
        model = Sum()
        model.compile("sgd", {"sum": "mse"})
        losses.append(model.fit(data, verbose=0).history)
    assert losses[0] == losses[1] and list(losses[0]) == ["loss"]


@pytest.mark.parametrize("form", [tuple, list])
def test_datasets_of_keras(form, table, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    x, y = table

    class Batches(keras.utils.PyDataset):
        ended = 0

        def __len__(self):
            return N // 4

        def __getitem__(self, number):
            return form([x[4 * number :][:4], y[4 * number :][:4]])

        def on_epoch_end(self):
            self.ended += 1

    batches = Batches()
    assert history(batches, validation_data=Batches()) == history(x, y, batch_size=4, validation_data=(x, y))
    assert batches.ended == 2


# ---------------------------------------------------------------- several outputs, next to Keras


FORMS = {
    "list": lambda first, second: [first, second],
    "tuple": lambda first, second: (first, second),
    "dict": lambda first, second: {"kind": first, "price": second},
}


def two_outputs(library, concatenate, outputs):
    class Two(library.Model):
        def __init__(self):
            super().__init__()
            self.hidden = library.layers.Dense(5, activation="tanh")
            self.kind = library.layers.Dense(3, activation="softmax")
            self.price = library.layers.Dense(1)

        def call(self, inputs):
            first, second = (inputs["a"], inputs["b"]) if isinstance(inputs, dict) else inputs
            hidden = self.hidden(concatenate([first, second], -1))
            return FORMS[outputs](self.kind(hidden), self.price(hidden))

    return Two()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("inputs", ["list", "dict"])
@pytest.mark.parametrize("outputs", FORMS)
def test_several_outputs_give_the_losses_and_names_of_keras(outputs, inputs, weighted, rng, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    first, second = rng.normal(size=(N, 4)).astype(np.float32), rng.normal(size=(N, 3)).astype(np.float32)
    x = [first, second] if inputs == "list" else {"a": first, "b": second}
    make = FORMS["dict" if outputs == "dict" else "list"]
    y = make(rng.integers(0, 3, N), rng.normal(size=(N, 1)).astype(np.float32))
    options = {"loss": make("sparse_categorical_crossentropy", "mse"), "metrics": make(["accuracy"], ["mae", "mse"])}
    given = {}
    if weighted:
        options |= {"loss_weights": make(0.25, 2.0), "weighted_metrics": make(["acc"], ["mae"])}
        given = {"sample_weight": make(rng.uniform(0.5, 2, N), rng.uniform(0.5, 2, N))}
    ours, theirs = two_outputs(sc, sc.ops.concat, outputs), two_outputs(keras, keras.ops.concatenate, outputs)
    for model in (ours, theirs):
        model.compile("sgd", **options)
        model.predict(x, verbose=0)
    ours.set_weights(theirs.get_weights())
    data = {"epochs": 2, "batch_size": 5, "shuffle": False, "verbose": 0, "validation_data": (x, y)}
    got, expected = (model.fit(x, y, **data, **given).history for model in (ours, theirs))
    assert got.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, rtol=2e-5, err_msg=name)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    # Keras orders the metrics of a list by their names.
    named = ours.evaluate(x, y, verbose=0, return_dict=True)
    for name, value in theirs.evaluate(x, y, verbose=0, return_dict=True).items():
        np.testing.assert_allclose(named[name], value, rtol=2e-5, err_msg=name)
