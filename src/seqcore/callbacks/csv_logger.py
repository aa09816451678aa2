"""Logs in a CSV file."""

from __future__ import annotations

import csv
import io
import os
from typing import Any

import numpy as np

from .._files import atomic_write
from .._validation import as_path, boolean
from ..text.files import read_csv
from .callback import Callback, Logs


class CSVLogger(Callback):
    """Write the logs of each epoch to a CSV file with the columns ``epoch`` and the names of the logs.

    The whole file is replaced at the end of each epoch, so that a kill leaves the old one or the new one. Names that
    turn up later become new columns; a missing value is NA.

    Args:
        filename: path of the file; its folder is made.
        separator: one character between columns, a comma by default.
        append: keep the rows that the file has; otherwise, the default, the file is replaced.

    Raises:
        ValueError: a separator of another length; at the start of the training, a file to append to that is not
            such a CSV file.
        OSError: at the end of an epoch, a file that cannot be written.
    """

    main_only = True
    _state = {"_columns": list, "_rows": list}

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(f"separator: expected one character, got {separator!r}")
        self.filename, self.sep, self.append = as_path(filename, "filename"), separator, boolean("append", append)
        self._columns: list[str] = ["epoch"]
        self._rows: list[dict[str, Any]] = []

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state({"_columns": list(map(str, state["_columns"])), "_rows": list(map(dict, state["_rows"]))})

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._columns, self._rows = ["epoch"], []
        if self.append and os.path.exists(self.filename):
            names, *rows = [row for _, row in read_csv(self.filename, self.sep)] or [["epoch"]]
            if len(set(names)) < len(names) or "epoch" not in names or any(len(row) != len(names) for row in rows):
                raise ValueError(f"filename: expected a CSV file with a column epoch, got {self.filename!r}")
            self._columns, self._rows = names, [dict(zip(names, row)) for row in rows]

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        row = {name: v.item() if isinstance(v, np.generic) else v for name, v in (logs or {}).items()}
        self._columns += sorted(set(row) - set(self._columns))
        self._rows.append({**row, "epoch": epoch})
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, restval="NA", delimiter=self.sep, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        os.makedirs(os.path.dirname(self.filename) or ".", exist_ok=True)
        atomic_write(self.filename, [text.getvalue().encode()])
