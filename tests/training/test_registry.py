"""The registry of classes by name, and custom objects inside it."""

import subprocess
import sys
import threading

import pytest

import seqcore as sc
from seqcore import initializers, losses, metrics, optimizers
from seqcore._registry import Registry, custom_object_scope, register_loader


class Shape:
    def __init__(self, size=1):
        self.size = size

    def get_config(self):
        return {"size": self.size}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@pytest.fixture
def shapes():
    registry = Registry("shape", Shape)

    @registry.register("square", "sq")
    class Square(Shape):
        pass

    @registry.register("ring")
    class Ring(Shape):
        def __init__(self, size):
            super().__init__(size)

    return registry


def test_names_classes_configs_and_objects(shapes):
    square = shapes.get("square")
    for identifier in ("Square", "SQUARE", "sq", type(square), square, shapes.serialize(square)):
        assert type(shapes.get(identifier)) is type(square)
    assert shapes.get(square) is square and shapes.get(3) is None and shapes.get(losses.Loss) is None
    assert shapes.deserialize({"class_name": "Ring", "config": {"size": 4}}).size == 4


@pytest.mark.parametrize(
    ("identifier", "error", "message"),
    [
        ("cube", ValueError, "side: expected one of ring, square, got 'cube'"),
        (
            "ring",
            TypeError,
            r"side: expected an object, .* class Ring, which takes arguments; make it: Ring\(...\)",
        ),
        ({"class_name": 3}, ValueError, "side: expected a dict with class_name and config, got"),
        ({"class_name": "Cube", "config": {}}, ValueError, "side: expected one of ring, square, got 'Cube'"),
        ({"class_name": "Ring", "config": {"length": 4}}, TypeError, "length"),
    ],
    ids=str,
)
def test_what_cannot_be_made_is_named(shapes, identifier, error, message):
    with pytest.raises(error, match=message):
        shapes.get(identifier, "side")


def test_custom_objects_are_of_the_family_and_of_the_scope(shapes):
    class Cube(Shape):
        pass

    class Square(Shape):
        pass

    before = shapes.find("Square")
    with custom_object_scope({"Cube": Cube, "Square": Square, "ring": losses.Loss}):
        assert (
            shapes.find("Cube") is Cube and shapes.find("Square") is Square and shapes.find("ring").__name__ == "Ring"
        )
        with custom_object_scope(None), custom_object_scope({"Square": before}):
            assert shapes.find("Cube") is Cube and shapes.find("Square") is before
        seen = []
        thread = threading.Thread(target=lambda: seen.append(shapes.find("Cube")))
        thread.start()
        thread.join()
        assert seen == [None] and shapes.find("Square") is Square
    assert shapes.find("Cube") is None and shapes.find("Square") is before


def test_a_loader_imports_the_classes_of_its_prefix(shapes):
    loaded = []

    def load(name):
        loaded.append(name)
        if name == "known/Late":
            shapes.add(f"tests.late.{name}", Shape)

    register_loader("tests.late.", load)
    assert shapes.find("tests.late.known/Late") is Shape and shapes.find("tests.late.known/Late") is Shape
    assert shapes.find("tests.late.other/Late") is None and shapes.find("tests.early.Late") is None
    assert loaded == ["known/Late", "other/Late"]


class Halving(optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.5**step


def test_custom_objects_reach_every_registry():
    class Cubed(losses.MeanSquaredError):
        pass

    class Error(metrics.MeanAbsoluteError):
        pass

    class Slow(optimizers.SGD):
        pass

    class Sevens(initializers.Constant):
        pass

    class Twice(sc.layers.Layer):
        def call(self, inputs):
            return inputs * 2

    with custom_object_scope({cls.__name__: cls for cls in (Cubed, Error, Slow, Halving, Sevens, Twice)}):
        optimizer = optimizers.get(
            {"class_name": "Slow", "config": {"learning_rate": {"class_name": "Halving", "config": {}}}}
        )
        assert type(optimizer) is Slow and optimizer.learning_rate == 1.0
        assert type(losses.get("Cubed")) is Cubed and type(metrics.get("Error")) is Error
        assert type(initializers.get("Sevens")) is Sevens
        assert type(sc.Sequential.from_config({"layers": [{"class_name": "Twice", "config": {}}]}).layers[0]) is Twice
    for get, name in ((losses.get, "Cubed"), (metrics.get, "Error"), (optimizers.get, "Slow")):
        with pytest.raises(ValueError, match=f"expected one of .*, got '{name}'"):
            get(name)


def test_classes_of_the_package_are_found_in_a_new_process():
    """Model files name them, and ``import seqcore`` must be enough to load one."""
    names = ["Seq2Seq", "seqcore.experiments.mnist/ReadOut", "seqcore.experiments.imdb/CellLoop", "Sequential", "LSTM"]
    program = f"import seqcore\nfor name in {names}: print(seqcore.layers.registry.get_class(name).__name__)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert result.stdout.split() == [name.rpartition("/")[2] for name in names], result.stderr
