"""Numbers as arguments, wherever one is taken: whole, finite and in range, or refused in one line that names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

import seqcore as sc
from seqcore import callbacks, initializers, language, language_model, layers, losses, metrics, ops, optimizers, text
from seqcore.language_model.beam_search import beam_search
from seqcore.language_model.seq2seq import PairBatches, Seq2Seq
from seqcore.ops import candidate_samplers as sampling
from seqcore.ops import sampled_losses as sampled
from seqcore.text.tokenizer import Tokenizer
from seqcore.text.vectorization import TextVectorization
from seqcore.word_vectors.window_batches import skipgram_batches

ROWS, BIASES, LABELS, INPUTS = np.zeros((9, 2)), np.zeros(9), np.array([[1], [4]]), np.ones((2, 2))
IDS = np.arange(40) % 5
WORDS = text.Vocabulary(list("abcde"))


MODEL = language_model.build_model(5, 4, 1)
MODEL.build((None, None))
PAIRS = Seq2Seq("ab", "xy", 2, 2)


def pairs(**options: Any) -> Any:
    return PairBatches(PAIRS, ["ab"], ["xy"], **options)


def build_model(**options: Any) -> Any:
    return language_model.build_model(**{"vocabulary_size": 5, "units": 2, "layers": 1, **options})


def saving(method: str) -> Callable[..., Any]:
    def save(**options: Any) -> Any:
        model = sc.Sequential([layers.Input((1,)), layers.Dense(1, kernel_initializer="zeros")])
        with TemporaryDirectory() as folder:
            getattr(model, method)(Path(folder) / "x", **options)

    return save


def step(method: str) -> Callable[..., Any]:
    model = sc.Sequential([layers.Input((1,)), layers.Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", "mse")
    return lambda **options: getattr(model, method)(np.ones((2, 1)), np.ones((2, 1)), **options)


ATTENTION = layers.AdditiveAttention(use_scale=False)
ONES = np.ones((9, 2), np.float32)


def attend(**options: Any) -> Any:
    return ATTENTION([ONES[None], ONES[None]], **options)


def skipgrams(**options: Any) -> Any:
    return skipgram_batches(**{"ids": IDS, "batch_size": 4, "num_skips": 2, "skip_window": 1, **options})


def search(**options: Any) -> Any:
    first = np.zeros((1, 2))
    return beam_search(first, (), lambda ids, state: (first, state), **{"width": 2, "length": 2, **options})


def loss(function: Callable[..., Any]) -> Callable[..., Any]:
    defaults = {
        "weights": ROWS,
        "biases": BIASES,
        "labels": LABELS,
        "inputs": INPUTS,
        "num_sampled": 3,
        "num_classes": 9,
    }
    return lambda **options: function(**{**defaults, **options})


def sampler(function: Callable[..., Any], **more: Any) -> Callable[..., Any]:
    defaults = {"true_classes": LABELS, "num_true": 1, "num_sampled": 3, "unique": True, "range_max": 9, **more}
    return lambda **options: function(**{**defaults, **options})


def generate(**options: Any) -> Any:
    return language_model.generate(MODEL, WORDS, "a", **{"length": 2, **options})


def recurrent(cls: Any, **more: Any) -> Callable[..., Any]:
    return lambda **options: cls(**{"units": 3, **more, **options})


RECURRENT = {
    "SimpleRNN": recurrent(layers.SimpleRNN),
    "LSTM": recurrent(layers.LSTM),
    "GRU": recurrent(layers.GRU),
    "ContextRNN": recurrent(layers.ContextRNN, context_units=2),
    "SimpleRNNCell": recurrent(layers.SimpleRNNCell),
    "LSTMCell": recurrent(layers.LSTMCell),
    "GRUCell": recurrent(layers.GRUCell),
    "ContextRNNCell": recurrent(layers.ContextRNNCell, context_units=2),
}
DRAWN = [
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "GlorotUniform",
    "HeNormal",
    "Orthogonal",
]

# Arguments that are whole numbers, and those that are finite ones: (call, argument).
WHOLE: list[tuple[Callable[..., Any], str]] = [
    *((make, name) for make in RECURRENT.values() for name in ("units", "seed")),
    (RECURRENT["ContextRNN"], "context_units"),
    (RECURRENT["ContextRNNCell"], "context_units"),
    (layers.Dense, "units"),
    (lambda **kw: layers.Embedding(**{"input_dim": 3, "output_dim": 2, **kw}), "input_dim"),
    (lambda **kw: layers.Embedding(**{"input_dim": 3, "output_dim": 2, **kw}), "output_dim"),
    (lambda **kw: layers.Input((3,), **kw), "batch_size"),
    (lambda **kw: layers.Dropout(0.5, **kw), "seed"),
    (layers.AdditiveAttention, "seed"),
    *((getattr(initializers, name), "seed") for name in DRAWN),
    (sc.set_seed, "seed"),
    (lambda **kw: text.Vocabulary.from_tokens(["a"], **kw), "max_size"),
    (lambda **kw: text.Vocabulary.from_tokens(["a"], **kw), "min_count"),
    (lambda **kw: sc.to_categorical([0], **kw), "num_classes"),
    (lambda **kw: sc.pad_sequences([[1]], **kw), "maxlen"),
    (sc.TextVectorization, "max_tokens"),
    (sc.TextVectorization, "output_sequence_length"),
    (lambda **kw: text.bptt_batches(**{"ids": IDS, "batch_size": 2, "steps": 3, **kw}), "batch_size"),
    (lambda **kw: text.bptt_batches(**{"ids": IDS, "batch_size": 2, "steps": 3, **kw}), "steps"),
    (lambda **kw: text.evaluation_windows(IDS, **kw), "steps"),
    (Tokenizer, "characters"),
    *((loss(f), name) for f in (sc.nce_loss, sc.sampled_softmax_loss, sc.negative_sampling_loss)
      for name in ("num_sampled", "num_classes", "num_true", "seed")),
    *((sampler(f), name) for f in (sampling.log_uniform_candidate_sampler, sampling.uniform_candidate_sampler)
      for name in ("num_true", "num_sampled", "range_max", "seed")),
    (lambda **kw: language.Schedule(**kw), "hold"),
    (build_model, "vocabulary_size"),
    (build_model, "units"),
    (build_model, "layers"),
    (lambda **kw: language_model.word_losses(MODEL, IDS, **kw), "batch_size"),
    (lambda **kw: language_model.word_losses(MODEL, IDS, **kw), "steps"),
    (lambda **kw: language_model.next_words(MODEL, WORDS, "a", **kw), "top"),
    (generate, "length"),
    (generate, "top_k"),
    (generate, "seed"),
    (lambda **kw: generate(method="beam", **kw), "beam_width"),
    (lambda **kw: Seq2Seq("ab", "xy", **{"units": 2, **kw}), "units"),
    (lambda **kw: Seq2Seq("ab", "xy", 2, **kw), "embedding"),
    (lambda **kw: Seq2Seq("ab", "xy", 2, 2, **kw), "max_length"),
    (lambda **kw: PAIRS.translate(["a"], **kw), "beam_width"),
    (lambda **kw: PAIRS.translate(["a"], **kw), "batch_size"),
    (pairs, "batch_size"),
    *((lambda cls=cls, **kw: cls(**kw), "ignore_class")
      for cls in (losses.SparseCategoricalCrossentropy, metrics.SparseCategoricalCrossentropy)),
    *((lambda cls=cls, **kw: cls(**kw), "k")
      for cls in (metrics.TopKCategoricalAccuracy, metrics.SparseTopKCategoricalAccuracy)),
    *((lambda cls=cls, **kw: cls(**kw), "num_sampled") for cls in (losses.NCELoss, losses.SampledSoftmaxLoss)),
    *((skipgrams, name) for name in ("batch_size", "num_skips", "skip_window", "seed")),
    (search, "width"),
    (search, "length"),
    (search, "end"),
]  # fmt: skip
FINITE: list[tuple[Callable[..., Any], str]] = [
    *((make, name) for make in RECURRENT.values() for name in ("dropout", "recurrent_dropout")),
    (RECURRENT["ContextRNN"], "alpha"),
    (layers.Dropout, "rate"),
    (layers.AdditiveAttention, "dropout"),
    (layers.ReLU, "max_value"),
    (layers.ReLU, "negative_slope"),
    (layers.ReLU, "threshold"),
    *((getattr(initializers, name), argument) for name in ("RandomNormal", "TruncatedNormal")
      for argument in ("mean", "stddev")),
    (initializers.RandomUniform, "minval"),
    (initializers.RandomUniform, "maxval"),
    (initializers.VarianceScaling, "scale"),
    (initializers.Orthogonal, "gain"),
    (initializers.Identity, "gain"),
    (sampler(sampling.fixed_unigram_candidate_sampler, unigrams=[1.0] * 9), "distortion"),
    (lambda **kw: sampling.UnigramTable([1.0], **kw), "distortion"),
    (lambda **kw: sc.clip_by_norm([1.0], **kw), "clip_norm"),
    (lambda **kw: sc.clip_by_global_norm([[1.0]], **kw), "clip_norm"),
    (language.Schedule, "learning_rate"),
    (language.Schedule, "decay"),
    *((build_model, name) for name in ("keep_prob", "init_scale", "clip", "learning_rate")),
    (generate, "temperature"),
    (generate, "top_p"),
    (generate, "noise"),
    (lambda **kw: Seq2Seq("ab", "xy", 2, 2, **kw), "dropout"),
    (layers.LSTM(2, stateful=True).reset_states, "stddev"),
    (metrics.BinaryAccuracy, "threshold"),
    *((cls, "label_smoothing") for cls in (losses.BinaryCrossentropy, losses.CategoricalCrossentropy,
                                           metrics.BinaryCrossentropy, metrics.CategoricalCrossentropy)),
]  # fmt: skip

# Arguments that are True or False.
FLAGS: list[tuple[Callable[..., Any], str]] = [
    *((make, name) for key, make in RECURRENT.items() for name in ("use_bias", "trainable")),
    *((RECURRENT[key], name) for key in ("SimpleRNN", "LSTM", "GRU", "ContextRNN")
      for name in ("return_sequences", "return_state", "go_backwards", "stateful", "unroll", "zero_output_for_mask")),
    (RECURRENT["LSTM"], "unit_forget_bias"),
    (RECURRENT["LSTMCell"], "unit_forget_bias"),
    (RECURRENT["GRU"], "reset_after"),
    (RECURRENT["GRUCell"], "reset_after"),
    (lambda **kw: layers.Dense(2, **kw), "use_bias"),
    (lambda **kw: layers.Dense(2, **kw), "trainable"),
    (lambda **kw: layers.Embedding(3, 2, **kw), "mask_zero"),
    (layers.GlobalMaxPooling1D, "keepdims"),
    (layers.AdditiveAttention, "use_scale"),
    (layers.Layer, "autocast"),
    (lambda **kw: layers.Layer().add_weight((1,), **kw), "trainable"),
    (lambda **kw: ops.argmax([1.0], **kw), "keepdims"),
    *((cls, "from_logits") for cls in (losses.BinaryCrossentropy, losses.CategoricalCrossentropy,
                                       losses.SparseCategoricalCrossentropy, metrics.CategoricalCrossentropy)),
    (skipgrams, "continuous"),
    (Tokenizer, "lower"),
    (pairs, "shuffle"),
    (lambda **kw: Seq2Seq("ab", "xy", 2, 2, **kw), "lower"),
    (lambda **kw: metrics.SparseTopKCategoricalAccuracy(2, **kw), "from_sorted_ids"),
    (lambda **kw: losses.SampledSoftmaxLoss(2, **kw), "remove_accidental_hits"),
    (lambda **kw: sc.Variable([1.0], **kw), "trainable"),
    (sc.GradientTape, "persistent"),
    *((lambda reduce=reduce, **kw: reduce([[1.0, 2.0]], **kw), "keepdims")
      for reduce in (ops.reduce_sum, ops.reduce_mean, ops.reduce_max, ops.reduce_min)),
    (callbacks.CallbackList, "add_history"),
    *((attend, name) for name in ("return_attention_scores", "use_causal_mask")),
    (lambda **kw: TextVectorization(vocabulary=["a"]).get_vocabulary(**kw), "include_special_tokens"),
    *((step(method), "return_dict") for method in ("train_on_batch", "test_on_batch", "evaluate")),
    (lambda **kw: sampled.nce_loss(ONES, [0.0] * 9, [[1]], ONES[:1], 2, 9, seed=1, **kw), "remove_accidental_hits"),
    (saving("save"), "include_optimizer"),
    *((saving(method), "overwrite") for method in ("save", "save_weights")),
    (callbacks.EarlyStopping, "restore_best_weights"),
    *((lambda **kw: callbacks.ModelCheckpoint("x", **kw), name) for name in ("save_best_only", "save_weights_only")),
    (lambda **kw: callbacks.CSVLogger("x", **kw), "append"),
    *((optimizers.SGD, name) for name in ("nesterov", "lazy")),
    *((optimizers.Adam, name) for name in ("amsgrad", "lazy")),
    *((optimizers.RMSprop, name) for name in ("centered", "lazy")),
    (lambda **kw: optimizers.schedules.ExponentialDecay(0.1, 10, 0.5, **kw), "staircase"),
    (lambda **kw: optimizers.schedules.PolynomialDecay(0.1, 10, **kw), "cycle"),
    *((sampler(f), "unique") for f in (sampling.log_uniform_candidate_sampler, sampling.uniform_candidate_sampler)),
]  # fmt: skip

NO_NUMBERS = ["1", b"1", [1], (1,), {1}, object(), 1j, float("nan"), float("inf"), -float("inf"), True, np.True_]


def refuses(call: Callable[..., Any], name: str, value: Any) -> None:
    state = sc.random.get_state()
    with pytest.raises((ValueError, TypeError), match=rf"\A{name}: expected [^\n]+\Z"):
        call(**{name: value})
    assert sc.random.get_state() == state


def named(place: tuple[Callable[..., Any], str]) -> str:
    return f"{getattr(place[0], '__name__', type(place[0]).__name__)}-{place[1]}"


@pytest.mark.parametrize("place", WHOLE, ids=named)
def test_whole_numbers(place: tuple[Callable[..., Any], str]) -> None:
    call, name = place
    for value in (*NO_NUMBERS, 1.5, 2.0, np.float32(2), np.array([1]), *(() if name == "ignore_class" else (-1,))):
        refuses(call, name, value)


@pytest.mark.parametrize("place", FINITE, ids=named)
def test_finite_numbers(place: tuple[Callable[..., Any], str]) -> None:
    call, name = place
    for value in (*NO_NUMBERS, np.array([0.5, 0.5])):
        refuses(call, name, value)


@pytest.mark.parametrize("place", FLAGS, ids=named)
def test_flags(place: tuple[Callable[..., Any], str]) -> None:
    call, name = place
    for value in ("no", "True", "", None, 2, -1, 0.5, 1.0, [], [True], object(), np.array([True])):
        refuses(call, name, value)
    for value in (True, False, np.True_, 0, 1):
        call(**{name: value})


@pytest.mark.parametrize("make", [layers.Dropout, layers.LSTM, initializers.RandomNormal, layers.AdditiveAttention])
def test_seeds_fit_the_core(make: Any) -> None:
    options: dict[str, Any] = {"rate": 0.5} if make is layers.Dropout else {"units": 2} if make is layers.LSTM else {}
    make(**options, seed=2**63 - 1)
    with pytest.raises(
        ValueError, match=r"\Aseed: expected None or an integer 0\.\.\.2\*\*63-1, got 9223372036854775808\Z"
    ):
        make(**options, seed=2**63)


def test_sizes_beyond_all_memory() -> None:
    for layer, x in (
        (layers.Dense(10**30), (1, 2)),
        (layers.LSTM(2**60), (1, 1, 2)),
        (layers.Embedding(2**60, 8), (1,)),
    ):
        with pytest.raises(
            ValueError, match=r"\Ashape: expected fewer than 2\*\*60 numbers in a weight, got \([^\n]+\)\Z"
        ):
            layer(np.zeros(x, int))
        assert not layer.built and not layer.weights
    with pytest.raises(ValueError, match=r"beam_width: expected an integer 1\.\.\.1000, got 1000000"):
        generate(method="beam", beam_width=1_000_000)


@pytest.mark.parametrize("shape", ["3", b"3", 2.5, (2.5,), (True,), (0,), (-1, 2), {}, (float("nan"),)], ids=str)
def test_shapes_of_samples(shape: Any) -> None:
    for make in (layers.Input, lambda shape: layers.Dense(2, input_shape=shape)):
        if shape == {} and make is not layers.Input:
            continue
        with pytest.raises(ValueError, match=r"\A(shape|input_shape): expected [^\n]+\Z"):
            make(shape)


def test_bounds_of_clipping() -> None:
    x = np.array([-2.0, 0.5, 3.0])
    for call, low, high in (
        (ops.clip, "x_min", "x_max"),
        (sc.clip_by_value, "clip_value_min", "clip_value_max"),
    ):
        first = "x" if call is ops.clip else "t"
        for name, other in ((low, high), (high, low)):
            for value in (float("nan"), [0.0, float("nan"), 0.0], "1", None, object(), np.ma.masked_array([1.0])):
                with pytest.raises((ValueError, TypeError), match=rf"\A{name}: expected [^\n]+\Z"):
                    call(**{first: x, name: value, other: 1.0})
        np.testing.assert_array_equal(call(x, -np.inf, 1), [-2, 0.5, 1])
        np.testing.assert_array_equal(call(x, 0, np.inf), [0, 0.5, 3])
        # As in Keras whole numbers between fractions become floats, and small types are not wrapped round.
        np.testing.assert_array_equal(call(np.array([0, 1, 2]), 0.5, 1.5), [0.5, 1, 1.5])
        np.testing.assert_array_equal(call(np.array([0, 200], np.uint8), -5, 100), [0, 100])
        assert call(np.array([0, 1]), 0, 1).dtype.kind == "i"


# --- ids, lengths and masks of a call --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "int32", "int64", "uint64", "float32", "float64", "float16"]
)
def test_ids_of_any_type(dtype: str) -> None:
    layer = layers.Embedding(5, 2)
    expected = layer(np.array([[0, 4, 1]]))
    np.testing.assert_array_equal(layer(np.array([[0, 4, 1]], dtype)), expected)
    values: list[Any] = [5, 100]
    if dtype[0] != "u":
        values += [-1, -100]
    if dtype[0] == "f":
        values += [1.5, np.nan, np.inf, -np.inf, 4.5]
    for value in values:
        with pytest.raises(ValueError, match=rf"\Aids: expected [^\n]*0\.\.\.4[^\n]*, got {value}[^\n]*\Z"):
            layer(np.array([[0, value]], dtype))
    if dtype == "uint64":
        with pytest.raises(ValueError, match=r"\Aids: expected"):
            layer(np.array([[2**63 + 1]], np.uint64))


@pytest.mark.parametrize(
    "x", [["a"], [None], [1j], [[1], [1, 2]], np.ma.masked_array([[1]], [[True]]), object()], ids=str
)
def test_what_are_no_ids(x: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"\A(ids|inputs): expected [^\n]+\Z"):
        layers.Embedding(5, 2)(x)


X = np.ones((2, 3, 4))


@pytest.mark.parametrize(
    "make", [layers.LSTM, lambda n: layers.Bidirectional(layers.GRU(n)), lambda n: layers.ContextRNN(n, 2)]
)
def test_masks_lengths_and_states_of_a_call(make: Any) -> None:
    layer = make(4)
    for lengths in (
        [1],
        [1, 4],
        [-1, 2],
        [1.5, 2],
        [np.nan, 1],
        [[1, 2]],
        "ab",
        [True, False],
        None and 1,
        [None, 1],
        3,
    ):
        if lengths is not None:
            with pytest.raises((ValueError, TypeError), match=r"\Alengths: expected [^\n]+\Z"):
                layer(X, lengths=lengths)
    for mask in (np.ones((2, 2)), np.ones(2), np.ones((2, 3, 4)), [["a"] * 3] * 2, np.full((2, 3), np.nan), 1,
                 np.ma.masked_array(np.ones((2, 3)))):  # fmt: skip
        with pytest.raises((ValueError, TypeError), match=r"\Amask: expected [^\n]+\Z"):
            layer(X, mask=mask)
    with pytest.raises(ValueError, match=r"\Amask, lengths: expected at most one of them"):
        layer(X, mask=np.ones((2, 3)), lengths=[1, 2])
    good = list(layer.get_initial_state(2)) if hasattr(layer, "get_initial_state") else [np.zeros((2, 4))] * 2
    layer(X, initial_state=good)
    rest = good[1:]
    wrongs = [[*good, good[0]], [good[0][:1], *rest], [np.zeros((2, 9)), *rest], [np.zeros(4), *rest]]
    for states in (*wrongs, good[:1] if rest else [], ["a", *rest], [None, *rest], 3, "zeros"):
        with pytest.raises((ValueError, TypeError), match=r"\A(initial_state|value): expected [^\n]+\Z"):
            layer(X, initial_state=states)


@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 3, 5), (2, 3, 4, 1), ()], ids=str)
def test_inputs_of_another_rank(shape: tuple[int, ...]) -> None:
    """Before and after the first call, and in a Sequential."""
    for make in (layers.LSTM, lambda n: layers.Bidirectional(layers.GRU(n)), lambda n: layers.ContextRNN(n, 2)):
        built = make(3)
        built(X)
        fresh = sc.Sequential([make(3)])
        for layer in (built, fresh) if shape != (2, 3, 5) else (built,):
            with pytest.raises(ValueError, match=r"\Ainputs: expected shape \(batch, time, (features|4)\)[^\n]+\Z"):
                layer(np.ones(shape))
