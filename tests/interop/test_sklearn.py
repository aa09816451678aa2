"""scikit-learn's estimators: its own checks, its tools, and the numbers behind them.

N: sequences, T: time steps, D: features.
"""

import copy
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import seqcore as sc
from seqcore.interop.sklearn import SequenceClassifier, SequenceRegressor, sequences_from_frame

RNG = np.random.default_rng(0)
# Sequences of 3 to 8 steps with 2 features; the sign of the last step's first feature decides.
X = [RNG.normal(size=(length, 2)) for length in RNG.integers(3, 9, size=40)]
Y = np.array(["up" if x[-1, 0] > 0 else "down" for x in X])
Z = np.array([x[-1, 0] for x in X])


def classifier(**settings):
    return SequenceClassifier(**{"cell": "gru", "units": 4, "epochs": 3, "random_state": 0, **settings})


def regressor(**settings):
    return SequenceRegressor(**{"cell": "gru", "units": 4, "epochs": 3, "random_state": 0, **settings})


@parametrize_with_checks([SequenceClassifier(), SequenceRegressor()])
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


# ---------------------------------------------------------------- numbers


def test_probabilities_are_those_of_the_equations():
    """A SimpleRNN step by step in NumPy, each sequence by itself, and the softmax of the dense layer."""
    fitted = classifier(cell="rnn", dtype="float64").fit(X, Y)
    kernel, recurrent, bias, weights, intercepts = fitted.model_.get_weights()
    expected = []
    for x in X:
        h = np.zeros(4)
        for step in x:
            h = np.tanh(step @ kernel + h @ recurrent + bias)
        powers = np.exp(h @ weights + intercepts)
        expected.append(powers / powers.sum())
    probabilities = fitted.predict_proba(X)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-12)
    assert fitted.classes_.tolist() == ["down", "up"] and probabilities.dtype == np.float64
    assert np.array_equal(fitted.predict(X), fitted.classes_[np.argmax(expected, axis=1)])
    # Padding has no part in a prediction.
    np.testing.assert_allclose(fitted.predict_proba([X[5]])[0], expected[5], rtol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"cell": "lstm", "layers": 2}, {"cell": "rnn", "bidirectional": True}])
def test_learns(settings):
    settings = {"epochs": 60, "units": 8, **settings}
    fitted = classifier(**settings).fit(X, Y)
    assert fitted.score(X, Y) > 0.9
    assert fitted.n_iter_ == 60 == len(fitted.history_["loss"]) and fitted.n_features_in_ == 2
    assert len(fitted.model_.layers) == settings.get("layers", 1) + 1
    assert regressor(**settings).fit(X, Z).score(X, Z) > 0.7


@pytest.mark.parametrize("columns", [1, 3])
def test_regression_of_several_targets(columns):
    targets = np.stack([Z * (number + 1) for number in range(columns)], axis=1)
    fitted = regressor(epochs=60, units=8).fit(X, targets)
    assert fitted.predict(X).shape == targets.shape and fitted.score(X, targets) > 0.7


def test_weights_count_like_repetitions():
    """One batch in float64: a weight of 2 is a sequence that is there twice, a weight of 0 one that is not there."""
    weight = np.arange(len(X)) % 3
    rows = np.repeat(np.arange(len(X)), weight)
    for make, y in ((classifier, Y), (regressor, Z)):
        weighted = make(batch_size=100).fit(X, y, sample_weight=weight)
        repeated = make(batch_size=100).fit([X[row] for row in rows], y[rows])
        for left, right in zip(weighted.model_.get_weights(), repeated.model_.get_weights()):
            np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12)


def test_only_the_ratio_of_weights_counts():
    weight = RNG.random(len(X))
    weights = [classifier().fit(X, Y, factor * weight).model_.get_weights() for factor in (1, 4)]
    for left, right in zip(*weights):
        np.testing.assert_array_equal(left, right)


def test_dtype():
    """Computation in the type of X, or in that of the argument."""
    array = np.ones((4, 3, 2))
    for given, dtype, expected in [
        (array, None, "float64"),
        (array.astype("float32"), None, "float32"),
        (array.astype("int64"), None, "float64"),
        (list(array.astype("float32")), None, "float32"),
        (array[:, :, 0].astype("float32"), None, "float32"),
        (array, "float32", "float32"),
        (array.astype("float32"), "float64", "float64"),
    ]:
        fitted = classifier(dtype=dtype).fit(given, [0, 1, 0, 1])
        assert {weight.dtype.name for weight in fitted.model_.get_weights()} == {expected}


