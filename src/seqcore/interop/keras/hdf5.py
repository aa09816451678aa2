"""HDF5 files read without trusting a number or a link in them, by ``h5py``, which is imported when it is used."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ..._extras import import_extra
from ..._validation import short_repr
from ...typing import Array

# Arrays and texts may be this much larger in memory than the file that holds them packed: see `allowance`.
_EXPANSION = 100
_FREE = 1 << 24
# Filters that h5py has by itself: gzip, shuffle, fletcher32, lzf. Others would be loaded from plugins.
_FILTERS = frozenset((1, 2, 3, 32000))


def h5py_module() -> Any:
    """The library ``h5py``.

    Raises:
        ImportError: it is not installed.
    """
    return import_extra("h5py", "seqcore.interop.keras needs h5py for files", "keras")


def allowance(size: int) -> int:
    """The bytes that the content of a packed file of ``size`` bytes may take in memory.

    Keras packs nothing; files packed again afterwards do not come near 100 times, but deflate allows 1000 times.
    """
    return _EXPANSION * size + _FREE


class Hdf5File:
    """An open HDF5 file.

    Args:
        source: a path, or a file of bytes.
        size: of the file in bytes.

    Links out of the file and within it, virtual arrays and arrays stored in other files are refused.
    """

    def __init__(self, source: Any, size: int) -> None:
        self._h5py = h5py_module()
        self._file = self._h5py.File(source, "r", **({"locking": False} if isinstance(source, str) else {}))
        self.size, self._left = size, allowance(size)

    def __enter__(self) -> Hdf5File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _find(self, path: str) -> Any:
        """The object at a path, or None."""
        item = self._file
        for part in filter(None, path.split("/")):
            if not isinstance(item, self._h5py.Group):
                return None
            link = item.get(part, getlink=True)
            if link is None:
                return None
            if not isinstance(link, self._h5py.HardLink):
                raise ValueError(f"{path}: expected data in the file, got a link ({type(link).__name__})")
            item = item[part]
        return item

    def has(self, path: str) -> bool:
        """True where there is a group or an array at a path."""
        return self._find(path) is not None

    def keys(self, path: str) -> list[str]:
        """The names in a group; none where there is no group."""
        group = self._find(path)
        return list(group) if isinstance(group, self._h5py.Group) else []

    def array(self, path: str, shape: tuple[int, ...]) -> Array:
        """The numbers of an array, which must have that shape; bfloat16 is widened to float32.

        Raises:
            ValueError: there is none, or another one.
        """
        data = self._find(path)
        if not isinstance(data, self._h5py.Dataset):
            raise ValueError(f"{path}: expected an array of shape {shape}, got none")
        if data.external or data.is_virtual:
            raise ValueError(f"{path}: expected its numbers in the file, got an array stored elsewhere")
        bfloat16 = data.dtype.kind == "V" and data.dtype.itemsize == 2 and not data.dtype.names
        if data.shape != shape or (data.dtype.kind not in "fiu" and not bfloat16):
            raise ValueError(f"{path}: expected numbers of shape {shape}, got {data.dtype} of shape {data.shape}")
        plan = data.id.get_create_plist()
        filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
        if not _FILTERS.issuperset(filters):
            raise ValueError(f"{path}: expected an array that is not packed, or by gzip, got the filters {filters}")
        needed = math.prod(shape) * data.dtype.itemsize
        self._take(path, needed)
        if not filters and data.id.get_storage_size() < needed:
            raise ValueError(f"{path}: expected {needed} bytes, got {data.id.get_storage_size()}")
        if not bfloat16:
            return np.asarray(data[()])
        pairs = np.asarray(data[()]).view(np.uint16).astype(np.uint32)
        return (pairs << 16).view(np.float32)

    def text(self, path: str, name: str) -> str | None:
        """An attribute that is one text, or None."""
        group = self._find(path)
        if group is None or name not in group.attrs:
            return None
        self._check_attribute(group, name, ())
        return _decoded(f"{path}@{name}", group.attrs[name])

    def texts(self, path: str, name: str, count: int) -> list[str]:
        """An attribute that is a list of at most ``count`` texts; Keras divides a long one into name0, name1, ..."""
        group = self._find(path)
        if group is None:
            raise ValueError(f"{path}: expected a group, got none")
        numbered = (f"{name}{i}" for i in itertools.count())
        names = [name] if name in group.attrs else itertools.takewhile(group.attrs.__contains__, numbered)
        texts: list[str] = []
        for part in names:
            shape = group.attrs.get_id(part).shape
            if len(shape) != 1 or shape[0] > count - len(texts):
                raise ValueError(f"{path}@{part}: expected at most {count - len(texts)} names, got shape {shape}")
            self._check_attribute(group, part, shape)
            texts += [_decoded(f"{path}@{part}", item) for item in group.attrs[part]] if shape[0] else []
        return texts

    def has_texts(self, path: str, name: str) -> bool:
        """True where there is what :meth:`texts` reads."""
        group = self._find(path)
        return group is not None and (name in group.attrs or f"{name}0" in group.attrs)

    def _check_attribute(self, group: Any, name: str, shape: tuple[int, ...]) -> None:
        """Refuse an attribute of another shape, or larger than the file."""
        attribute = group.attrs.get_id(name)
        if attribute.shape != shape or math.prod(shape) * attribute.dtype.itemsize > self.size:
            raise ValueError(f"{group.name}@{name}: expected texts of shape {shape}, got {attribute.shape}")

    def _take(self, path: str, size: int) -> None:
        """Count bytes in memory against the allowance of the file."""
        self._left -= size
        if self._left < 0:
            raise ValueError(f"{path}: expected arrays that a file of {self.size} bytes can hold, got larger ones")


def _decoded(where: str, value: Any) -> str:
    text = value.decode("utf-8") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise ValueError(f"{where}: expected text, got {short_repr(value)}")
    return text
