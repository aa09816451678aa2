"""The type stubs of the compiled core agree with it: the same names, parameters, order and defaults."""

import ast
import functools
import importlib
import inspect
from inspect import Parameter
from pathlib import Path

import pytest

from seqcore import _core

STUBS = Path(__file__).resolve().parents[2] / "src/seqcore/_core"
TREES = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in STUBS.glob("*.pyi")}
PACKAGE = TREES.pop("__init__")


def functions(body):
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


CLASSES = {
    (module, node.name): functions(node.body)
    for module, tree in TREES.items()
    for node in tree.body
    if isinstance(node, ast.ClassDef)
}
PLACES = [f"{module}.{name}" for module, tree in TREES.items() for name in functions(tree.body)]
PLACES += [f"{module}.{name}.{method}" for (module, name), methods in CLASSES.items() for method in methods]


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
    return [(parameter.name, parameter.kind, parameter.default) for parameter in parameters if parameter.name != "self"]


@pytest.mark.parametrize("place", PLACES)
def test_parameters(place):
    module, *owner, name = place.split(".")
    node = (CLASSES[module, owner[0]] if owner else functions(TREES[module].body))[name]
    parent = functools.reduce(getattr, [module, *owner], _core)
    real = getattr(parent, name)
    if inspect.isgetsetdescriptor(real):
        assert [ast.unparse(decorator) for decorator in node.decorator_list] == ["property"] and not stubbed(node)
        return
    assert not node.decorator_list
    # A class is made by __new__, so that there is no object without its value; its signature is the class's own.
    assert stubbed(node) == compiled(parent if name == "__init__" else real)


def public(names):
    return {name for name in names if not name.startswith("_")}


def test_names():
    """Neither side has a name that the other lacks."""
    assert "word2vec.train_word2vec" in PLACES and "stream.Stream.step" in PLACES
    assert public(vars(_core)) == set(TREES) == set(ast.literal_eval(PACKAGE.body[-1].value))
    for module, tree in TREES.items():
        classes = {name: methods for (where, name), methods in CLASSES.items() if where == module}
        real = vars(getattr(_core, module))
        assert public(real) == set(functions(tree.body)) | set(classes)
        for name, methods in classes.items():
            assert public(vars(real[name])) == public(methods)
            assert ("__new__" in vars(real[name])) == ("__init__" in methods)
        variables = {node.target.id for node in tree.body if isinstance(node, ast.AnnAssign)}
        assert variables == ({"__version__"} if module == "system" else set())
    assert isinstance(_core.system.__version__, str)


@pytest.mark.parametrize("module", TREES)
def test_submodules_are_imported_by_their_names(module):
    assert importlib.import_module(f"seqcore._core.{module}") is getattr(_core, module)
    functions_of = [value for value in vars(getattr(_core, module)).values() if inspect.isbuiltin(value)]
    assert all(function.__module__ == f"seqcore._core.{module}" for function in functions_of)
