"""E-values for shares: of requests that fail, that are slow, whose answers differ.

An observation is a number from 0 to 1 (mostly one of the two), and a batch is known by how many
there were and by their sum: nothing here depends on the order within a batch. Whatever is said of
Bernoulli observations holds for numbers in between too, because ``a**x * b**(1 - x)`` is at most
``x a + (1 - x) b``.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from monitoring.evidence import Floats

ODDS: Final = np.array([1.25, 1.5, 2.0, 4.0, 10.0, 50.0])
"""The alternatives: by how much the odds of harm are above what is allowed."""
LEAST: Final = 1e-6
"""Shares of alternatives stay this far from 0: nothing is ever thought impossible."""
HEADROOM: Final = 1e-3
"""And this far from 1, where numbers lie less densely."""
PRIOR_HARM: Final = 0.5
PRIOR_COUNT: Final = 50.0
"""What the control's share is guessed from before there is anything: one in a hundred."""
_HALVINGS: Final = 60


class Counts(NamedTuple):
    """Observations of a batch, as arrays of one shape."""

    number: Floats
    harm: Floats
    """Sum of the observations: at most ``number``."""


def counts(number: object, harm: object) -> Counts:
    """Counts from whatever numbers."""
    return Counts(np.asarray(number, dtype=np.float64), np.asarray(harm, dtype=np.float64))


def expected_share(seen: Counts) -> Floats:
    """A guess at a share from earlier batches, for :func:`above_control`'s ``expected``."""
    share: Floats = (seen.harm + PRIOR_HARM) / (seen.number + PRIOR_COUNT)
    return share


def above_limit(batch: Counts, limit: float | Floats) -> Floats:
    """Log e-values, one for each of :data:`ODDS`, against "the mean is at most ``limit``".

    The likelihood ratio of a Bernoulli alternative ``q > limit`` to ``limit`` itself. Its mean is
    linear in the true share and 1 at ``limit``; the slope is positive, so that it is at most 1
    below as well. Only the mean given what came before matters: observations may depend on one
    another.
    """
    allowed = np.clip(np.asarray(limit), LEAST, 1 - HEADROOM)[..., None]
    alternative = _raised(allowed)
    harm, number = batch.harm[..., None], batch.number[..., None]
    ratio: Floats = harm * np.log(alternative / allowed) + (number - harm) * np.log(
        (1 - alternative) / (1 - allowed)
    )
    return ratio


def above_control(treated: Counts, control: Counts, expected: Floats, margin: float) -> Floats:
    """Log e-values, one for each of :data:`ODDS`, against "in this batch the mean of the treated is
    at most that of the control plus ``margin``".

    Turner, Ly and Grünwald 2024 ("Generic E-variables for exact sequential k-sample tests that
    allow for optional stopping") and Turner and Grünwald 2023 ("Exact anytime-valid confidence
    intervals for contingency tables and beyond"): the likelihood of the alternative (control share
    ``expected``, treated share raised by the odds) over that of the element of the null hypothesis
    that is closest to it in Kullback-Leibler divergence, both arms weighted by their counts.

    Why this is an e-value, for arms of any sizes: a treated observation of share ``c`` gives its
    ratio a mean ``g(c)`` that is linear in ``c``, one of the control ``h(s)`` likewise, so that
    ``F = n_c log g(c) + n_s log h(s)`` is concave. At the closest element ``F`` is 0, and its
    gradient there is the negative of the divergence's, which points out of the convex null
    hypothesis. So ``F <= 0`` on all of it. Concavity also allows each observation a share of its
    own, as long as the means of the batch are as said: a load that comes and goes for both arms
    alike is no harm.

    ``expected`` must not depend on the batch. A batch that lacks an arm says nothing: 0.
    """
    start = np.clip(expected, LEAST, 1 - margin - HEADROOM)[..., None]
    alternative = _raised(start + margin)
    n_c, n_s = treated.number[..., None], control.number[..., None]
    x_c, x_s = treated.harm[..., None], control.harm[..., None]
    closest = _closest(alternative, start, n_c, n_s, margin)
    moved = np.minimum(closest + margin, alternative)
    ratio: Floats = (
        x_c * np.log(alternative / moved)
        + (n_c - x_c) * (np.log1p(-alternative) - np.log1p(-moved))
        + x_s * np.log(start / closest)
        + (n_s - x_s) * (np.log1p(-start) - np.log1p(-closest))
    )
    return np.where((n_c > 0) & (n_s > 0), ratio, 0.0)


def _raised(share: Floats | float) -> Floats:
    """Shares whose odds are those of ``share`` times :data:`ODDS`."""
    odds = share / (1 - share) * ODDS
    raised: Floats = odds / (1 + odds)
    return raised


def _closest(alternative: Floats, start: Floats, n_c: Floats, n_s: Floats, margin: float) -> Floats:
    """The control's share in the closest element of the null hypothesis: where the derivative of
    ``n_c KL(alternative, x + margin) + n_s KL(start, x)``, which grows with ``x``, is 0."""
    if margin == 0:
        weight: Floats = n_c / np.maximum(n_c + n_s, 1)
        return weight * alternative + (1 - weight) * start
    low, high = np.broadcast_arrays(start, alternative - margin)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        moved = middle + margin
        slope = n_c * (moved - alternative) * middle * (1 - middle) + n_s * (
            middle - start
        ) * moved * (1 - moved)
        low, high = np.where(slope < 0, middle, low), np.where(slope < 0, high, middle)
    closest: Floats = (low + high) / 2
    return closest


def upper_bound(seen: Counts, alpha: float) -> Floats:
    """A share that the true one is above with a probability of at most ``alpha``, at whatever
    moments this is asked while observations gather.

    The confidence sequence of Robbins 1970: where the Beta(1/2, 1/2) mixture of likelihoods is at
    least ``1 / alpha`` times that of a share, the share is out.
    """
    number, harm = seen.number, seen.harm
    mixture = _log_beta(harm + 0.5, number - harm + 0.5) - _log_beta(0.5, 0.5)
    low = np.where(number > 0, harm / np.maximum(number, 1), 1.0)
    high = np.ones_like(low)
    for _ in range(_HALVINGS):
        share = np.clip((low + high) / 2, LEAST * LEAST, 1 - 1e-12)
        likelihood = harm * np.log(share) + (number - harm) * np.log1p(-share)
        within = mixture - likelihood < -np.log(alpha)
        low, high = np.where(within, share, low), np.where(within, high, share)
    return high


def _log_beta(a: Floats | float, b: Floats | float) -> Floats:
    found: Floats = _log_gamma(a) + _log_gamma(b) - _log_gamma(np.add(a, b))
    return found


_log_gamma: Final = np.vectorize(math.lgamma, otypes=[np.float64])
