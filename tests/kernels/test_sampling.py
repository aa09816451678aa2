"""Samplers: exact distributions by chi-square, expected counts, hits, determinism, bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import seqcore as sc
from seqcore.ops import candidate_samplers as sampling

CLASSES = 2000
COUNTS = np.random.default_rng(3).integers(0, 500, CLASSES)


def exact(kind, classes=CLASSES):
    """The distribution, from its definition."""
    k = np.arange(classes)
    if kind == "log_uniform":
        return (np.log(k + 2.0) - np.log(k + 1.0)) / np.log(classes + 1.0)
    if kind == "uniform":
        return np.full(classes, 1 / classes)
    weights = np.where(COUNTS > 0, COUNTS.astype(float), 0) ** 0.75
    return weights / weights.sum()


def sample(kind, count, unique=False, seed=None, labels=((0,),), classes=CLASSES):
    arguments = (labels, len(labels[0]), count, unique, classes)
    if kind == "unigram":
        return sampling.fixed_unigram_candidate_sampler(*arguments, unigrams=COUNTS, distortion=0.75, seed=seed)
    return getattr(sampling, f"{kind}_candidate_sampler")(*arguments, seed=seed)


KINDS = ("log_uniform", "uniform", "unigram")


def deviation(kind, draws, seed):
    """Chi-square in standard deviations from its mean."""
    p = exact(kind)
    found = np.bincount(sample(kind, draws, seed=seed).sampled_candidates, minlength=CLASSES)
    assert found.sum() == draws and not found[p == 0].any()
    kept = p > 0
    chi = ((found[kept] - draws * p[kept]) ** 2 / (draws * p[kept])).sum()
    freedom = kept.sum() - 1
    return (chi - freedom) / np.sqrt(2 * freedom)


@pytest.mark.parametrize("kind", KINDS)
def test_a_million_draws_follow_the_distribution(kind):
    assert abs(deviation(kind, 1_000_000, 11)) < 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_ten_million_draws_follow_the_distribution(kind, seed):
    assert abs(deviation(kind, 10_000_000, seed)) < 4


def test_the_chi_square_test_would_notice_draws_of_another_distribution():
    off = (COUNTS + 10.0) ** 0.75
    off /= off.sum()
    found = np.bincount(sample("unigram", 1_000_000, seed=11).sampled_candidates, minlength=CLASSES)
    chi = ((found - 1e6 * off) ** 2 / (1e6 * off)).sum()
    assert (chi - CLASSES) / np.sqrt(2 * CLASSES) > 8


@pytest.mark.parametrize("kind", KINDS)
def test_expected_counts(kind):
    p = exact(kind)
    labels = [[0, 5], [1999, 7], [3, 3]]
    with sc_floatx("float64"):
        drawn = sample(kind, 50, labels=labels, seed=1)
        np.testing.assert_allclose(drawn.true_expected_count, 50 * p[labels], rtol=1e-12)
        np.testing.assert_allclose(drawn.sampled_expected_count, 50 * p[drawn.sampled_candidates], rtol=1e-12)


class sc_floatx:
    def __init__(self, dtype):
        self.dtype = dtype

    def __enter__(self):
        self.before = sc.floatx()
        sc.set_floatx(self.dtype)

    def __exit__(self, *_):
        sc.set_floatx(self.before)


@pytest.mark.parametrize("kind", KINDS)
def test_different_samples_come_from_the_same_draws_without_repetitions(kind):
    p = exact(kind)
    with sc_floatx("float64"):
        different = sample(kind, 300, unique=True, seed=(4, 9))
    ids = different.sampled_candidates
    assert len(set(ids.tolist())) == 300
    # The draws with replacement are the same series: tries is where the 300th new class came.
    series = sample(kind, 20_000, seed=(4, 9)).sampled_candidates
    new = np.sort(np.unique(series, return_index=True)[1])
    np.testing.assert_array_equal(ids, series[new[:300]])
    tries = new[299] + 1
    np.testing.assert_allclose(different.sampled_expected_count, 1 - (1 - p[ids]) ** tries, rtol=1e-9)
    np.testing.assert_allclose(different.true_expected_count, [[1 - (1 - p[0]) ** tries]], rtol=1e-9)


def test_expected_counts_without_replacement_are_what_is_seen():
    """Over many calls each class is among the samples as often as expected, averaged over the calls."""
    seen, expected = np.zeros(30), np.zeros(30)
    for call in range(4000):
        drawn = sampling.log_uniform_candidate_sampler(np.arange(30)[:, None], 1, 8, True, 30, seed=(2, call))
        seen[drawn.sampled_candidates] += 1
        expected += drawn.true_expected_count[:, 0]
    np.testing.assert_allclose(seen.sum(), 32000)
    np.testing.assert_allclose(seen / 4000, expected / 4000, atol=0.03)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 999, 300_001])
def test_the_same_draws_for_any_number_of_threads(kind, count):
    found = []
    for threads in (1, 2, 7):
        sc.set_num_threads(threads)
        found.append(sample(kind, count, seed=(5, 6)))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_seed_and_call_number_choose_the_draws():
    one = sample("uniform", 50, seed=7).sampled_candidates
    np.testing.assert_array_equal(one, sample("uniform", 50, seed=(7, 0)).sampled_candidates)
    for other in ((7, 1), 8, (7 + 2**40, 0), (7, 2**40)):
        assert (one != sample("uniform", 50, seed=other).sampled_candidates).any()


def test_the_global_seed_and_its_state():
    sc.set_seed(3)
    first, second = sample("uniform", 20).sampled_candidates, sample("uniform", 20).sampled_candidates
    assert (first != second).any()
    state = sc.random.get_state()
    third = sample("uniform", 20).sampled_candidates
    sc.random.set_state(state)
    np.testing.assert_array_equal(third, sample("uniform", 20).sampled_candidates)
    sc.set_seed(3)
    np.testing.assert_array_equal(first, sample("uniform", 20).sampled_candidates)
    del state["draw"]  # as written before there were samplers
    sc.random.set_state(state)
    np.testing.assert_array_equal(first, sample("uniform", 20).sampled_candidates)


def test_all_classes_can_be_drawn_without_replacement():
    for kind in ("log_uniform", "uniform"):
        assert sorted(sample(kind, 40, unique=True, classes=40).sampled_candidates) == list(range(40))


def test_a_table_is_built_once_for_many_calls():
    table = sampling.UnigramTable(COUNTS, 0.75)
    assert table.range_max == CLASSES
    drawn = sampling.fixed_unigram_candidate_sampler([[0]], 1, 99, False, CLASSES, unigrams=table, seed=1)
    np.testing.assert_array_equal(drawn.sampled_candidates, sample("unigram", 99, seed=1).sampled_candidates)


def test_powers_of_counts():
    with sc_floatx("float64"):
        for power, p in (
            (0, [1 / 2, 0, 1 / 2]),
            (1, [1 / 5, 0, 4 / 5]),
            (2, [1 / 17, 0, 16 / 17]),
            (-1, [0.8, 0, 0.2]),
        ):
            drawn = sampling.fixed_unigram_candidate_sampler(
                [[0], [1], [2]], 1, 1, False, 3, unigrams=[1e200, 0, 4e200], distortion=power
            )
            np.testing.assert_allclose(drawn.true_expected_count[:, 0], p, rtol=1e-12)


def test_accidental_hits_against_numpy():
    rng = np.random.default_rng(0)
    labels, sampled = rng.integers(0, 9, (7, 3)), rng.integers(0, 9, 5)
    hits = sampling.compute_accidental_hits(labels, sampled, 3)
    rows, _, places = np.nonzero(labels[:, :, None] == sampled)
    np.testing.assert_array_equal(hits.indices, rows)
    np.testing.assert_array_equal(hits.ids, places)
    assert (hits.weights == np.finfo("float32").min).all() and hits.weights.dtype == np.float32


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=40), st.integers(0, 2**63 - 1))
def test_alias_table_never_draws_what_has_no_weight(weights, seed):
    if not any(weights):
        with pytest.raises(ValueError, match="unigrams: expected"):
            sampling.UnigramTable(weights)
        return
    n = len(weights)
    drawn = sampling.fixed_unigram_candidate_sampler([[0]], 1, 500, False, n, unigrams=weights, seed=seed)
    assert (np.asarray(weights)[drawn.sampled_candidates] > 0).all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"num_sampled": 0}, "num_sampled: expected an integer 1"),
        ({"num_sampled": -4}, "num_sampled: expected an integer 1"),
        ({"num_sampled": 11, "unique": True}, "num_sampled: expected at most 10"),
        ({"range_max": 0}, "range_max: expected an integer 1"),
        ({"range_max": 2**31}, "range_max: expected an integer 1"),
        ({"num_true": 2}, r"true_classes: expected shape \(batch, 2\), got \(2, 1\)"),
        ({"num_true": 0}, "num_true: expected an integer 1"),
        ({"true_classes": [[10], [0]]}, "true_classes: expected whole numbers 0...9, got 10"),
        ({"true_classes": [[-1], [0]]}, "true_classes: expected whole numbers 0...9, got -1"),
        ({"true_classes": [[np.nan], [0]]}, "true_classes: expected whole numbers"),
        ({"true_classes": [0, 1]}, r"true_classes: expected shape \(batch, 1\)"),
        ({"seed": -1}, "seed: expected"),
        ({"seed": "x"}, "seed: expected"),
        ({"seed": (1, 2, 3)}, "seed: expected"),
    ],
)
def test_bad_input(change, text):
    good = {"true_classes": [[0], [1]], "num_true": 1, "num_sampled": 5, "unique": False, "range_max": 10}
    before = sc.random.get_state()
    for sampler in (sampling.log_uniform_candidate_sampler, sampling.uniform_candidate_sampler):
        with pytest.raises(ValueError, match=text):
            sampler(**(good | change))
    assert sc.random.get_state() == before


def test_bad_unigrams():
    def draw(unigrams, count=2, unique=True, **more):
        return sampling.fixed_unigram_candidate_sampler([[0]], 1, count, unique, 3, unigrams=unigrams, seed=0, **more)

    for unigrams in ([1, -1, 2], [1, np.nan, 2], [1, np.inf, 2], [0, 0, 0], [], [[1, 2, 3]], ["a", "b", "c"]):
        with pytest.raises((ValueError, TypeError), match="unigrams: expected|value: expected"):
            draw(unigrams)
    with pytest.raises(ValueError, match="range_max: expected 2, one per weight, got 3"):
        draw([1, 2])
    with pytest.raises(ValueError, match="num_sampled: expected at most 2, the classes that can be drawn"):
        draw([1, 0, 2], count=3)
    with pytest.raises(ValueError, match="distortion: expected"):
        draw([1, 1, 2], distortion=np.nan)
    with pytest.raises(ValueError, match="distortion: expected that of the table"):
        draw(sampling.UnigramTable([1, 1, 1], 0.75), distortion=0.5)
