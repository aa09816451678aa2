"""JSON of unknown origin."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text that may come from anywhere.

    Raises:
        ValueError: in one line, for what is no JSON, a key that occurs twice in an object, and values too deep or too
            long for Python.

    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: expected JSON with different keys, got 'a' twice
    """

    def different(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) != len(pairs):
            seen: set[str] = set()
            key = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise ValueError(f"expected JSON with different keys, got {key[:40]!r} twice")
        return values

    try:
        return json.loads(text, object_pairs_hook=different)
    except RecursionError:
        raise ValueError("expected JSON of moderate depth, got values nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON, got something else ({error})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"expected JSON in UTF-8, got bytes that are not ({error.reason})") from None
