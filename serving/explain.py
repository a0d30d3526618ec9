"""Explaining rows: a computation that asks for one bounded run of the model after another.

Contributions are Shapley values of the columns: of what the model would answer for rows that have
some columns of the explained row and the others of background rows (the interventional kind).
Where the graph is a sum of functions of single columns, under a link or not, a column's value is
what it adds there: exact, for little. Elsewhere coalitions are asked about, see
:mod:`serving.coalitions`.
"""

from collections.abc import Callable, Generator
from typing import Final, Literal, NamedTuple, TypeVar

import numpy as np

from protocol.errors import Code, TollwayError
from protocol.manifest import Additive
from serving.background import BackgroundRows, Feeds, Indices
from serving.coalitions import Masks, Numbers, Plan
from serving.tensors import Array

TOLERANCE: Final = 1e-4
"""What base value and contributions may miss the prediction by, as a share of the largest of the
prediction, the base value and the sum of the contributions' magnitudes. Runs of FP32 differ by
1e-6 or so with their number of rows."""
MAX_CELLS: Final = 1 << 17
"""Columns times rows of one run: mixing them takes time as well."""
Link = Literal["none", "identity", "logistic", "softmax"]
_BINARY: Final = 2
_SATURATED: Final = 500.0

Found = TypeVar("Found")
Mix = Callable[[Indices], tuple[Masks, Feeds, Indices, Indices]]
"""The arguments of :meth:`BackgroundRows.mixed` for some rows of a longer list."""
Take = Callable[[Indices, Numbers], None]
"""Gets the answers to these."""


class Run(NamedTuple):
    """A run that a computation needs."""

    feeds: Feeds
    rows: int
    scores: bool
    """Of the graph that gives scores for probabilities, see :mod:`serving.scores`."""


Steps = Generator[Run, list[Array | None], Found]
"""Yields runs, and is sent their outputs."""


class Explained(NamedTuple):
    """Rows' explanations."""

    predictions: Numbers
    """``[row, value]``."""
    base: Numbers
    """``[value]``: the mean over the background rows."""
    contributions: Numbers
    """``[row, column, value]``."""
    errors: Numbers
    """``[row]``: see :data:`TOLERANCE`."""
    link: Link
    exact: bool
    evaluations: int


class _Sums(NamedTuple):
    """What an additive output's exact explanations start from."""

    base: Numbers
    reference: int
    """The background row from which columns are changed one at a time."""
    at_reference: Numbers
    effects: Numbers
    """``[column, value]``: the mean of what the background's values of it change."""


def unexplainable(message: str) -> TollwayError:
    """The answer where no request can get an explanation."""
    return TollwayError(Code.UNEXPLAINABLE, message)


class Output:
    """One output as numbers to explain."""

    def __init__(self, index: int, name: str, additive: Additive | None) -> None:
        self.index = index
        self.name = name
        self.additive = additive
        self.base: Numbers | None = None
        """The background's mean of the output as it is, once it was asked for."""
        self.sums: _Sums | None = None
        self.refuted = ""
        """Why it is no sum after all."""

    @property
    def link(self) -> Link:
        """Under what it is a sum, if it is one."""
        return "none" if self.additive is None else self.additive.link

    @property
    def exact(self) -> bool:
        """Whether it is a sum, as far as is known."""
        return self.additive is not None and not self.refuted


