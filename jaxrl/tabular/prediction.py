"""Prediction with a table: the values of a policy, learned from what happened under it.

Every method takes a stream of experience (`Trajectory`, any number of episodes one after another) and
goes through it once, in order: `method(value [S], trajectory [T], learning_rate, gamma, ...)` returns the
new values and what `measure` says of them after each step. Pure functions: vmap them over streams, step
sizes, lambdas and n. The last entry of a stream is bootstrapped like a truncation, since nothing is known
beyond it; terminal states keep their first value and are never used.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jax.core import Tracer

from envs.core import Environment, Params
from envs.vector import VecEnv
from jaxrl import ops
from jaxrl.config import check_unit_interval
from jaxrl.rollout import unroll
from jaxrl.tabular import traces
from jaxrl.tabular.arguments import check_discount, check_number

Scalar = float | jax.Array
Measure = Callable[[jax.Array], Any]


@struct.dataclass
class Trajectory:
    """A stream of steps from s to s'; every leaf `[T]`.

    Attributes:
      obs: int32, s.
      reward: float32.
      next_obs: int32, the true s', also at an episode's end.
      terminated: bool, the process ended.
      truncated: bool, the clock ended it.
    """

    obs: jax.Array
    reward: jax.Array
    next_obs: jax.Array
    terminated: jax.Array
    truncated: jax.Array

    @property
    def done(self) -> jax.Array:
        """Whether an episode ended with the step."""
        return self.terminated | self.truncated


def sample(env: Environment, params: Params, policy: jax.Array, key: jax.Array, num_steps: int) -> Trajectory:
    """Return `num_steps` steps of a policy, `[T]`, one episode after another.

    Args:
      env: an environment with `Discrete` observations and actions.
      params: its parameters.
      policy: `[S, A]` probabilities.
      key: one key.
      num_steps: T.

    >>> import envs
    >>> env, params = envs.make("RandomWalk-v1")
    >>> sample(env, params, jnp.ones((7, 1)), jax.random.key(0), 50).obs.shape
    (50,)
    """
    vec = VecEnv(env, 1, reset="fresh")
    key_reset, key = jax.random.split(key)
    vec_state, obs = vec.reset(key_reset, params)
    logits = jnp.log(policy)

    def act(key, obs, carry):
        return jax.random.categorical(key, logits[obs]), None, carry

    *_, steps = unroll(vec, params, act, key, vec_state, obs, (), num_steps)
    return Trajectory(
        obs=steps.obs[:, 0],
        reward=steps.reward[:, 0],
        next_obs=steps.next_obs[:, 0],
        terminated=steps.terminated[:, 0],
        truncated=steps.truncated[:, 0],
    )


def td(
    value: jax.Array,
    trajectory: Trajectory,
    learning_rate: Scalar,
    gamma: Scalar,
    measure: Measure | None = None,
) -> tuple[jax.Array, Any]:
    """Return the values after TD(0), `[S]`, and the measurements `[T, ...]`.

        V(s) <- V(s) + learning_rate * (r + gamma * V(s') - V(s))

    Args:
      value: `[S]` float, the first values.
      trajectory: `[T]` steps.
      learning_rate: `[]` float.
      gamma: `[]` float in [0, 1].
      measure: `V [S] -> any`, evaluated after each step; nothing by default.

    Raises:
      ValueError: if `trajectory` is empty, or, concrete, `learning_rate` is negative or `gamma`
        is not in [0, 1].

    >>> walk = Trajectory(jnp.array([0]), jnp.array([1.0]), jnp.array([1]), *jnp.zeros((2, 1), bool))
    >>> td(jnp.array([0.0, 2.0]), walk, 0.5, 0.5)[0].tolist()
    [1.0, 2.0]

    Source: Sutton and Barto (2018), equation 6.2.
    """
    _check(trajectory, learning_rate, gamma)

    def update(value, step):
        error = _target(step, gamma, value[step.next_obs]) - value[step.obs]
        return value.at[step.obs].add(learning_rate * error)

    return _scan(update, value, trajectory, measure, lambda value: value)


def n_step_td(
    value: jax.Array,
    trajectory: Trajectory,
    learning_rate: Scalar,
    gamma: Scalar,
    n: int | jax.Array,
    measure: Measure | None = None,
) -> tuple[jax.Array, Any]:
    """Return the values after n-step TD, `[S]`, and the measurements `[T, ...]`.

        V(s_t) <- V(s_t) + learning_rate * (r_{t+1} + ... + gamma^{n-1} r_{t+n} + gamma^n V(s_{t+n}) - V(s_t))

    The updates are made in the order of t, which is that of the online algorithm; row t of the measurements
    follows the update of step t, so that at an episode's last row all its steps have been learned from.
    Each sum of rewards is added up on its own, longer by one step in each of n passes; n may be traced.

    Args:
      value: `[S]` float, the first values.
      trajectory: `[T]` steps.
      learning_rate: `[]` float.
      gamma: `[]` float in [0, 1].
      n: `[]` int, at least 1; 1 is TD(0), T or more is Monte Carlo.
      measure: as in `td`.

    Raises:
      ValueError: if `trajectory` is empty, or, concrete, `learning_rate` is negative, `gamma` is not in
        [0, 1], or `n` is no integer from 1.

    Source: Sutton and Barto (2018), section 7.1.
    """
    _check(trajectory, learning_rate, gamma)
    if not isinstance(n, Tracer) and not (np.asarray(n).dtype.kind in "iu" and np.all(np.asarray(n) >= 1)):
        raise ValueError(f"`n` must be at least 1, an integer, got {n}; 1 is TD(0)")
    rewards, discount, last_obs = _segments(trajectory, gamma, n)

    def update(value, step):
        obs, reward, discount, last_obs = step
        return value.at[obs].add(learning_rate * (reward + discount * value[last_obs] - value[obs]))

    steps = (trajectory.obs, rewards, discount, last_obs)
    return _scan(update, value, steps, measure, lambda value: value)


def monte_carlo(
    value: jax.Array,
    trajectory: Trajectory,
    learning_rate: Scalar | None,
    gamma: Scalar,
    first_visit: bool = False,
    measure: Measure | None = None,
) -> tuple[jax.Array, Any]:
    """Return the values after Monte Carlo prediction, `[S]`, and the measurements `[T, ...]`.

        V(s) <- V(s) + learning_rate * (G - V(s))

    with the return G from every visit of s to the episode's end, or only from the first one. A return that a
    time limit or the end of the stream cuts short goes on with the value of its last state. Row t of the
    measurements follows the update of step t; read them where an episode ends.

    Args:
      value: `[S]` float, the first values.
      trajectory: `[T]` steps.
      learning_rate: `[]` float, or None for 1 / (number of returns of s so far): the mean of all returns.
      gamma: `[]` float in [0, 1].
      first_visit: whether only the first visit of a state in each episode counts.
      measure: as in `td`.

    Raises:
      ValueError: if `trajectory` is empty, or, concrete, `learning_rate` is negative or `gamma`
        is not in [0, 1].

    Source: Sutton and Barto (2018), sections 5.1 (first and every visit) and 6.1 (constant step size).
    """
    _check(trajectory, learning_rate, gamma)
    rewards, discount, last_obs = _segments(trajectory, gamma, None)

    def update(carry, step):
        value, count, seen = carry
        obs, reward, discount, last_obs, done = step
        counts = ~seen[obs] if first_visit else jnp.ones((), bool)
        count = count.at[obs].add(counts)
        rate = 1.0 / jnp.maximum(count[obs], 1) if learning_rate is None else learning_rate
        error = reward + discount * value[last_obs] - value[obs]
        value = value.at[obs].add(jnp.where(counts, rate * error, 0.0))
        return value, count, seen.at[obs].set(True) & ~done

    steps = (trajectory.obs, rewards, discount, last_obs, trajectory.done)
    first = (value, jnp.zeros(value.shape, jnp.int32), jnp.zeros(value.shape, bool))
    return _scan(update, first, steps, measure, lambda carry: carry[0])


def td_lambda(
    value: jax.Array,
    trajectory: Trajectory,
    learning_rate: Scalar,
    gamma: Scalar,
    lambda_: Scalar,
    trace: str = "accumulating",
    offline: bool = False,
    measure: Measure | None = None,
) -> tuple[jax.Array, Any]:
    """Return the values after TD(lambda), the backward view, `[S]`, and the measurements `[T, ...]`.

        error = r + gamma * V(s') - V(s)
        V <- V + learning_rate * error * trace

    With dutch traces it is true online TD(lambda), which equals the online lambda-return algorithm.

    Args:
      value: `[S]` float, the first values.
      trajectory: `[T]` steps.
      learning_rate: `[]` float.
      gamma: `[]` float in [0, 1].
      lambda_: `[]` float in [0, 1]; 0 is TD(0).
      trace: "accumulating", "replacing" or "dutch".
      offline: hold the values fixed over the whole trajectory and add all changes at its end. With
        accumulating traces this equals `lambda_return`, the forward view.
      measure: as in `td`; offline, nothing moves before the end.

    Raises:
      ValueError: for an unknown kind of trace, or dutch ones offline, or if a concrete `gamma` or `lambda_`
        is not in [0, 1].

    Source: Sutton and Barto (2018), sections 12.2 and 12.5; van Seijen et al. (2016), "True online
    temporal-difference learning", https://arxiv.org/abs/1512.04087, algorithm 1.
    """
    _check(trajectory, learning_rate, gamma)
    check_unit_interval(lambda_=lambda_)
    if trace not in traces.KINDS:
        raise ValueError(f"`trace` must be one of {', '.join(map(repr, traces.KINDS))}, got {trace!r}")
    if offline and trace == "dutch":
        raise ValueError("`trace` must be 'accumulating' or 'replacing' offline, got 'dutch'")
    fixed = value

    def update(carry, step):
        value, e, expected = carry
        known = fixed if offline else value
        next_value = known[step.next_obs]
        error = _target(step, gamma, next_value) - known[step.obs]
        e = traces.visit(e, step.obs, gamma * lambda_, trace, learning_rate)
        if trace == "dutch":
            moved = known[step.obs] - expected
            value = value + learning_rate * (error + moved) * e
            value = value.at[step.obs].add(-learning_rate * moved)
        else:
            value = value + learning_rate * error * e
        going = ~(step.terminated | step.truncated)
        return value, jnp.where(going, e, 0.0), jnp.where(going, next_value, 0.0)

    first = (value, jnp.zeros_like(value), jnp.zeros((), value.dtype))
    return _scan(update, first, trajectory, measure, lambda carry: carry[0])


def lambda_return(
    value: jax.Array, trajectory: Trajectory, learning_rate: Scalar, gamma: Scalar, lambda_: Scalar
) -> jax.Array:
    """Return the values after the offline lambda-return algorithm, the forward view, `[S]`.

        V(s_t) <- V(s_t) + learning_rate * (G^lambda_t - V(s_t))    for all t, with V held fixed meanwhile

    Equals `td_lambda(..., offline=True)` with accumulating traces.

    Args:
      value: `[S]` float, the first values.
      trajectory: `[T]` steps.
      learning_rate: `[]` float.
      gamma: `[]` float in [0, 1].
      lambda_: `[]` float in [0, 1]; 1 is Monte Carlo.

    Raises:
      ValueError: if `trajectory` is empty, or, concrete, `learning_rate` is negative or `gamma`
        or `lambda_` is not in [0, 1].

    Source: Sutton and Barto (2018), equation 12.4, for several episodes at a time.
    """
    _check(trajectory, learning_rate, gamma)
    check_unit_interval(lambda_=lambda_)
    target = ops.lambda_returns(
        trajectory.reward,
        value[trajectory.next_obs],
        trajectory.terminated,
        trajectory.truncated,
        gamma,
        lambda_,
    )
    return value.at[trajectory.obs].add(learning_rate * (target - value[trajectory.obs]))


def _check(trajectory: Trajectory, learning_rate: Scalar | None, gamma: Scalar) -> None:
    check_discount(gamma)
    if learning_rate is not None:
        check_number("learning_rate", learning_rate, "at least 0", lambda x: x >= 0)
    if trajectory.obs.shape[0] == 0:
        raise ValueError("`trajectory` must hold at least one step, got none")


def _target(step: Trajectory, gamma: Scalar, next_value: jax.Array) -> jax.Array:
    return step.reward + jnp.where(step.terminated, 0.0, gamma * next_value)


def _scan(update, carry, steps, measure, value_of):
    def body(carry, step):
        carry = update(carry, step)
        return carry, None if measure is None else measure(value_of(carry))

    carry, measured = lax.scan(body, carry, steps)
    return value_of(carry), measured


def _segments(trajectory: Trajectory, gamma: Scalar, n: int | jax.Array | None) -> tuple:
    """Return each step's discounted sum of the next n rewards, the discount of what follows, and its state.

    All that the episode has, if n is None; fewer than n where the episode or the stream ends before. No
    difference of longer sums: that would lose small rewards beside a large one later on.
    """
    length = trajectory.obs.shape[0]
    steps = jnp.int32(length) if n is None else jnp.minimum(n, length)
    index = jnp.arange(length)
    last = trajectory.done.at[-1].set(True)
    end = lax.cummin(jnp.where(last, index, length), reverse=True)
    stop = jnp.minimum(index + steps - 1, end)
    reward = trajectory.reward

    def lengthen(_, total):
        return reward + jnp.where(last, 0.0, gamma * jnp.roll(total, -1))

    if n is None:
        zeros = jnp.zeros_like(reward)
        total = ops.discounted_returns(reward, zeros, trajectory.terminated, trajectory.truncated, gamma)
    else:
        total = lax.fori_loop(0, steps - 1, lengthen, reward)
    beyond = jnp.asarray(gamma, jnp.float32) ** (stop - index + 1)
    return total, jnp.where(trajectory.terminated[stop], 0.0, beyond), trajectory.next_obs[stop]
