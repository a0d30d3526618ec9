"""Named columns without a data frame library: what a file of rows becomes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Columns:
    """Columns of one length by name, as :func:`tollway.conversion.rows.plain_column` has them.

    It is taken wherever a data frame is: by its names, or by position where a model knows none.
    """

    def __init__(self, columns: Mapping[str, Array]) -> None:
        self._columns = dict(columns)

    @property
    def columns(self) -> list[str]:
        """The names, in their order."""
        return list(self._columns)

    def __getitem__(self, name: str) -> Array:
        return self._columns[name]

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        """A row a line, for models that know no columns."""
        kinds = {column.dtype.kind for column in self._columns.values()}
        of_text = "O" in kinds
        parts = [np.asarray(one, object if of_text else None) for one in self._columns.values()]
        rows = np.stack(parts, axis=1)
        if dtype is None:
            return rows
        return rows.astype(np.dtype(dtype), copy=False)
