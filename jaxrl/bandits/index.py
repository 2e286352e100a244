"""What UCB1, KL-UCB and MOSS share: an index of each arm, the highest of which is pulled."""

from collections.abc import Callable
from typing import Any

import jax

from jaxrl.bandits import estimates
from jaxrl.bandits.estimates import Estimates
from jaxrl.bandits.learner import Learner
from jaxrl.explore import selection
from jaxrl.ops.noise import bulk


def index_policy(
    num_arms: int,
    index: Callable[[Estimates], jax.Array],
    *,
    discount: float | jax.Array = 1.0,
    window: int = 0,
    read: Callable[[jax.Array], Any] = lambda reward: reward,
) -> Learner:
    """Return the policy that pulls an arm of the highest index, each of several with the same probability.

    Args:
      num_arms: A.
      index: `estimates -> [A]` float32; infinite for an arm that must be tried.
      discount: `[]` float, weight of a reward relative to that of the next pull.
      window: how many of the latest pulls count; 0 counts all.
      read: what is learned of a reward: itself, or for instance `learner.unit_reward` of it.
    """
    return Learner(
        init=lambda key: estimates.init(num_arms, window),
        draw=lambda key, num: bulk(jax.random.uniform, key, num, (num_arms,)),
        select=lambda beliefs, x, noise, n: selection.any_of(selection.best_actions(index(beliefs)), noise),
        update=lambda beliefs, x, arm, reward, n: estimates.update(beliefs, arm, read(reward), n, discount),
        values=lambda beliefs, x: estimates.means(beliefs),
    )
