"""What no policy can beat: the lower bound of Lai and Robbins on the regret of Bernoulli arms."""

import numpy as np
from numpy.typing import ArrayLike


def lai_robbins(probabilities: ArrayLike) -> float:
    """Return the constant C of the bound: what is good on all bandits has a regret of at least C ln n.

        C = sum over arms a that are not best of (p* - p_a) / kl(p_a, p*)

    The bound holds as n goes to infinity; before that a policy may well stay below C ln n.

    Args:
      probabilities: `[A]` float, of the arms, in [0, 1].

    Raises:
      ValueError: if a probability lies outside [0, 1]; it is named.

    >>> round(lai_robbins([0.05, 0.08, 0.12]), 2)
    7.15

    Source: Lai and Robbins (1985), "Asymptotically efficient adaptive allocation rules", theorem 2.
    """
    p = np.asarray(probabilities, np.float64)
    wrong = np.flatnonzero(~((p >= 0) & (p <= 1)))
    if wrong.size:
        raise ValueError(f"`probabilities` must lie in [0, 1], got {p[wrong[0]]:g} at index {wrong[0]}")
    best = p.max()
    others = p[p < best]
    if best == 1.0:
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        successes = np.where(others > 0, others * np.log(others / best), 0.0)
    kl = successes + (1.0 - others) * np.log((1.0 - others) / (1.0 - best))
    return float(np.sum((best - others) / kl))