def test_early_stopping():
    """Training ends n_iter_no_change epochs after the best one; without early stopping it does not end."""
    labels = RNG.integers(0, 2, size=len(X))
    settings = {"epochs": 200, "validation_fraction": 0.25, "n_iter_no_change": 3, "tol": 0.0}
    stopped = classifier(early_stopping=True, **settings).fit(X, labels, np.ones(len(X)))
    losses = stopped.history_["val_loss"]
    assert len(losses) == stopped.n_iter_ == np.argmin(losses) + 4 < 200
    # The weights are those of the best epoch.
    best = classifier(early_stopping=True, **{**settings, "epochs": int(np.argmin(losses)) + 1}).fit(X, labels)
    np.testing.assert_array_equal(stopped.predict_proba(X), best.predict_proba(X))
    assert set(classifier(**{**settings, "epochs": 5}).fit(X, labels).history_) == {"loss"}


# ---------------------------------------------------------------- random numbers


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    before = sc.random.get_state()
    settings = {"dropout": 0.2}
    first = classifier(**settings).fit(X, Y)
    again = classifier(**settings).fit(X, Y).predict_proba(X)
    np.testing.assert_array_equal(first.predict_proba(X), again)
    assert not np.array_equal(classifier(**settings, random_state=1).fit(X, Y).predict_proba(X), again)
    state = np.random.RandomState(3)
    left, right = (classifier(random_state=state).fit(X, Y).predict_proba(X) for _ in range(2))
    assert not np.array_equal(left, right)
    pickle.loads(pickle.dumps(first.partial_fit(X, Y)))
    assert sc.random.get_state() == before


def test_fits_in_threads_are_those_of_one_thread():
    with joblib.parallel_backend("threading", n_jobs=2):
        parallel = cross_val_predict(classifier(dropout=0.2), X, Y, cv=4, method="predict_proba")
    np.testing.assert_array_equal(
        parallel, cross_val_predict(classifier(dropout=0.2), X, Y, cv=4, method="predict_proba")
    )


# ---------------------------------------------------------------- partial_fit, pickle, copies


@pytest.mark.parametrize("interruption", [lambda x: x, lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy])
def test_partial_fit_continues_as_fit_does(interruption):
    """Three calls give the bits of three epochs, also where the estimator went through a pickle in between."""
    settings = {"dropout": 0.2, "layers": 2, "bidirectional": True}
    for make, y, more in ((classifier, Y, {"classes": ["up", "down"]}), (regressor, Z, {})):
        whole = make(**settings, epochs=3).fit(X, y)
        parts = make(**settings).partial_fit(X, y, **more)
        for number in range(2):
            parts = interruption(parts).partial_fit(X, y)
            assert parts.n_iter_ == number + 2
        assert parts.history_ == whole.history_
        for left, right in zip(parts.model_.get_weights(), whole.model_.get_weights()):
            np.testing.assert_array_equal(left, right)


def test_partial_fit_on_a_part_of_the_classes():
    fitted = classifier().partial_fit(X[:2], ["b", "b"], classes=["c", "b", "a"])
    assert fitted.classes_.tolist() == ["a", "b", "c"] and fitted.predict_proba(X).shape == (40, 3)
    before = fitted.predict_proba(X)
    for y, classes, message in [
        (["d", "a"], None, "y: expected labels of the classes .*, got 'd'"),
        (["a", "a"], ["a", "b"], "classes: expected"),
    ]:
        with pytest.raises(ValueError, match=message):
            fitted.partial_fit(X[:2], y, classes)
    with pytest.raises(ValueError, match="X has 3 features, but SequenceClassifier is expecting 2"):
        fitted.partial_fit([np.ones((2, 3))], ["a"])
    np.testing.assert_array_equal(fitted.predict_proba(X), before)
    with pytest.raises(ValueError, match="classes: expected all labels"):
        classifier().partial_fit(X, Y)


def test_partial_fit_honours_a_new_learning_rate():
    fitted = classifier().partial_fit(X, Y, classes=["up", "down"])
    before = fitted.model_.get_weights()
    fitted.set_params(learning_rate=1e-12).partial_fit(X, Y)
    for left, right in zip(before, fitted.model_.get_weights()):
        np.testing.assert_allclose(left, right, atol=1e-9)


