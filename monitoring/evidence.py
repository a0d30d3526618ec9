"""Evidence that may be looked at whenever one likes: e-values, and wealth won by betting on harm.

An e-value is a number that is at least 0 and whose mean is at most 1 while a hypothesis holds.
Whoever multiplies the e-values of one batch of observations after another has a test
supermartingale, and by Ville's inequality it reaches ``1 / alpha`` at any moment, ever, with a
probability of at most ``alpha``: there is no number of looks to be declared, and stopping when one
likes what one sees costs nothing (Ramdas, Grünwald, Vovk and Shafer 2023, "Game-theoretic
statistics and safe anytime-valid inference", Statistical Science 38).

Three mixtures are made of such products, each of which is again of mean at most 1:

- over alternatives, because it is not known how large the harm is (the method of mixtures: Robbins
  1970; Johari, Koomen, Pekelis and Walsh 2022, "Always valid inference", Operations Research 70);
- over the batch with which the harm begins, so that a version that turns bad after a long good time
  is found as well: batch ``k`` is the beginning with the weight ``1 / (k (k + 1))``, and these sum
  to 1 (after the e-detectors of Shin, Ramdas and Rinaldo 2023, with weights that keep the rate of
  false alarms, for ever, below alpha);
- over the tests of one family (:func:`family`), which share one alpha and may depend on one another
  in any way (Vovk and Wang 2021, "E-values: calibration, combination and applications").

Everything is in logarithms, so that nothing overflows. Arrays may have leading dimensions: many
rollouts are then followed at once.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Wealth(NamedTuple):
    """What one test has won so far."""

    log_wealth: Floats
    """Of each alternative: natural logarithm, alternatives in the last dimension."""
    batches: int
    """How many batches were bet on."""


def begin(alternatives: int, rollouts: tuple[int, ...] = ()) -> Wealth:
    """The wealth before the first batch: nothing is staked, all is in reserve."""
    return Wealth(np.full((*rollouts, alternatives), -np.inf), 0)


def bet(wealth: Wealth, log_e: Floats) -> Wealth:
    """The wealth after a batch whose e-values for the alternatives are ``exp(log_e)``. They must be
    e-values given everything that was seen before the batch."""
    batch = wealth.batches + 1
    staked = np.logaddexp(wealth.log_wealth, -np.log(batch * (batch + 1.0)))
    return Wealth(staked + log_e, batch)


def log_e_value(wealth: Wealth) -> Floats:
    """Logarithm of the e-value of everything seen so far; 0 before the first batch."""
    won = log_mean(wealth.log_wealth)
    # The stakes of the first k batches sum to k / (k + 1).
    together: Floats = np.logaddexp(won, -np.log(wealth.batches + 1.0))
    return together


def family(log_e_values: Floats) -> Floats:
    """Logarithm of the e-value of several tests together (last dimension): their mean."""
    return log_mean(log_e_values)


def log_mean(logs: Floats) -> Floats:
    """Logarithm of the mean of ``exp(logs)`` over the last dimension; ``-inf`` is nothing."""
    mean: Floats = np.logaddexp.reduce(logs, axis=-1) - np.log(logs.shape[-1])
    return mean
