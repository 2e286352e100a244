"""Running mean and variance, as part of an algorithm's state.

Float32 alone would stall: once the count is large, an update is smaller than half a unit in the last
place of the mean and is lost, and beyond 2^24 so is the count. So the count is an integer, deviations are
taken from the present mean, and mean and variance each carry the rounding error of their last sum.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

_MAX_COUNT = np.iinfo(np.int32).max


@struct.dataclass
class RunningStatistics:
    """The mean and variance of all samples seen so far.

    Attributes:
      count: `[]` int32, samples seen; it stays at 2^31 - 1, from where on old samples fade.
      mean: `[*shape]` float32.
      variance: `[*shape]` float32, over the population; 1 before the first sample.
      mean_error: `[*shape]` float32, what rounding has left out of `mean`.
      variance_error: `[*shape]` float32, what rounding has left out of `variance`.
    """

    count: jax.Array
    mean: jax.Array
    variance: jax.Array
    mean_error: jax.Array
    variance_error: jax.Array


def init(shape: tuple[int, ...]) -> RunningStatistics:
    """Return the statistics of no samples, under which `normalize` is the identity up to its clip.

    >>> int(init((3,)).count)
    0
    """
    return RunningStatistics(
        count=jnp.zeros((), jnp.int32),
        mean=jnp.zeros(shape, jnp.float32),
        variance=jnp.ones(shape, jnp.float32),
        mean_error=jnp.zeros(shape, jnp.float32),
        variance_error=jnp.zeros(shape, jnp.float32),
    )


def update(
    statistics: RunningStatistics, samples: jax.Array, axis_name: str | None = None
) -> RunningStatistics:
    """Return the statistics with a batch of samples added.

        w         = n_batch / (n + n_batch)
        mean     += w * (mean_batch - mean)
        variance += w * (variance_batch - variance) + w (1 - w) (mean_batch - mean)^2

    Args:
      statistics: of samples of shape `shape`.
      samples: `[..., *shape]`, at least one.
      axis_name: name of a mapped axis whose batches, of equal size, are added too.

    Raises:
      ValueError: if `samples` do not end with the shape of the statistics, or are none.

    >>> statistics = update(init(()), jnp.array([1.0, 3.0]))
    >>> float(statistics.mean), float(statistics.variance)
    (2.0, 1.0)

    Source: Chan, Golub and LeVeque (1979), "Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances"; Kahan (1965) for the compensation.
    """
    shape = statistics.mean.shape
    _check_shape("samples", samples, shape)
    samples = samples.reshape(-1, *shape).astype(jnp.float32)
    batch_size = samples.shape[0]
    if batch_size == 0:
        raise ValueError("`samples` must hold at least one sample, got none")
    deviation = (samples - statistics.mean[None]) - statistics.mean_error[None]
    shift = _mean(deviation, axis_name)
    batch_variance = _mean(jnp.square(deviation - shift[None]), axis_name)
    if axis_name is not None:
        batch_size = batch_size * lax.axis_size(axis_name)
    # The weight is formed in float32: an int32 sum would overflow at the end of its range.
    size, old = jnp.float32(batch_size), statistics.count.astype(jnp.float32)
    weight = size / (old + size)
    growth = (batch_variance - statistics.variance) + (1.0 - weight) * jnp.square(shift)
    mean, mean_error = _compensated_add(statistics.mean, statistics.mean_error, weight * shift)
    variance, variance_error = _compensated_add(
        statistics.variance, statistics.variance_error, weight * growth
    )
    count = statistics.count + jnp.minimum(jnp.int32(batch_size), _MAX_COUNT - statistics.count)
    return RunningStatistics(count, mean, jnp.maximum(variance, 0.0), mean_error, variance_error)


def normalize(
    statistics: RunningStatistics, x: jax.Array, clip: float = 10.0, epsilon: float = 1e-8
) -> jax.Array:
    """Return `clip((x - mean) / sqrt(variance + epsilon), -clip, clip)`.

    Args:
      statistics: of samples of shape `shape`; no gradient flows into them.
      x: `[..., *shape]`.
      clip: bound of the result; 10 as in OpenAI baselines' VecNormalize.
      epsilon: added to the variance.

    Returns:
      `[..., *shape]` float32.

    Raises:
      ValueError: if `x` does not end with the shape of the statistics.

    >>> float(normalize(update(init(()), jnp.array([1.0, 3.0])), jnp.float32(3.0)))
    1.0
    """
    shape = statistics.mean.shape
    _check_shape("x", x, shape)
    mean, variance = lax.stop_gradient((statistics.mean, statistics.variance))
    leading = (1,) * (x.ndim - len(shape))
    scale = lax.rsqrt(variance + epsilon).reshape(*leading, *shape)
    return jnp.clip((x.astype(jnp.float32) - mean.reshape(*leading, *shape)) * scale, -clip, clip)


@struct.dataclass
class RewardScale:
    """What rewards are divided by: the spread of discounted returns.

    Attributes:
      statistics: of the discounted sums of past rewards, over all steps and environments.
      running: `[B]` float32, that sum of the episode that each environment is in.
    """

    statistics: RunningStatistics
    running: jax.Array


def init_rewards(num_envs: int) -> RewardScale:
    """Return the scale before the first reward, which leaves rewards as they are."""
    return RewardScale(statistics=init(()), running=jnp.zeros(num_envs, jnp.float32))


def scale_rewards(
    scale: RewardScale,
    reward: jax.Array,
    done: jax.Array,
    gamma: float | jax.Array,
    axis_name: str | None = None,
    clip: float = 10.0,
) -> tuple[RewardScale, jax.Array]:
    """Return the scale with a rollout added, and the rewards divided by the deviation it then has.

        R_t      = gamma R_{t-1} + r_t,   begun anew after an episode's end
        scaled_t = clip(r_t / std(R), -clip, clip)

    Rewards keep their sign and zero. No policy depends on them, so the rollout may count before they are
    scaled, which spares the first one an arbitrary scale.

    Args:
      scale: as `init_rewards` or this function returned it.
      reward: `[T, B]` float32.
      done: `[T, B]` bool, the episode ended with this step.
      gamma: `[]` float in [0, 1].
      axis_name: name of a mapped axis whose environments count too.
      clip: bound of the result; 10 as in OpenAI baselines' VecNormalize.

    >>> never = jnp.zeros((2, 1), bool)
    >>> scale, scaled = scale_rewards(init_rewards(1), jnp.ones((2, 1)), never, 1.0)
    >>> scale.running.tolist(), scaled[:, 0].tolist()
    ([2.0], [2.0, 2.0])

    Source: OpenAI baselines' VecNormalize; detail 6 of continuous control in Huang et al. (2022), "The 37
    Implementation Details of PPO".
    """

    def accumulate(running, inputs):
        reward, done = inputs
        total = gamma * running + reward
        return jnp.where(done, 0.0, total), total

    running, totals = lax.scan(accumulate, scale.running, (reward, done))
    statistics = update(scale.statistics, totals, axis_name)
    scale = RewardScale(statistics, running)
    return scale, jnp.clip(reward / reward_deviation(scale), -clip, clip)


def reward_deviation(scale: RewardScale, epsilon: float = 1e-8) -> jax.Array:
    """Return the standard deviation of discounted returns, by which rewards are divided, `[]` float32.

    No gradient flows into it: a return is not made larger by returns that differ less.
    """
    return jnp.sqrt(lax.stop_gradient(scale.statistics.variance) + epsilon)


def _mean(x: jax.Array, axis_name: str | None) -> jax.Array:
    mean = jnp.mean(x, axis=0)
    return mean if axis_name is None else lax.pmean(mean, axis_name)


def _compensated_add(x: jax.Array, error: jax.Array, increment: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the float32 nearest to `x + error + increment`, and what is left of that sum."""
    increment = increment + error
    total = x + increment
    virtual = total - x
    return total, (x - (total - virtual)) + (increment - virtual)


def _check_shape(name: str, x: jax.Array, shape: tuple[int, ...]) -> None:
    if math.prod(shape) == 0 or x.shape[x.ndim - len(shape) :] != shape or x.ndim < len(shape):
        raise ValueError(f"`{name}` must end with the shape of the statistics, {shape}, got {x.shape}")
