"""Background rows, and rows mixed from theirs and others' by column."""

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from protocol.errors import TollwayError
from protocol.manifest import Background
from serving.coalitions import Masks
from serving.signature import Signature
from serving.tensors import Array, exact_floats, show
from serving.v2_json import V2Json

MAX_ROWS: Final = 1000
Feeds = list[Array | None]
Indices = npt.NDArray[np.int64]


class BackgroundError(Exception):
    """The background rows are not what the model takes."""


class BackgroundRows:
    """Rows of one model, told apart by column."""

    def __init__(self, feeds: Feeds, signature: Signature) -> None:
        """Raises :class:`BackgroundError` when the columns do not make up the inputs."""
        self.columns = [column.name for column in signature.manifest.columns]
        self.feeds = feeds
        self.rows = signature.rows(feeds)
        self._members: list[npt.NDArray[np.int64] | None] = []
        """Of each input the columns of its elements; None for one that no row has."""
        for spec, feed in zip(signature.inputs, feeds, strict=True):
            if feed is None:
                self._members.append(None)
                continue
            places = {
                column.index or 0: number
                for number, column in enumerate(signature.manifest.columns)
                if column.input == spec.name
            }
            width = int(np.prod(feed.shape[1:]))
            if sorted(places) != list(range(width)):
                raise BackgroundError(
                    f"the columns of input {show(spec.name)} are not all {width} of its elements"
                )
            self._members.append(np.array([places[place] for place in range(width)], np.int64))
        if not 1 <= self.rows <= MAX_ROWS or not self.columns:
            raise BackgroundError(f"{self.rows} background rows: 1 to {MAX_ROWS} are taken")

    def mixed(self, masks: Masks, rows: Feeds, row: Indices, others: Indices) -> Feeds:
        """A row for each mask ``[n, column]``: the masked columns of ``rows[row]``, the others of
        the background's ``others``."""
        found: Feeds = []
        for members, feed, background in zip(self._members, rows, self.feeds, strict=True):
            if members is None or feed is None or background is None:
                found.append(None)
                continue
            mask = masks[:, members].reshape(len(masks), *background.shape[1:])
            found.append(np.where(mask, feed[row], background[others]))
        return found


def read(data: bytes, signature: Signature, decoder: V2Json) -> BackgroundRows:
    """The rows of a background blob. Raises :class:`BackgroundError`."""
    try:
        document = msgspec.json.decode(data, type=Background)
        with exact_floats():
            call = decoder.decode(bytes(document.request))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackgroundError(f"the background rows are not readable: {error}") from error
    except TollwayError as error:
        raise BackgroundError(f"the background rows are refused: {error.public}") from error
    return BackgroundRows(call.feeds, signature)