def test_files_of_joblib(tmp_path):
    fitted = regressor().fit(X, Z)
    joblib.dump(fitted, tmp_path / "regressor.joblib")
    np.testing.assert_array_equal(joblib.load(tmp_path / "regressor.joblib").predict(X), fitted.predict(X))
    # Equal bytes whatever the rest of the program draws: caches of joblib know the estimator again.
    before = joblib.hash(fitted)
    sc.random.generator().random()
    assert joblib.hash(fitted) == before
    # The network is saved as it was fitted, whatever the parameters are now.
    changed = pickle.loads(pickle.dumps(fitted.set_params(units=9, cell="lstm")))
    np.testing.assert_array_equal(changed.predict(X), fitted.predict(X))


# ---------------------------------------------------------------- scikit-learn's tools


def test_grid_search_in_processes():
    search = GridSearchCV(classifier(epochs=30), {"cell": ["gru", "lstm"], "units": [1, 8]}, n_jobs=2, cv=2)
    search.fit(X, Y)
    assert search.best_params_["units"] == 8 and search.best_score_ > 0.6
    assert search.predict(X[:3]).shape == (3,)


def test_cross_validation_and_clone():
    estimator = classifier(epochs=30)
    scores = cross_val_score(estimator, X, Y, cv=3, scoring="roc_auc")
    assert scores.shape == (3,) and scores.mean() > 0.7
    fitted = clone(estimator.fit(X, Y))
    assert fitted.get_params() == estimator.get_params() and not hasattr(fitted, "model_")


def test_pipelines():
    table = RNG.normal(5, 9, size=(60, 6))
    labels = table[:, -1] > 5
    pipeline = make_pipeline(StandardScaler(), classifier(epochs=60, units=8)).fit(table, labels)
    assert pipeline.score(table, labels) > 0.9 and pipeline.predict(table[:2]).dtype == bool
    halves = FunctionTransformer(lambda sequences: [x[len(x) // 2 :] for x in sequences])
    assert make_pipeline(halves, classifier(epochs=60, units=8)).fit(X, Y).score(X, Y) > 0.9


# ---------------------------------------------------------------- forms of X


def test_forms_of_sequences():
    """Lists of arrays or of lists and object arrays are the same sequences."""
    expected = classifier().fit(X, Y).predict_proba(X)
    objects = np.empty(len(X), object)
    objects[:] = X
    for form in (tuple(X), objects, [x.tolist() for x in X], [np.asfortranarray(x) for x in X]):
        np.testing.assert_array_equal(classifier().fit(form, Y).predict_proba(form), expected)


def test_forms_of_equal_lengths():
    """A table is an array (N, T, 1); only a table fixes the number of time steps."""
    table = RNG.normal(size=(20, 5))
    labels = np.arange(20) % 2
    fitted = classifier().fit(table, labels)
    expected = fitted.predict_proba(table)
    assert fitted.n_features_in_ == 5
    for form in (table.tolist(), list(table)):
        np.testing.assert_array_equal(fitted.predict_proba(form), expected)
    for refused, message in [
        (table[:, :4], "X has 4 features, but SequenceClassifier is expecting 5"),
        ([table[0], table[1, :3]], "X: expected 5 numbers for each sequence, as in fit, got 3 to 5"),
        (table[:, :, None], "X: expected 5 numbers for each sequence, as in fit, got 3 axes"),
    ]:
        with pytest.raises(ValueError, match=message):
            fitted.predict(refused)
    free = classifier().fit(table[:, :, None], labels)
    assert free.n_features_in_ == 1
    for form in (table[:, :, None], table, table.tolist(), list(table), [row[:, None] for row in table]):
        np.testing.assert_array_equal(free.predict_proba(form), expected)
    assert free.predict([[1, 2], [3]]).shape == (2,)


def test_ragged_lists_of_numbers():
    fitted = classifier().fit([[1, 2, 3], [1, 2], [3]], [0, 1, 0])
    assert fitted.n_features_in_ == 1 and fitted.predict([[1, 2], [3, 4]]).shape == (2,)


def test_frames():
    pandas = pytest.importorskip("pandas")
    table = RNG.normal(size=(20, 3))
    labels = pandas.Series(["a", "b"] * 10)
    frame = pandas.DataFrame(table, columns=["mon", "tue", "wed"])
    fitted = classifier().fit(frame, labels)
    assert fitted.feature_names_in_.tolist() == ["mon", "tue", "wed"]
    np.testing.assert_array_equal(fitted.predict_proba(frame), classifier().fit(table, labels).predict_proba(table))
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame[["tue", "mon", "wed"]])
    several = pandas.Series([frame, frame[:7]] * 2)
    fitted.fit(several, labels[:4])
    assert not hasattr(fitted, "feature_names_in_") and fitted.predict([frame]).shape == (1,)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("x", "y", "weight", "message"),
    [
        ([np.full((3, 2), np.nan)] * 2, [0, 1], None, "Input X contains NaN"),
        (np.full((2, 3, 2), np.inf), [0, 1], None, "Input X contains infinity"),
        ([np.ones((3, 2)), np.ones((3, 3))], [0, 1], None, r"expected sequences of shape \(T, 2\), got \(3, 3\) at"),
        ([np.ones((3, 2)), np.ones((0, 2))], [0, 1], None, "at least one time step"),
        (np.ones((2, 0, 2)), [0, 1], None, "at least one time step"),
        ([np.ones((3, 2)), 5], [0, 1], None, "X: expected a sequence at position 1, got 5"),
        ([[[1, 2], [1]], [[1, 2]]], [0, 1], None, r"X\[0\]: expected rows of one length"),
        ([], [], None, "X: expected at least one sequence"),
        (np.ones((2, 3, 2, 2)), [0, 1], None, "X: expected 2 or 3 axes"),
        (np.ones((2, 3, 2)) * 1j, [0, 1], None, "Complex data not supported"),
        (["abc", "def"], [0, 1], None, "could not convert string"),
        (X, Y[1:], None, r"inconsistent numbers of samples: \[40, 39\]"),
        (X, ["up"] * 40, None, "y: expected at least two classes"),
        (X, None, None, "requires y"),
        (X, [np.nan] * 40, None, "Input y contains NaN"),
        (X, Y, np.ones(39), "sample_weight: expected 40 numbers"),
        (X, Y, -np.ones(40), "sample_weight: expected weights >= 0"),
        (X, Y, np.zeros(40), "sample_weight: expected a weight that is not zero"),
        (X, Y, Y == "up", "y: expected at least two classes"),
    ],
)
def test_refused_data(x, y, weight, message):
    """The error names the argument, and an estimator that was fitted before is what it was."""
    fitted = classifier().fit(RNG.normal(size=(6, 3)), [0, 1] * 3)
    before = dict(vars(fitted))
    with pytest.raises(ValueError, match=message):
        fitted.fit(x, y, sample_weight=weight)
    assert vars(fitted) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cell", "transformer"), ("units", 0), ("layers", 0), ("layers", 1.5), ("bidirectional", "no"), ("dropout", 1),
        ("epochs", 0), ("batch_size", 0), ("learning_rate", 0), ("clipnorm", 0), ("early_stopping", "yes"),
        ("validation_fraction", 0), ("validation_fraction", 1), ("n_iter_no_change", 0), ("tol", "small"),
        ("dtype", "int32"), ("random_state", "seed"), ("verbose", 5),
    ],
)  # fmt: skip
def test_refused_parameters(name, value):
    with pytest.raises(ValueError, match="seed" if name == "random_state" else f"^{name}: expected"):
        classifier(**{name: value}).fit(X, Y)


