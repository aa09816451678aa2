"""The type stub of the compiled core agrees with it: the same names, the same parameters in the same order."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from seqcore import _core

STUB = Path(__file__).resolve().parent.parent / "src/seqcore/_core.pyi"
TREE = ast.parse(STUB.read_text(encoding="utf-8"))


def functions(body):
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


CLASSES = {node.name: functions(node.body) for node in TREE.body if isinstance(node, ast.ClassDef)}
PLACES = [*functions(TREE.body), *(f"{name}.{method}" for name, methods in CLASSES.items() for method in methods)]


def stubbed(node):
    """[(name, by name alone, has a default)] of a function of the stub, without self."""
    plain, named = node.args.args, node.args.kwonlyargs
    defaults = [False] * (len(plain) - len(node.args.defaults)) + [True] * len(node.args.defaults)
    found = [(one.arg, False, default) for one, default in zip(plain, defaults)]
    found += [(one.arg, True, default is not None) for one, default in zip(named, node.args.kw_defaults)]
    return [one for one in found if one[0] != "self"]


def compiled(text, name):
    """The same from the signature that pybind11 writes into a docstring."""
    signature = re.search(rf"^(?:1\. )?{name}\((?!\*args)(.*)\) -> ", text, re.MULTILINE)
    assert signature, f"no signature of {name} in {text!r}"
    found, depth, part, by_name = [], 0, "", False
    for letter in signature[1] + ",":
        depth += (letter in "([{") - (letter in ")]}")
        if letter != "," or depth:
            part += letter
            continue
        part = part.strip()
        if part == "*":
            by_name = True
        elif part:
            found.append((re.match(r"\w+", part)[0], by_name, " = " in part))
        part = ""
    return [one for one in found if one[0] != "self"]


@pytest.mark.parametrize("place", PLACES)
def test_parameters(place):
    owner, _, name = place.rpartition(".")
    node = (CLASSES[owner] if owner else functions(TREE.body))[name]
    real = getattr(getattr(_core, owner) if owner else _core, name)
    if isinstance(real, property):
        assert [ast.unparse(one) for one in node.decorator_list] == ["property"] and not stubbed(node)
        return
    assert not node.decorator_list
    assert stubbed(node) == compiled(real.__doc__, name)


def public(names):
    return {name for name in names if not name.startswith("_")}


def test_names():
    """Neither side has a name that the other lacks."""
    assert "train_word2vec" in PLACES and "Stream.step" in PLACES
    real = public(name for name in vars(_core) if not inspect.ismodule(getattr(_core, name)))
    assert real == set(functions(TREE.body)) | set(CLASSES)
    for name, methods in CLASSES.items():
        assert public(vars(getattr(_core, name))) == public(methods)
        assert ("__init__" in vars(getattr(_core, name))) == ("__init__" in methods) or name == "Saved"
    variables = {node.target.id for node in TREE.body if isinstance(node, ast.AnnAssign)}
    assert variables == {"__version__"} and isinstance(_core.__version__, str)