class Explainer:
    """Explains rows of one model by its background rows."""

    def __init__(self, background: BackgroundRows, chunk: Callable[[], int]) -> None:
        """``chunk``: rows that a run may have."""
        self.background = background
        self._chunk = chunk

    def cost(self, output: Output, plan_size: int, rows: int, *, exact: bool) -> int:
        """Rows that the model has to run for an explanation."""
        background, columns = self.background.rows, len(self.background.columns)
        if exact:
            setup = 0 if output.sums is not None else background * (columns + 1)
            return setup + rows * (columns + 2 if _is_scored(output.link) else columns + 1)
        setup = 0 if output.base is not None else background
        return setup + rows * (plan_size * background + 2)

    def exactly(self, output: Output, rows: Feeds, count: int) -> Steps[Explained | None]:
        """Explain an output that is a sum; None when the model shows that it is none."""
        link = output.link
        evaluations = self.cost(output, 0, count, exact=True)
        sums = output.sums
        if sums is None:
            sums = output.sums = yield from self._sums(output, link)
            if sums is None:
                return None
        columns = len(self.background.columns)
        each = np.eye(columns, dtype=np.bool_)
        reference, effects = sums.reference, sums.effects
        contributions = np.empty((count * columns, effects.shape[1]))

        def mix(at: Indices) -> tuple[Masks, Feeds, Indices, Indices]:
            return each[at % columns], rows, at // columns, np.full_like(at, reference)

        def take(at: Indices, values: Numbers) -> None:
            contributions[at] = values - sums.at_reference - effects[at % columns]

        yield from self._mixes(output, link, count * columns, mix, take)
        predictions = yield from self._rows(output, link, rows, count)
        if _is_scored(link):
            answers = yield from self._rows(output, "none", rows, count)
            if np.abs(_linked(predictions, link) - answers).max() > TOLERANCE:
                raise unexplainable(f"output {output.name!r} is not what its scores say")
        by_row = contributions.reshape(count, columns, -1)
        return _checked(predictions, sums.base, by_row, link, evaluations, exact=True)

    def sampled(self, output: Output, plan: Plan, rows: Feeds, count: int) -> Steps[Explained]:
        """Explain an output as it is, by the coalitions of ``plan``."""
        background = self.background.rows
        evaluations = self.cost(output, plan.size, count, exact=False)
        base = output.base
        if base is None:
            values = yield from self._rows(output, "none", self.background.feeds, background)
            base = output.base = values.mean(axis=0)
        full = yield from self._rows(output, "none", rows, count)
        contributions = np.empty((count, len(self.background.columns), full.shape[1]))
        for row in range(count):
            means = yield from self._means(output, plan, rows, row, full.shape[1])
            contributions[row] = plan.contributions(base, full[row], means)
        # Asked again, as a client would: a model that answers by chance is found out.
        predictions = yield from self._rows(output, "none", rows, count)
        return _checked(predictions, base, contributions, "none", evaluations, exact=plan.exact)

    def _means(
        self, output: Output, plan: Plan, rows: Feeds, row: int, width: int
    ) -> Steps[Numbers]:
        """Of each coalition the mean answer over the background rows."""
        background = self.background.rows
        sums = np.zeros((plan.size, width))

        def mix(at: Indices) -> tuple[Masks, Feeds, Indices, Indices]:
            coalitions = at // background
            first = int(coalitions[0])
            masks = plan.masks(first, int(coalitions[-1]) + 1)
            return masks[coalitions - first], rows, np.full_like(at, row), at % background

        def take(at: Indices, values: Numbers) -> None:
            np.add.at(sums, at // background, values)

        yield from self._mixes(output, "none", plan.size * background, mix, take)
        return sums / background

    def _sums(self, output: Output, link: Link) -> Steps[_Sums | None]:
        """What each column adds, over the background rows; None when that is not all there is."""
        feeds, background = self.background.feeds, self.background.rows
        columns = len(self.background.columns)
        values = yield from self._rows(output, link, feeds, background)
        reference = 0
        at_reference = values[reference]
        each = np.eye(columns, dtype=np.bool_)
        together = np.zeros_like(values)
        effects = np.zeros((columns, values.shape[1]))
        largest = np.abs(values).max()

        def mix(at: Indices) -> tuple[Masks, Feeds, Indices, Indices]:
            return each[at // background], feeds, at % background, np.full_like(at, reference)

        def take(at: Indices, found: Numbers) -> None:
            nonlocal largest
            changes = found - at_reference
            largest = max(largest, np.abs(changes).max())
            np.add.at(together, at % background, changes)
            np.add.at(effects, at // background, changes)

        yield from self._mixes(output, link, columns * background, mix, take)
        if np.abs(at_reference + together - values).max() > TOLERANCE * largest:
            output.refuted = "the background rows' answers are not the sums of their columns' parts"
            return None
        return _Sums(values.mean(axis=0), reference, at_reference, effects / background)

    def _rows(self, output: Output, link: Link, rows: Feeds, count: int) -> Steps[Numbers]:
        """The answers for rows as they are."""
        parts = []
        start = 0
        while start < count:
            size = min(self._chunk(), count - start)
            part = [None if feed is None else feed[start : start + size] for feed in rows]
            outputs = yield Run(part, size, _is_scored(link))
            parts.append(_read(output, link, outputs, size))
            start += size
        return np.concatenate(parts)

    def _mixes(self, output: Output, link: Link, total: int, mix: Mix, take: Take) -> Steps[None]:
        """The answers for ``total`` mixed rows, a bounded run at a time."""
        most = max(MAX_CELLS // len(self.background.columns), 1)
        start = 0
        while start < total:
            size = min(self._chunk(), most, total - start)
            at = np.arange(start, start + size)
            outputs = yield Run(self.background.mixed(*mix(at)), size, _is_scored(link))
            take(at, _read(output, link, outputs, size))
            start += size


def _read(output: Output, link: Link, outputs: list[Array | None], rows: int) -> Numbers:
    """The output's numbers, ``[row, value]``; under a link, scores that add up to none."""
    array = outputs[output.index]
    if array is None or not array.ndim or array.shape[0] != rows:
        raise unexplainable(f"output {output.name!r} does not have one item for each row")
    values: Numbers = array.reshape(rows, -1).astype(np.float64)
    if not np.isfinite(values).all():
        raise unexplainable(
            f"output {output.name!r} is not finite for some mixture of the row and the background"
        )
    if link == "softmax":  # scores say something by their differences alone
        values = values - values.mean(axis=1, keepdims=True)
        return values * 2 if values.shape[1] == _BINARY else values
    return values


def _linked(scores: Numbers, link: Link) -> Numbers:
    """The probabilities of scores."""
    if link == "logistic" or scores.shape[1] == _BINARY:
        return np.asarray(1 / (1 + np.exp(-np.clip(scores, -_SATURATED, _SATURATED))))
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _is_scored(link: Link) -> bool:
    return link in ("logistic", "softmax")


def _checked(
    predictions: Numbers,
    base: Numbers,
    contributions: Numbers,
    link: Link,
    evaluations: int,
    *,
    exact: bool,
) -> Explained:
    """The explanation, if it adds up."""
    sums = base + contributions.sum(axis=1)
    scale = np.maximum(np.abs(predictions), np.abs(base))
    scale = np.maximum(scale, np.abs(contributions).sum(axis=1))
    missed = np.abs(sums - predictions)
    errors = np.divide(missed, scale, out=np.zeros_like(missed), where=scale > 0).max(axis=1)
    if errors.max(initial=0.0) > TOLERANCE:
        raise unexplainable(
            f"the contributions miss the prediction by {errors.max():.2g} of its size, and may by "
            f"{TOLERANCE:g}: the model does not answer the same row in the same way"
        )
    return Explained(predictions, base, contributions, errors, link, exact, evaluations)
