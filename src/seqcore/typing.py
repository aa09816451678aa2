"""Types of arrays and arguments, as the annotations of the package name them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Sequence[Array]
Floats = NDArray[np.float32]
Ids = NDArray[np.int32]
PathLike = str | os.PathLike[str]
# Sizes of axes; None means any size.
Shape = tuple[int | None, ...]
