"""The rooms of the package: dependencies point down, and nothing is imported inside a function to hide a circle."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src/seqcore"
# From the ground up. A room imports those of lower floors, and its neighbours as long as there is no circle.
FLOORS = (
    ("typing", "_core", "_validation", "_registry", "_pickling", "_extras", "_files", "_foreign_files", "_json")
    + ("_locks", "random"),
    ("distributed",),
    ("autograd",),
    ("ops", "initializers"),
    ("losses", "metrics", "optimizers", "layers", "text"),
    ("callbacks", "training"),
    ("saving",),
    ("models", "inspection"),
    ("word_vectors", "language_model", "datasets"),
    ("experiments", "interop"),
    ("cli", "language", "tf"),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
    if path != PACKAGE / "__init__.py"
}


def imports(name, tree, modules, is_package):
    """(target module, line, whether it stands at the top of the file) of each import from the package."""
    package = name.split(".") if is_package else name.split(".")[:-1]
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                parts = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            elif node.module and node.module.split(".")[0] == "seqcore":
                parts = node.module.split(".")[1:]
            else:
                continue
            module = ".".join(parts)
            for alias in node.names:
                full = f"{module}.{alias.name}" if module else alias.name
                yield full if full in modules else module, node.lineno, id(node) in top
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("seqcore."):
                    yield alias.name.partition(".")[2], node.lineno, id(node) in top


def graph():
    """The imports of each module, without those of its own name."""
    edges = {}
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        edges[name] = [edge for edge in imports(name, tree, MODULES, path.name == "__init__.py") if edge[0] != name]
    return edges


EDGES = graph()


def circles(edges):
    """Groups of modules that import each other (Tarjan's strongly connected components)."""
    number, low, stack, found = {}, {}, [], []

    def visit(module):
        number[module] = low[module] = len(number)
        stack.append(module)
        for target in edges.get(module, ()):
            if target not in number:
                visit(target)
            if target in stack:
                low[module] = min(low[module], low[target])
        if low[module] == number[module]:
            at = stack.index(module)
            found.append(sorted(stack[at:]))
            del stack[at:]

    for module in edges:
        if module not in number:
            visit(module)
    return [group for group in found if len(group) > 1]


def test_every_module_stands_in_a_room():
    assert {name.split(".")[0] for name in MODULES} <= set(FLOOR)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_down(name):
    """Each import goes to the same floor or a lower one and stands at the top of its file."""
    room = name.split(".")[0]
    for target, line, at_top in EDGES[name]:
        other = target.split(".")[0]
        if other in FLOOR:
            assert FLOOR[other] <= FLOOR[room], f"{MODULES[name]}:{line} imports {target} from a higher floor"
            assert at_top, f"{MODULES[name]}:{line} imports {target} inside a function or a condition"


def test_no_circle():
    edges = {name: {target for target, _, _ in targets} for name, targets in EDGES.items()}
    assert not circles(edges)
    rooms = {}
    for name, targets in edges.items():
        room = name.split(".")[0]
        rooms.setdefault(room, set()).update(target.split(".")[0] for target in targets)
    assert not circles({room: targets - {room} for room, targets in rooms.items()})


def test_a_circle_would_be_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    tree = ast.parse("from . import b\ndef f():\n    from ..c import d\n    import seqcore.e\n")
    assert list(imports("room.a", tree, {"room.b", "c.d"}, False)) == [
        ("room.b", 1, True), ("c.d", 3, False), ("e", 4, False)
    ]  # fmt: skip
