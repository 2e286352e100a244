"""Train and evaluate: scans of `Algorithm.step`, with the evaluation inside the program."""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer

from envs.core import Environment, Params, time_limit
from envs.vector import VecEnv, where
from jaxrl import health
from jaxrl.algorithm import Algorithm, Metrics, Policy, State
from jaxrl.rollout import unroll

LOG_POINTS_PER_EVALUATION = 10
# An evaluation looks after so many steps whether all of its episodes have ended.
EVALUATION_BLOCK = 64
# The name of what evaluations add to the metrics of a learner that says what it expects.
OVERESTIMATION = "episode_overestimation"


@struct.dataclass
class Episodes:
    """Evaluation episodes; every leaf `[num_episodes]`.

    Attributes:
      return_: float32 undiscounted sum of rewards.
      length: int32 steps.
      done: bool, the episode ended within the horizon (else its sums so far are reported).
      metrics: the sum over the episode of each of the environment's metrics.
      overestimation: float32, what the policy expected less what it got, both discounted, in the mean over
        the episode's steps whose return is known (see `jaxrl.health.beliefs`), NaN if there is none; None if
        the policy does not say what it expects, and with which discount.
    """

    return_: jax.Array
    length: jax.Array
    done: jax.Array
    metrics: dict[str, jax.Array]
    overestimation: jax.Array | None = None


@struct.dataclass
class History:
    """What a training run reports; its size does not depend on the training length.

    Attributes:
      steps: `[E]` int32, environment steps done at each evaluation.
      episode_return: `[E, episodes]` float32, evaluation returns.
      episode_length: `[E, episodes]` int32, evaluation lengths.
      metric_steps: `[P]` int32, environment steps done at each log point.
      metrics: `[P]` float32 each, the mean over the iterations since the previous log point. Of a learner
        that says what it expects also `episode_overestimation`, the mean of `Episodes.overestimation` over
        the episodes of the evaluation at that log point; NaN where there is none.
    """

    steps: jax.Array
    episode_return: jax.Array
    episode_length: jax.Array
    metric_steps: jax.Array
    metrics: Metrics


@struct.dataclass
class Plan:
    """When to log and when to evaluate, in iterations; arrays, so that no length recompiles.

    Attributes:
      start: `[E, L]` int32, first iteration of each log interval.
      stop: `[E, L]` int32, one past its last. An evaluation follows each row.
    """

    start: Any
    stop: Any


