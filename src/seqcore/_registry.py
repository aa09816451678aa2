"""Registry of classes by name, one per family (losses, metrics, optimizers, schedules, initializers, layers).

Files and users name classes; only those of a registry and the custom objects of the running call are ever made.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from ._pickling import Pickled
from ._validation import one_line, short_repr

T = TypeVar("T")
Class = TypeVar("Class", bound="type[Any]")


class _CustomObjectContext(threading.local):
    """Custom classes by name, of the file that this thread is reading."""

    classes: Mapping[str, Any] = {}
    # True where only classes that a registry knows may be written.
    registered_only = False


_custom = _CustomObjectContext()
# Prefix of names -> function that imports the module of such a name, so that its classes register themselves.
_loaders: dict[str, Callable[[str], Any]] = {}


@contextmanager
def custom_object_scope(custom_objects: Mapping[str, Any] | None) -> Iterator[None]:
    """Context in which every registry of this thread also knows these classes, under the names given."""
    before = _custom.classes
    _custom.classes = {**before, **(custom_objects or {})}
    try:
        yield
    finally:
        _custom.classes = before


@contextmanager
def registered_classes_only() -> Iterator[None]:
    """Context in which this thread describes only objects whose classes can be looked up by name again."""
    before, _custom.registered_only = _custom.registered_only, True
    try:
        yield
    finally:
        _custom.registered_only = before


def register_loader(prefix: str, load: Callable[[str], Any]) -> None:
    """Have ``load(rest of the name)`` called before an unknown name that begins with ``prefix`` is refused."""
    _loaders[prefix] = load


class Configurable(Pickled):
    """Base of objects that a config describes: the arguments of the constructor, each an attribute."""

    # Names of these arguments.
    _config_names: tuple[str, ...] = ()

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same object again; JSON-able."""
        return {name: getattr(self, name) for name in self._config_names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A new object from a config."""
        return cls(**config)


class Registry(Generic[T]):
    """Classes of one family by name.

    Args:
        argument: name of the family in error messages, such as "loss".
        base: the class from which all of them derive.

    >>> errors = Registry("error", ArithmeticError)
    >>> @errors.register("rounding")
    ... class Rounding(ArithmeticError):
    ...     pass
    >>> type(errors.get("rounding")).__name__, errors.find("Rounding") is Rounding
    ('Rounding', True)
    """

    def __init__(self, argument: str, base: type[T]) -> None:
        self.argument, self.base = argument, base
        self.classes: dict[str, type[T]] = {}
        self._listed: list[str] = []
        _registries.append(self)

    def register(self, *names: str) -> Callable[[Class], Class]:
        """Class decorator: the class is known by its own name and by ``names``; error messages list the first one."""

        def decorate(cls: Class) -> Class:
            for name in (cls.__name__, *names[1:]):
                self.classes[name] = cls
            if names:
                self.add(names[0], cls)
            return cls

        return decorate

    def add(self, name: str, cls: type[T]) -> None:
        """Register ``cls`` only under ``name``, which error messages list."""
        self.classes[name] = cls
        self._listed.append(name)

    def find(self, name: str) -> type[T] | None:
        """The class of that name, also where the name is given in capitals; None if there is none."""
        cls = _custom.classes.get(name)
        if isinstance(cls, type) and issubclass(cls, self.base):
            return cls
        if name not in self.classes:
            for prefix, load in _loaders.items():
                if name.startswith(prefix):
                    load(name.removeprefix(prefix))
        return self.classes.get(name) or self.classes.get(name.lower())

    def require(self, name: str, argument: str | None = None) -> type[T]:
        """The class of that name.

        Raises:
            ValueError: there is none; the message names the argument and lists the family.
        """
        cls = self.find(name)
        if cls is None:
            known = ", ".join(sorted(self._listed or self.classes))
            raise ValueError(f"{argument or self.argument}: expected one of {known}, got {short_repr(name)}")
        return cls

    def get(self, identifier: Any, argument: str | None = None) -> T | None:
        """Object of the family from an object, a name, a class or a config; None for anything else.

        Raises:
            ValueError: for an unknown name and a dict that is not a config.
            TypeError: for a class that cannot be made without arguments.
        """
        argument = argument or self.argument
        if isinstance(identifier, self.base):
            return identifier
        if isinstance(identifier, dict):
            return self.deserialize(identifier, argument=argument)
        if isinstance(identifier, str):
            identifier = self.require(identifier, argument)
        if not (isinstance(identifier, type) and issubclass(identifier, self.base)):
            return None
        try:
            return identifier()
        except TypeError as error:
            raise TypeError(
                f"{argument}: expected an object, got the class {identifier.__name__}, which takes arguments; make it: "
                f"{identifier.__name__}(...) ({error})"
            ) from None

    def knows(self, cls: type[Any]) -> bool:
        """True for a class that is found by the name that :meth:`serialize` gives it."""
        return self.find(class_name(cls)) is cls

    def serialize(self, value: Any) -> dict[str, Any]:
        """``{"class_name": ..., "config": ...}`` of an object of the family; JSON-able.

        Raises:
            ValueError: within :func:`registered_classes_only`, for a class that is not registered.
        """
        cls = type(value)
        config = value.get_config()
        if _custom.registered_only and not self.knows(cls):
            raise ValueError(
                f"{self.argument}: class {cls.__name__} is not registered; decorate it with @seqcore.models.register()"
            )
        return {"class_name": class_name(cls), "config": config}

    def deserialize(
        self, described: Any, custom_objects: Mapping[str, Any] | None = None, argument: str | None = None
    ) -> T:
        """The object that :meth:`serialize` described.

        Raises:
            ValueError: for anything but such a dict, an unknown class, or a config that does not fit it.
        """
        name, config = class_and_config(argument or self.argument, described)
        with custom_object_scope(custom_objects):
            made: T = from_config(self.require(name, argument), config)
        return made


# All registries of the process.
_registries: list[Registry[Any]] = []


def registry_of(cls: Any) -> Registry[Any] | None:
    """The registry of the family to which a class belongs."""
    bases = [registry for registry in _registries if isinstance(cls, type) and issubclass(cls, registry.base)]
    return bases[-1] if bases else None


def class_name(cls: type[Any]) -> str:
    """The name under which files know a class: that with which it was registered, or its own."""
    return str(cls.__dict__.get("_registered_name", cls.__name__))


def snake_case(name: str) -> str:
    """The name of a class in snake case.

    >>> snake_case("MeanSquaredError")
    'mean_squared_error'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def class_and_config(name: str, described: Any) -> tuple[str, dict[str, Any]]:
    """Class name and arguments out of ``{"class_name": ..., "config": ...}``, which may come from a file.

    Raises:
        ValueError: for anything but such a dict; the message names the argument.
    """
    class_name = described.get("class_name") if isinstance(described, dict) else None
    config = described.get("config", {}) if isinstance(described, dict) else None
    if not isinstance(class_name, str) or not isinstance(config, dict):
        raise ValueError(f"{name}: expected a dict with class_name and config, got {short_repr(described)}")
    return class_name, dict(config)


def from_config(cls: Any, config: dict[str, Any]) -> Any:
    """``cls.from_config(config)``.

    Raises:
        ValueError: where the class misses something in the config, or finds something else.
        TypeError: for arguments that the class does not take.
    """
    try:
        return cls.from_config(config)
    except RecursionError:
        raise ValueError("config: expected objects inside each other to a moderate depth, got too many") from None
    except (ArithmeticError, AssertionError, AttributeError, LookupError) as error:
        raise ValueError(
            f"config: expected the arguments of a {cls.__name__}, got {short_repr(config)} ({one_line(error)})"
        ) from error