def test_a_masked_array_is_refused():
    with pytest.raises(TypeError, match="X: expected an array without a mask"):
        classifier().fit(np.ma.ones((4, 3)), [0, 1] * 2)


def test_prediction_needs_a_fit():
    for estimator in (classifier(), regressor()):
        with pytest.raises(NotFittedError):
            estimator.predict(X)


def test_refused_targets():
    fitted = regressor().fit(X, np.stack([Z, Z], axis=1))
    for y, message in [(Z, "y: expected 2 targets"), (["a"] * 40, "could not convert"), (None, "requires y")]:
        with pytest.raises(ValueError, match=message):
            fitted.partial_fit(X, y)
    with pytest.raises(ValueError, match="dim 3"):
        fitted.fit(X, np.ones((40, 2, 2)))
    assert fitted.predict(X).shape == (40, 2)


# ---------------------------------------------------------------- sequences of a long frame

LONG = {
    "patient": ["b", "a", "b", "c", "c", "b"],
    "day": [2, 1, 1, 5, 4, 2],
    "pulse": [0.5, 1.5, 2.5, 3, 4, 6],
    "beds": [1, 2, 3, 4, 5, 7],
    "ward": ["u", "v", "u", "v", "v", "u"],
}


FRAMES = [pytest.param(dict, id="dict")] + [
    pytest.param(lambda columns, library=library: pytest.importorskip(library).DataFrame(columns), id=library)
    for library in ("pandas", "polars")
]


