"""Epsilon-greedy: a random arm now and then, else the one with the highest mean so far.

With a fixed epsilon its regret grows linearly for ever; with one that falls like 1 / n,
`schedule="harmonic"`, logarithmically, if it does not fall too fast for the gaps between the arms, which
are not known.

Source: Sutton and Barto (2018), sections 2.2 to 2.6; Auer et al. (2002), figure 3, for the decay.
"""

from collections.abc import Callable

import jax
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.bandits import estimates
from jaxrl.bandits.learner import Learner, algorithm, number_of_arms
from jaxrl.config import static, traced, validate
from jaxrl.explore import schedules, selection
from jaxrl.ops.noise import bulk


@struct.dataclass
class Config:
    """Hyperparameters of epsilon-greedy; the defaults are those of Sutton and Barto's figure 2.2."""

    epsilon_start: float = traced(0.1, ge=0, le=1)
    """Chance of a random arm at the first pull."""
    epsilon_end: float = traced(0.01, ge=0, le=1)
    """Chance of a random arm after decay_steps pulls, unless the schedule is constant."""
    decay_steps: float = traced(10_000.0, gt=0)
    """Pulls over which epsilon falls."""
    initial_value: float = traced(0.0)
    """What an arm is worth until it is pulled; above any reward, all are tried first (optimistic start)."""
    discount: float = traced(1.0, gt=0, le=1)
    """Weight of a reward relative to that of the next pull; below 1 for arms that drift."""
    schedule: str = static("constant", choices=schedules.KINDS)
    """How epsilon falls: it stays at epsilon_start, or is linear, exponential, cosine or harmonic."""
    window: int = static(0, ge=0)
    """How many of the latest pulls count, for arms that drift; 0 counts all."""
    num_steps: int = static(100, ge=1)
    """Pulls an iteration."""

    def check(self) -> None:
        """Check the fields together; see `jaxrl.config.validate`."""
        schedules.check(self.schedule, epsilon_start=self.epsilon_start, epsilon_end=self.epsilon_end)


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return epsilon-greedy on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, or the actions are not discrete.
    """
    validate(config)
    num_arms = number_of_arms(env, params)
    learner = explorer(
        num_arms,
        schedules.make(config.schedule, config.epsilon_start, config.epsilon_end, config.decay_steps),
        initial_value=config.initial_value,
        discount=config.discount,
        window=config.window,
    )
    return algorithm(env, params, learner, config.num_steps)


def explorer(
    num_arms: int,
    epsilon: Callable[[jax.Array], jax.Array],
    *,
    initial_value: float | jax.Array = 0.0,
    discount: float | jax.Array = 1.0,
    window: int = 0,
) -> Learner:
    """Return the policy that pulls any arm with probability `epsilon(n)`, else one of the highest mean.

    Args:
      num_arms: A.
      epsilon: of the number of pulls so far, `[]` int32; a schedule.
      initial_value: `[]` float, what an arm is worth until it is pulled.
      discount: `[]` float, weight of a reward relative to that of the next pull.
      window: how many of the latest pulls count; 0 counts all.
    """

    def select(beliefs, x, noise, n):
        explore = noise[0] < epsilon(n)
        return selection.any_of(explore | selection.best_actions(values(beliefs, x)), noise[1:])

    def values(beliefs, x):
        return estimates.means(beliefs, initial_value)

    return Learner(
        init=lambda key: estimates.init(num_arms, window),
        draw=lambda key, num: bulk(jax.random.uniform, key, num, (num_arms + 1,)),
        select=select,
        update=lambda beliefs, x, arm, reward, n: estimates.update(beliefs, arm, reward, n, discount),
        values=values,
    )
