"""Files of a data set, found in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..typing import PathLike


def find_file(folder: Path, *names: str) -> Path | None:
    """The first file of these names in a folder, plain or with ``.gz``."""
    candidates = (folder / (name + suffix) for name in names for suffix in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def find_files(folder: PathLike, inside: Sequence[str], files: Sequence[Sequence[str]], title: str) -> list[Path]:
    """The files of a data set, all in the folder or all in one of the folders inside it that may hold them.

    Args:
        folder: the folder.
        inside: folders inside it, "" for itself, in the order of search.
        files: the names that each file may have.
        title: of the files, for the message.

    Raises:
        ValueError: naming the missing files of the place that has most of them.
    """
    places = [Path(folder) / part for part in inside]
    most = max(
        ([find_file(place, *names) for names in files] for place in places), key=lambda paths: sum(map(bool, paths))
    )
    missing = [names[0] for names, path in zip(files, most, strict=True) if path is None]
    if missing:
        raise ValueError(
            f"folder: expected {title} (plain or .gz) in {str(places[0])!r} or {str(places[1])!r}, "
            f"missing {', '.join(missing)}"
        )
    return [path for path in most if path is not None]