@pytest.mark.parametrize("make", FRAMES)
def test_sequences_from_frame(make):
    """Groups in ascending order; steps by the column ``order``, equal ones as they stand."""
    frame = make(LONG)
    sequences = sequences_from_frame(frame, "patient", "day", ["pulse", "beds"])
    expected = [[[1.5, 2]], [[2.5, 3], [0.5, 1], [6, 7]], [[4, 5], [3, 4]]]
    assert [x.tolist() for x in sequences] == expected
    assert [x.tolist() for x in sequences_from_frame(frame, "patient", columns=["beds"])] == [
        [[2]], [[1], [3], [7]], [[4], [5]]
    ]  # fmt: skip
    numbers = make({name: column for name, column in LONG.items() if name != "ward"})
    assert [x.tolist() for x in sequences_from_frame(numbers, "patient", "day")] == expected
    assert classifier().fit(sequences, ["v", "u", "v"]).n_features_in_ == 2


@pytest.mark.parametrize("make", FRAMES)
@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, ("patients",), "group: expected one of the columns patient, day, .*, got 'patients'"),
        ({}, ("patient", "hour"), "order: expected one of the columns"),
        ({}, ("patient", "day", ["pulse", "x"]), "columns: expected one of the columns"),
        ({}, ("patient", "day", ["ward"]), "columns: expected numbers in column 'ward'"),
        ({}, ("patient", "day"), "columns: expected numbers in column 'ward'"),
        ({}, ("patient", "day", "pulse"), "columns: expected a list"),
        ({}, ("patient", "day", []), "columns: expected a list"),
        ({"patient": ["b", None, "b", "c", "c", "b"]}, ("patient",), "group: .* missing one in row 1"),
        ({"day": [1.0, 2.0, np.nan, 3.0, 4.0, 5.0]}, ("patient", "day", ["beds"]), "order: .* missing one in row 2"),
    ],
)
def test_refused_frames(make, changes, arguments, message):
    with pytest.raises(ValueError, match=message):
        sequences_from_frame(make({**LONG, **changes}), *arguments)


def test_types_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(LONG)
    labels = frame.groupby("patient")["ward"].first().tolist()
    assert labels == ["v", "u", "v"]
    days = pandas.to_datetime([f"2020-01-0{day}" for day in LONG["day"]])
    nullable = frame.assign(day=days, pulse=pandas.array([1, 2, 3, 4, None, 6], dtype="Int64"))
    first, second, third = sequences_from_frame(nullable, "patient", "day", ["pulse"])
    assert second.tolist() == [[3], [1], [6]] and np.isnan(third[0, 0]) and third[1, 0] == 4
    unknown = frame.assign(patient=pandas.array(["b", None, "b", "c", "c", "b"], dtype="string"))
    with pytest.raises(ValueError, match="group: .* missing one in row 1"):
        sequences_from_frame(unknown, "patient", columns=["beds"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pulse": [1.0]}, "columns: expected 6 values in column 'pulse', as in 'patient', got 1$"),
        ({"beds": range(7)}, "columns: expected 6 values in column 'beds', as in 'patient', got 7$"),
        ({"day": [1, 2]}, "order: expected 6 values in column 'day'"),
        ({"pulse": 1.0}, r"columns: expected a value for each row in column 'pulse', got shape \(\)"),
        ({"beds": np.ones((6, 2))}, r"columns: expected a value for each row in column 'beds', got shape \(6, 2\)"),
        ({"patient": "b"}, "group: expected a value for each row"),
    ],
)
def test_columns_of_a_dict_have_one_length(changes, message):
    with pytest.raises(ValueError, match=message):
        sequences_from_frame({**LONG, **changes}, "patient", "day", ["pulse", "beds"])


def test_a_list_is_no_frame():
    with pytest.raises(TypeError, match="frame: expected a data frame or a dict of columns, got list"):
        sequences_from_frame([1, 2], "group")


# ---------------------------------------------------------------- imports


def run(*lines):
    command = [sys.executable, "-c", "\n".join(lines)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_scikit_learn_is_imported_by_its_door_only():
    imported = "print(*(name in sys.modules for name in ('sklearn', 'pandas')))"
    assert run("import sys, seqcore as sc", "sc.interop", imported) == ["False", "False"]
    assert run("import sys, seqcore as sc", "sc.interop.sklearn.SequenceClassifier", imported)[0] == "True"
    with pytest.raises(AttributeError, match="theano"):
        _ = sc.interop.theano


def test_message_without_scikit_learn():
    lines = ["try: import seqcore.interop.sklearn", "except ImportError as error: print(error)"]
    assert "'seqcore[sklearn]'" in run("import sys; sys.modules['sklearn'] = None", *lines)
