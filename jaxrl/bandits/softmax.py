"""Softmax or Boltzmann exploration: arms in proportion to `exp(mean / temperature)`.

Source: Sutton and Barto (1998), section 2.3; Cesa-Bianchi et al. (2017), https://arxiv.org/abs/1705.10257,
for why no single temperature is right.
"""

import jax
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.bandits import estimates
from jaxrl.bandits.learner import Learner, algorithm, number_of_arms
from jaxrl.config import static, traced, validate
from jaxrl.explore import schedules
from jaxrl.ops.noise import bulk


@struct.dataclass
class Config:
    """Hyperparameters of softmax exploration."""

    temperature_start: float = traced(0.1, gt=0)
    """Temperature at the first pull, in units of the reward."""
    temperature_end: float = traced(0.01, gt=0)
    """Temperature after decay_steps pulls, unless the schedule is constant."""
    decay_steps: float = traced(10_000.0, gt=0)
    """Pulls over which the temperature falls."""
    initial_value: float = traced(0.0)
    """What an arm is worth until it is pulled."""
    discount: float = traced(1.0, gt=0, le=1)
    """Weight of a reward relative to that of the next pull; below 1 for arms that drift."""
    schedule: str = static("constant", choices=schedules.KINDS)
    """How it falls: it stays at temperature_start, or is linear, exponential, cosine or harmonic."""
    window: int = static(0, ge=0)
    """How many of the latest pulls count, for arms that drift; 0 counts all."""
    num_steps: int = static(100, ge=1)
    """Pulls an iteration."""

    def check(self) -> None:
        """Check the fields together; see `jaxrl.config.validate`."""
        ends = {"temperature_start": self.temperature_start, "temperature_end": self.temperature_end}
        schedules.check(self.schedule, **ends)


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return softmax exploration on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, or the actions are not discrete.
    """
    validate(config)
    num_arms = number_of_arms(env, params)
    temperature = schedules.make(
        config.schedule, config.temperature_start, config.temperature_end, config.decay_steps
    )

    def select(beliefs, x, gumbel, n):
        # The largest of logits with Gumbel noise is a draw from their softmax.
        return (values(beliefs, x) / temperature(n) + gumbel).argmax().astype("int32")

    def update(beliefs, x, arm, reward, n):
        return estimates.update(beliefs, arm, reward, n, config.discount)

    def values(beliefs, x):
        return estimates.means(beliefs, config.initial_value)

    learner = Learner(
        init=lambda key: estimates.init(num_arms, config.window),
        draw=lambda key, num: bulk(jax.random.gumbel, key, num, (num_arms,)),
        select=select,
        update=update,
        values=values,
    )
    return algorithm(env, params, learner, config.num_steps)
