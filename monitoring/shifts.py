"""E-values for a shift: the mean of paired differences against a shift that is allowed."""

from typing import Final, NamedTuple

import numpy as np

from monitoring.evidence import Floats

STAKES: Final = np.array([0.003, 0.01, 0.03, 0.1, 0.3, 0.9])
"""How much is bet, from shifts that are small beside the scatter to those that are not."""


class Differences(NamedTuple):
    """Paired differences of a batch, as arrays of one shape. Each is within ``[-scale, scale]``."""

    number: Floats
    total: Floats
    """Sum of the differences."""
    squares: Floats
    """Sum of their squares."""


def differences(number: object, total: object, squares: object) -> Differences:
    """Differences from whatever numbers."""
    return Differences(*(np.asarray(x, dtype=np.float64) for x in (number, total, squares)))


def beyond(batch: Differences, allowed: float, scale: float) -> Floats:
    """Log e-values, for each of :data:`STAKES` upwards and then downwards, against "the mean
    difference is within ``[-allowed, allowed]``".

    The empirical Bernstein supermartingale (Howard, Ramdas, McAuliffe and Sekhon 2021,
    "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49,
    after Fan, Grama and Liu 2015) with the centre 0: for ``x`` in ``[-1/2, 1/2]`` and a stake
    ``a`` below 1, ``exp(a x - (-log(1 - a) - a) x**2) <= 1 + a x``, so that its mean is at most
    ``exp(a m)`` where that of ``x`` is at most ``m``. It needs the bound only, and is sharp where
    the scatter is small beside it. Differences may depend on one another, as long as the mean of
    each given those before is within what is allowed.
    """
    x, squares = batch.total / (2 * scale), batch.squares / (2 * scale) ** 2
    slack = batch.number * allowed / (2 * scale)
    price = (-np.log1p(-STAKES) - STAKES) * squares[..., None]
    up: Floats = STAKES * (x - slack)[..., None] - price
    down: Floats = STAKES * (-x - slack)[..., None] - price
    return np.concatenate([up, down], axis=-1)
