"""The tables of README.md and docs/ are those of the records."""

import pytest

from benchmarks import pages, records


def test_pages_are_those_of_the_records():
    """Each table equals what its record gives."""
    known = records.read_records()
    for page in pages.PAGES:
        text = (pages.ROOT / page).read_text(encoding="utf-8")
        assert pages.filled(text, known) == text, f"{page}: run python -m benchmarks.pages"


def test_a_table_is_written_between_its_marks():
    rounds = (("seqcore", 9e6), ("gensim", 1e6), ("seqcore", 5e6), ("gensim", 8e5))
    rows = [{"contender": name, "words_per_second": rate} for name, rate in rounds]
    steps = [{"contender": name, "steps_per_second": rate} for name, rate in (("seqcore", 9e3), ("tensorflow", 1e3))]
    facts = {"cpu": "X", "isa": "avx2", "threads": 2, "date": "2026-01-01 00:00:00", "commit": "c", "command": "run"}
    known = {
        "word2vec-skipgram": {**facts, "rows": rows},
        "word2vec-cbow": {**facts, "rows": rows},
        "sampled": {**facts, "rows": steps},
    }
    page = pages.filled("before\n<!-- record: words -->\nold\n<!-- end -->\nafter\n", known)
    assert page.startswith("before\n<!-- record: words -->\n") and page.endswith("<!-- end -->\nafter\n")
    assert "old" not in page and "`run`" in page
    assert "| 9,000,000 | 7,000,000 | 1,000,000 (gensim) | 900,000 | 9.00 |" in page
    assert pages.filled(page, known) == page
    with pytest.raises(ValueError, match="record: expected .*words.*, got 'nothing'"):
        pages.filled("<!-- record: nothing -->\n<!-- end -->", known)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--learn-alpha"], "`seqcore run stories --learn-alpha`; seed 1."),
        (["--model rnn", "--model lstm"], "`seqcore run stories` with `--model rnn`; `--model lstm`; seed 1."),
        (["", "--model lstm"], "`seqcore run stories` with nothing more; `--model lstm`; seed 1."),
    ],
)
def test_options_that_all_runs_share_are_told_once(options, told):
    rows = [{"command": " ".join(["seqcore run stories", *option.split(), "--seed 1"])} for option in options]
    facts = {"cpu": "X", "isa": "avx2", "date": "2026-01-01", "commit": "c"}
    record = {**facts, "rows": [{**row, "seed": 1, "threads": 1} for row in rows]}
    assert pages._source_of_runs(record).endswith(told)


def test_all_records_of_a_table_are_named_its_own_first():
    known = records.read_records()
    lines = pages.from_template("ptb-sampled", pages.read_templates()["ptb-sampled"], known)
    sources = [pages._source_of_runs(known[name]) for name in ("ptb-sampled", "ptb-small")]
    assert [line for line in lines[1:] if line] == sources


def test_speed_of_keras_layers_is_best_and_median():
    turns = {"seqcore": [128.0, 256.0, 256.0], "keras": [512.0, 256.0, 1024.0]}
    rows = [
        {"backend": "jax", "cell": "GRU", "contender": name, "ms_per_batch": times} for name, times in turns.items()
    ]
    facts = {"cpu": "X", "isa": "avx2", "threads": 2, "date": "2026-01-01", "commit": "c", "command": "run"}
    table = pages.keras_layers({"keras_layers": {**facts, "rows": rows}})
    assert "| JAX, GRU | 25.0 / 50.0 | 50.0 / 100.0 | 2.00 / 2.00 |" in table


def test_a_file_that_is_no_record(tmp_path):
    (tmp_path / "a.json").write_text('{"rows": 3, "command": "x"}')
    with pytest.raises(ValueError, match="a.json: expected a record"):
        records.read_records(tmp_path)


def test_the_cost_of_an_exchange_follows_the_formula():
    """Ten million bytes at 1 Gbit/s: twice half of them between two computers, nearly twice all between many."""
    facts = {"cpu": "c", "isa": "avx2", "threads": 2, "date": "2026-01-01", "commit": "abc", "command": "run"}
    row = {"case": "a", "min_us": 80_000.0, "dense_bytes": 10_000_000, "row_bytes": 4, "touched_rows": {"1": 0, "2": 0}}
    row["touched_rows"] |= {"256": 0}
    rows = [{**row, "processes": number, "threads": threads} for number, threads in ((1, 1), (1, 2), (2, 1))]
    known = {"distributed": {**facts, "rows": rows}}
    cost = pages.filled("<!-- record: distributed-cost -->\n<!-- end -->\n", known)
    assert "| a | 2 | 160.20 ms, 50% |" in cost
    assert "| a | 256 | 240.28 ms, 33% |" in cost
    scaled = pages.filled("<!-- record: distributed -->\n<!-- end -->\n", known)
    assert "| a | 80.00 ms | 80.00 ms | 80.00 ms | 1.00 |" in scaled