def plan(
    steps_per_iteration: int, num_steps: int, evaluations: int = 10, log_points: int | None = None
) -> Plan:
    """Return the plan of a run of at least `num_steps` environment steps.

    Args:
      steps_per_iteration: as the algorithm says; 0 (offline) counts iterations as steps.
      num_steps: rounded up to whole iterations.
      evaluations: E, evenly spaced, the last at the end.
      log_points: a multiple of `evaluations`; ten for each evaluation by default, where there are
        so many iterations.

    Raises:
      ValueError: if there are fewer iterations than evaluations or log points.

    >>> plan(512, 2048, evaluations=2).stop.tolist()
    [[1, 2], [3, 4]]
    """
    iterations = num_iterations(steps_per_iteration, num_steps)
    if evaluations < 1:
        raise ValueError(f"`evaluations` must be at least 1, got {evaluations}")
    if iterations < evaluations:
        per = max(steps_per_iteration, 1)
        raise ValueError(
            f"`evaluations` must be at most the number of iterations, {iterations} "
            f"({num_steps} steps, {per} an iteration), got {evaluations}; train for longer or evaluate less"
        )
    if log_points is None:
        log_points = evaluations * min(LOG_POINTS_PER_EVALUATION, iterations // evaluations)
    if log_points % evaluations or not evaluations <= log_points <= iterations:
        raise ValueError(
            f"`log_points` must be a multiple of evaluations = {evaluations} and at most the number of "
            f"iterations, {iterations}, got {log_points}"
        )
    bounds = np.round(np.linspace(0, iterations, log_points + 1)).astype(np.int32)
    shape = (evaluations, log_points // evaluations)
    return Plan(start=bounds[:-1].reshape(shape), stop=bounds[1:].reshape(shape))


def num_iterations(steps_per_iteration: int, num_steps: int) -> int:
    """Return how many iterations make at least `num_steps` environment steps.

    >>> num_iterations(512, 500_000)
    977
    """
    if not 1 <= num_steps <= np.iinfo(np.int32).max:
        raise ValueError(f"`num_steps` must be from 1 to 2^31 - 1, got {num_steps}")
    return math.ceil(num_steps / max(steps_per_iteration, 1))


def train(
    algorithm: Algorithm,
    key: jax.Array,
    num_steps: int,
    *,
    evaluations: int = 10,
    eval_episodes: int = 16,
    eval_env: tuple[Environment, Params] | None = None,
    log_points: int | None = None,
) -> tuple[State, History]:
    """Return the trained state and its history. A pure function: jit it, vmap it over keys.

    The evaluations draw from a stream of keys of their own, so their number and length leave the
    trained state as it is, bit for bit.

    Args:
      algorithm: as a `make(env, params, config)` returned it.
      key: one key.
      num_steps: environment steps, rounded up to whole iterations.
      evaluations: how often the policy is evaluated, the last time at the end.
      eval_episodes: episodes of an evaluation.
      eval_env: `(environment, params)` to evaluate in; the algorithm's own by default.
      log_points: see `plan`.

    Returns:
      `(state, history)`.

    Raises:
      ValueError: if the numbers do not fit each other, or there is no environment to evaluate in.

    >>> import envs
    >>> from jaxrl.agents import ppo
    >>> algorithm = ppo.make(*envs.make("CartPole-v1"), ppo.Config(num_steps=8))
    >>> state, history = jax.jit(lambda key: train(algorithm, key, 64, evaluations=2))(jax.random.key(0))
    >>> history.episode_return.shape
    (2, 16)
    """
    check_total_steps(algorithm, num_steps)
    env, params = evaluation_env(algorithm, eval_env)
    horizon = time_limit(env, params)
    when = plan(algorithm.steps_per_iteration, num_steps, evaluations, log_points)
    return train_to_plan(algorithm, key, when, env, params, eval_episodes, horizon)


def check_total_steps(algorithm: Algorithm, num_steps: int) -> None:
    """Check that a run of `num_steps` does not outlast the algorithm's schedules; traced ones pass.

    Raises:
      ValueError: naming both numbers.
    """
    total = algorithm.total_steps
    if total is None or isinstance(total, Tracer):
        return
    if num_steps > float(total):
        raise ValueError(
            f"`num_steps` must be at most config.total_steps = {float(total):,.0f}, where the learning rate "
            f"reaches zero, got {num_steps:,}; set total_steps={num_steps} in the config"
        )


def evaluation_env(
    algorithm: Algorithm, eval_env: tuple[Environment, Params] | None
) -> tuple[Environment, Params]:
    """Return the environment to evaluate in and its parameters: those given, or the algorithm's own."""
    if eval_env is not None:
        return eval_env
    if algorithm.env is None:
        raise ValueError("`eval_env` must be given as (env, params): the algorithm learns in no environment")
    return algorithm.env, algorithm.params


def train_to_plan(
    algorithm: Algorithm,
    key: jax.Array,
    plan: Plan,
    env: Environment,
    params: Params,
    eval_episodes: int,
    horizon: int,
) -> tuple[State, History]:
    """Return `train`'s result for a plan whose entries may be traced; see `train`."""
    key_init, key_eval = split_key(key)
    state = algorithm.init(key_init)

    def interval(state, bounds):
        return run_interval(algorithm, state, *bounds)

    def segment(state, at):
        index, start, stop = at
        state, metrics = jax.lax.scan(interval, state, (start, stop))
        key = evaluation_key(key_eval, index)
        episodes = evaluate(algorithm.policy(state), env, params, key, eval_episodes, horizon)
        if episodes.overestimation is not None:
            never = jnp.full(start.shape, jnp.nan, jnp.float32)
            metrics = metrics | {OVERESTIMATION: never.at[-1].set(jnp.nanmean(episodes.overestimation))}
        return state, (episodes.return_, episodes.length, metrics)

    start, stop = jnp.asarray(plan.start), jnp.asarray(plan.stop)
    state, (returns, lengths, metrics) = jax.lax.scan(
        segment, state, (jnp.arange(len(start), dtype=jnp.int32), start, stop)
    )
    per = max(algorithm.steps_per_iteration, 1)
    return state, History(
        steps=stop[:, -1] * per,
        episode_return=returns,
        episode_length=lengths,
        metric_steps=stop.reshape(-1) * per,
        metrics={name: x.reshape(-1) for name, x in metrics.items()},
    )


def split_key(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return a seed's two streams: the key of `Algorithm.init`, and the key of its evaluations."""
    key_init, key_eval = jax.random.split(key)
    return key_init, key_eval


def evaluation_key(key_eval: jax.Array, index: jax.Array | int) -> jax.Array:
    """Return the key of evaluation number `index`, from the stream that `split_key` set apart."""
    return jax.random.fold_in(key_eval, index)


def run_interval(
    algorithm: Algorithm, state: State, start: jax.Array | int, stop: jax.Array | int
) -> tuple[State, Metrics]:
    """Return the state after the iterations `start`, ..., `stop` - 1, and the means of their metrics.

    The bounds are shared by all seeds and may be traced: no length recompiles, and memory does not
    grow with it. Metrics named `episode_*` are weighted by the number of `episodes`, which is summed.
    """
    start, stop = jnp.asarray(start, jnp.int32), jnp.asarray(stop, jnp.int32)
    shapes = jax.eval_shape(algorithm.step, state, start)[1]
    totals = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def weight(name, value, metrics):
        if not name.startswith("episode_"):
            return value
        return jnp.where(metrics["episodes"] > 0, value * metrics["episodes"], 0.0)

    def iteration(t, loop):
        state, totals = loop
        state, metrics = algorithm.step(state, t)
        return state, {name: totals[name] + weight(name, x, metrics) for name, x in metrics.items()}

    state, totals = jax.lax.fori_loop(start, stop, iteration, (state, totals))

    def mean(name, total):
        if name == "episodes":
            return total
        return total / (totals["episodes"] if name.startswith("episode_") else (stop - start))

    return state, {name: mean(name, total) for name, total in totals.items()}


def evaluate(
    policy: Policy,
    env: Environment,
    params: Params,
    key: jax.Array,
    num_episodes: int,
    max_steps: int | None = None,
) -> Episodes:
    """Return the statistics of the policy's first episode in each of `num_episodes` environments.

    It ends with the last of them, and at the horizon at the latest, so an endless environment cannot
    hang it.

    Args:
      policy: as `algorithm.policy(state)` returns it.
      env: the environment.
      params: its parameters.
      key: one key.
      num_episodes: how many.
      max_steps: the horizon; the environment's own time limit by default (1,000 if it has none).
    """
    if num_episodes < 1:
        raise ValueError(f"`num_episodes` must be at least 1, got {num_episodes}")
    max_steps = time_limit(env, params) if max_steps is None else max_steps
    if max_steps < 1:
        raise ValueError(f"`max_steps` must be at least 1, got {max_steps}")
    vec = VecEnv(env, num_episodes, reset="first")
    key_reset, key_unroll = jax.random.split(key)
    vec_state, obs = vec.reset(key_reset, params)
    carry = jax.tree.map(lambda x: jnp.broadcast_to(x, (num_episodes, *jnp.shape(x))), policy.init())
    num_blocks = math.ceil(max_steps / EVALUATION_BLOCK)
    block_size = math.ceil(max_steps / num_blocks)
    keys = jax.random.split(key_unroll, num_blocks)
    gamma = policy.discount
    value = None if gamma is None else policy.value

    def act(key, obs, carry):
        predicted = None if value is None else jax.vmap(value)(obs, carry)
        action, carry = jax.vmap(policy.act)(obs, carry, jax.random.split(key, num_episodes))
        return action, predicted, carry

    def block(loop):
        i, vec_state, obs, carry, episodes, seen = loop
        vec_state, obs, carry, transitions = unroll(
            vec, params, act, keys[i], vec_state, obs, carry, block_size
        )
        last = jnp.minimum(block_size, max_steps - i * block_size) - 1
        done = transitions.episode.done & (jnp.arange(block_size) <= last)[:, None]
        ended = jnp.any(done, axis=0)
        at = jnp.where(ended, jnp.argmax(done, axis=0), last)
        stats = jax.tree.map(lambda x: jnp.take_along_axis(x, at[None], axis=0)[0], transitions.episode)
        first = Episodes(stats.return_, stats.length, ended, stats.metrics)
        if seen is not None:
            new = (transitions.extras, transitions.reward, transitions.terminated, transitions.truncated)
            seen = jax.tree.map(
                lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y, i * block_size, axis=0), seen, new
            )
        return i + 1, vec_state, obs, carry, where(episodes.done, episodes, first), seen

    def goes_on(loop):
        i, *_, episodes, _ = loop
        return (i < num_blocks) & ~jnp.all(episodes.done)

    before = vec_state.episode
    none = Episodes(before.return_, before.length, before.done, before.metrics)
    seen = None
    if value is not None:
        shape = (num_blocks * block_size, num_episodes)
        seen = tuple(jnp.zeros(shape, dtype) for dtype in (jnp.float32, jnp.float32, bool, bool))
    start = (jnp.int32(0), vec_state, obs, carry, none, seen)
    *_, episodes, seen = jax.lax.while_loop(goes_on, block, start)
    if seen is None or gamma is None:
        return episodes
    predicted, reward, terminated, truncated = (x[:max_steps] for x in seen)
    found = health.compare(predicted, reward, terminated, truncated, gamma)
    excess = jnp.sum((found.predicted - found.realised) * found.known, axis=0)
    return replace(episodes, overestimation=excess / jnp.sum(found.known, axis=0))
