"""default_only: the one way to accept an argument of another library only at its default."""

import numpy as np
import pytest

import seqcore as sc
from seqcore._validation import default_only, short_repr


@pytest.mark.parametrize(
    ("value", "default"),
    [
        (None, None),
        (False, False),
        (0, False),
        (1, 1.0),
        ("auto", "auto"),
        (False, (False, "auto")),
        ("auto", (False, "auto")),
        (np.int64(1), 1),
        (np.False_, False),
    ],
)
def test_the_default_is_accepted(value, default):
    default_only("name", value, default, "a reason")


@pytest.mark.parametrize(
    ("value", "default", "expected"),
    [
        (True, False, "name: expected False (a reason), got True"),
        ("off", None, "name: expected None (a reason), got 'off'"),
        (2, (1, None), "name: expected 1 (a reason), got 2"),
        (float("nan"), 0.0, "name: expected 0.0 (a reason), got nan"),
        (np.zeros(1), 0, "name: expected 0 (a reason), got array([0.])"),
        (np.dtype("float64"), None, "name: expected None (a reason), got dtype('float64')"),
    ],
)
def test_anything_else_is_refused_in_one_line(value, default, expected):
    with pytest.raises(ValueError) as error:
        default_only("name", value, default, "a reason")
    assert str(error.value) == expected


def test_long_values_are_cut():
    text = short_repr(np.zeros((40, 40)))
    assert "\n" not in text and len(text) == 80 and text.endswith("...")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sc.text.Vocabulary({"a", "b"}), "words: expected words in the order of their ids, got a set"),
        (lambda: sc.TextVectorization(vocabulary={"a": 3}), "vocabulary: expected words in the order .* got a dict"),
        (lambda: sc.TextVectorization(vocabulary=frozenset("ab")), "vocabulary: expected words in the order"),
        (lambda: sc.TextVectorization(max_tokens=1).adapt(["a b"]), "max_tokens: expected at least 2, got 1"),
        (lambda: sc.pad_sequences([[1.0]], value=1e300, dtype="float32"), "value: expected numbers that fit dtype"),
        (
            lambda: sc.pad_sequences([[1e39]], dtype="float32"),
            r"sequences\[0\]: expected numbers that fit dtype float32",
        ),
        (lambda: sc.callbacks.ModelCheckpoint(3), "filepath: expected a path, got 3"),
        (lambda: sc.callbacks.CSVLogger(None), "filename: expected a path, got None"),
        (lambda: sc.callbacks.TensorBoard([1]), r"log_dir: expected a path, got \[1\]"),
        (lambda: sc.to_categorical([0, 1], 10**30), "num_classes: expected a table that memory can hold"),
        (lambda: sc.load_model(3), "filepath: expected a path, got 3"),
        (
            lambda: sc.Sequential([sc.layers.Input((1,)), sc.layers.Dense(1)]).save(3),
            "[a-z]*path: expected a path, got 3",
        ),
    ],
)
def test_what_was_taken_silently_or_named_nothing(call, message):
    """Sets and dicts as numberings, floats that overflow, and objects that are not paths."""
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        call()


def test_metrics_and_losses_of_other_libraries_are_refused():
    """Such a metric would be averaged over its own running values."""

    class Foreign:
        __module__ = "keras.src.metrics"

        def update_state(self, y_true, y_pred):
            pass

        def __call__(self, y_true, y_pred):
            return 1.0

    with pytest.raises(TypeError, match="^metric: expected a Metric of seqcore, got Foreign of keras$"):
        sc.metrics.get(Foreign())
    tensor = type("Tensor", (), {"__module__": "torch"})
    with pytest.raises(TypeError, match="expected call to return a Tensor, got Tensor of torch; functions"):
        sc.losses.get(lambda y_true, y_pred: tensor())(np.ones(2), np.ones(2))


def test_objects_of_other_libraries_are_named_with_their_library():
    """Keras's Adam has the name of ours; a schedule of Keras is called with a step."""

    def foreign(name):
        return type(name, (), {"__module__": "keras.src", "__call__": lambda self, step: 0.1})()

    model = sc.Sequential([sc.layers.Dense(1)])
    with pytest.raises(TypeError, match="^optimizer: expected a name or an Optimizer, got Adam of keras$"):
        model.compile(foreign("Adam"), "mse")
    with pytest.raises(TypeError, match="^layer: expected a Layer, got Dense of keras$"):
        model.add(foreign("Dense"))
    model.compile("adam", "mse")
    with pytest.raises(TypeError, match="^callbacks: expected Callback objects, got EarlyStopping of keras$"):
        model.fit(np.ones((2, 3)), np.ones(2), callbacks=[foreign("EarlyStopping")])
    for rate, name in [(foreign("CosineDecay"), "CosineDecay of keras"), (lambda step: 0.1, "function")]:
        with pytest.raises(TypeError, match=f"^learning_rate: expected .* function without arguments, got {name}$"):
            sc.optimizers.Adam(rate)
        with pytest.raises(TypeError, match="^learning_rate: expected"):
            model.optimizer.learning_rate = rate
    assert model.optimizer.learning_rate == pytest.approx(0.001)
    model = sc.Sequential([sc.layers.Input((1,)), sc.layers.Dense(1)])
    model.compile("sgd", "mse")
    for share in ([0.5], np.array([0.1, 0.2]), "half", np.nan):
        with pytest.raises((TypeError, ValueError), match="^validation_split: expected"):
            model.fit(np.ones((4, 1)), np.ones(4), validation_split=share, verbose=0)
