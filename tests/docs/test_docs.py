"""The documents: their Python runs, their commands parse, their links lead somewhere, the tree names every folder."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import seqcore as sc
from seqcore import cli

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "src/cpp/kernels/README.md"])
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
# Pages whose programs need the library of an extra.
LIBRARIES = {
    "docs/guide/keras.md": "keras",
    "docs/guide/onnx.md": "onnxruntime",
    "docs/guide/pytorch.md": "torch",
}

# Their programs run on several processes: tests/distributed/test_experiments.py.
DISTRIBUTED = ("docs/guide/distributed.md",)


def blocks(name, language):
    """(line number, text) of each fenced block of a language."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in found]


@pytest.mark.parametrize("name", [name for name in NAMES if blocks(name, "python") and name not in DISTRIBUTED])
def test_python(name, tmp_path, monkeypatch):
    """The blocks of a document run one after the other, as a reader would type them."""
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name])
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    before = sc.floatx(), sc.random.get_state()
    try:
        for line, text in blocks(name, "python"):
            exec(compile("\n" * line + text, str(ROOT / name), "exec"), names)
    finally:
        sc.set_floatx(before[0])
        sc.random.set_state(before[1])


def commands():
    for name in NAMES:
        for _, text in blocks(name, "bash"):
            for line in text.splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["seqcore"]:
                    yield pytest.param(words[1:], id=f"{name}: {' '.join(words)}")


@pytest.mark.parametrize("words", list(commands()))
def test_commands(words):
    """Every seqcore command in the documents is one that the parser knows."""
    cli._parser(words).parse_args(words)


def anchors(path):
    """The anchors of a document's headings."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", NAMES)
def test_links(name):
    """Relative links name files and headings that exist."""
    text = re.sub(r"^```.*?^```$", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (ROOT / name).parent / path if path else ROOT / name
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target


def tree():
    """Paths of the folders of the tree in CONTRIBUTING.md; each line has a caption."""
    folders, parents = set(), []
    (_, text), *_ = blocks("CONTRIBUTING.md", "text")
    for line in text.splitlines():
        match = re.fullmatch(r"( *)(\S+/)  +(\S.*)", line)
        assert match, f"expected a folder, two spaces and a caption: {line!r}"
        parents[len(match[1]) // 2 :] = [match[2]]
        folders.add("".join(parents))
    return folders


def test_tree():
    """The tree of CONTRIBUTING.md names every folder of the repository, and nothing else."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert tree() == {f"{parent}/" for path in listed.splitlines() for parent in Path(path).parents if parent.name}


def test_version():
    """The changelog knows the version in pyproject.toml."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)[1]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_filled_in(name):
    """No marker stands where a measured figure belongs."""
    assert not re.findall(r"@@\w+@@", (ROOT / name).read_text(encoding="utf-8"))
