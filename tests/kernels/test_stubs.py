"""The type stub of the compiled core agrees with it: the same names, parameters, order and defaults."""

import ast
import inspect
from inspect import Parameter
from pathlib import Path

import pytest

from seqcore import _core

STUB = Path(__file__).resolve().parents[2] / "src/seqcore/_core.pyi"
TREE = ast.parse(STUB.read_text(encoding="utf-8"))


def functions(body):
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


CLASSES = {node.name: functions(node.body) for node in TREE.body if isinstance(node, ast.ClassDef)}
PLACES = [*functions(TREE.body), *(f"{name}.{method}" for name, methods in CLASSES.items() for method in methods)]


def stubbed(node):
    """[(name, kind, default)] of a function of the stub, without self."""
    plain, named = node.args.args, node.args.kwonlyargs
    defaults = [None] * (len(plain) - len(node.args.defaults)) + node.args.defaults
    parameters = [(arg.arg, Parameter.POSITIONAL_OR_KEYWORD, default) for arg, default in zip(plain, defaults)]
    parameters += [(arg.arg, Parameter.KEYWORD_ONLY, default) for arg, default in zip(named, node.args.kw_defaults)]
    return [
        (name, kind, Parameter.empty if default is None else ast.literal_eval(default))
        for name, kind, default in parameters
        if name != "self"
    ]


def compiled(function):
    """The same from the signature that the module shows."""
    parameters = inspect.signature(function).parameters.values()
    return [(one.name, one.kind, one.default) for one in parameters if one.name != "self"]


@pytest.mark.parametrize("place", PLACES)
def test_parameters(place):
    owner, _, name = place.rpartition(".")
    node = (CLASSES[owner] if owner else functions(TREE.body))[name]
    real = getattr(getattr(_core, owner) if owner else _core, name)
    if inspect.isgetsetdescriptor(real):
        assert [ast.unparse(one) for one in node.decorator_list] == ["property"] and not stubbed(node)
        return
    assert not node.decorator_list
    # A class is made by __new__, so that there is no object without its value; its signature is the class's own.
    assert stubbed(node) == compiled(getattr(_core, owner) if name == "__init__" else real)


def public(names):
    return {name for name in names if not name.startswith("_")}


def test_names():
    """Neither side has a name that the other lacks."""
    assert "train_word2vec" in PLACES and "Stream.step" in PLACES
    real = public(name for name in vars(_core) if not inspect.ismodule(getattr(_core, name)))
    assert real == set(functions(TREE.body)) | set(CLASSES)
    for name, methods in CLASSES.items():
        assert public(vars(getattr(_core, name))) == public(methods)
        assert ("__new__" in vars(getattr(_core, name))) == ("__init__" in methods)
    variables = {node.target.id for node in TREE.body if isinstance(node, ast.AnnAssign)}
    assert variables == {"__version__"} and isinstance(_core.__version__, str)
