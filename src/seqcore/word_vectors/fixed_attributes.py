"""FixedAttributes: classes that refuse attributes that they do not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class FixedAttributes:
    """Base of classes whose public attributes are known.

    Setting or reading any other one is an AttributeError that names the nearest, so that no setting with a typo, or
    one that only another library knows, is taken and ignored. A class names its plain attributes in ``_attributes``
    (properties are known anyway) and may name in ``_elsewhere`` what to use for attributes of other libraries.
    Subclasses without ``_attributes`` may have any.
    """

    _attributes: ClassVar[frozenset[str]] = frozenset()
    _elsewhere: ClassVar[Mapping[str, str]] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        known = name.startswith("_") or name in self._attributes or hasattr(type(self), name)
        if not known and "_attributes" in vars(type(self)):
            raise AttributeError(self._unknown(name))
        there = getattr(type(self), name, None)
        if isinstance(there, property) and there.fset is None:
            advice = self._elsewhere.get(name)
            raise AttributeError(f"{name}: expected to be read only, got a value{f' ({advice})' if advice else ''}")
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name if name.startswith("_") else self._unknown(name))

    def _unknown(self, name: str) -> str:
        import difflib  # rarely needed

        public = self._attributes | {other for other in dir(type(self)) if not other.startswith("_")}
        close = difflib.get_close_matches(name, sorted(public), 1)
        advice = self._elsewhere.get(name, f"did you mean {close[0]}?" if close else "")
        return f"{name}: expected an attribute of {type(self).__name__}, got another{f' ({advice})' if advice else ''}"
