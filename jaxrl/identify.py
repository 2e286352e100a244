"""System identification: which robot made these trajectories? By populations and by gradients.

Both search the ranges of an `envs.physics.Randomized` world for the values whose replay of the recorded
actions comes closest to the recorded observations. Neither has a Python loop, so both vmap over robots.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer

from envs.checks import check_env_like, check_size
from envs.core import Environment, Params
from envs.physics.randomization import Randomized, check_randomized
from envs.spaces import Box
from envs.wrappers import WrappedParams

# `(start, params) -> state`: the first state of a trajectory in a robot of these params.
Begin = Callable[[Any, Params], Any]
# A value as near as this to an end of its range, as a share of it, is taken to be at the end.
AT_END = 1e-4


@struct.dataclass
class Trajectories:
    """What was done to a robot and what it showed; N trajectories of T steps.

    Attributes:
      start: `[N, ...]` what each began from; by default the keys of its reset.
      action: `[N, T, ...]`.
      obs: `[N, T, O]` float32, after each action.
    """

    start: Any
    action: Any
    obs: jax.Array


@struct.dataclass
class Fit:
    """What was identified.

    Attributes:
      values: `[D]` one a variation, the best found; NaN if no robot that was tried had a finite error.
      error: `[]` its prediction error.
      spread: `[D]` how well it is known: the deviation from the best of all starts that predict as well
        (error up to 1e-6 or twice the least), which is large where the data cannot tell robots apart; for
        the cross-entropy method that of the last elites, which only says how far it has converged.
        Infinite for a value at an end of its range: the true one may lie beyond, and the others are then
        those that go best with this end; widen the range. NaN where the values are.
      history: `[iterations]` the least error up to each iteration.
    """

    values: jax.Array
    error: jax.Array
    spread: jax.Array
    history: jax.Array


def record(
    env: Environment, params: Params, key: jax.Array, num: int, length: int, hold: int = 1
) -> Trajectories:
    """Return trajectories of random actions, from a robot that is not known to the one who identifies.

    Args:
      env: the plain environment, with observations of one axis.
      params: the robot's.
      key: one key.
      num: N.
      length: T.
      hold: steps for which each action is held, so that heavy joints move.

    Raises:
      ValueError: if a number is not positive, or observations are no vector.
    """
    check_env_like(env)
    _vector_size(env, params)
    for name, value in (("num", num), ("length", length), ("hold", hold)):
        check_size(name, value)
    key_start, key_actions = jax.random.split(key)
    start = jax.random.split(key_start, num)
    keys = jax.random.split(key_actions, (num, -(-length // hold)))
    action = jax.vmap(jax.vmap(env.action_space(params).sample))(keys)
    action = jax.tree.map(lambda x: jnp.repeat(x, hold, axis=1)[:, :length], action)
    replayed = jax.vmap(lambda start, action: _replay(env, params, start, action, _begin_by_key(env)))
    return Trajectories(start, action, replayed(start, action))


def residuals(
    env: Randomized, params: WrappedParams, values: jax.Array, data: Trajectories, begin: Begin | None = None
) -> jax.Array:
    """Return (predicted obs - recorded obs) / scale, `[N, T, O]`, for the robot of `values` `[D]`.

    The whole trajectory is predicted from its start, open loop. The scale of an observation is its standard
    deviation over the data, at least a thousandth of the largest.

    Raises:
      ValueError: if the data are no record of `env`: a wrong shape would be broadcast.
    """
    _check_data(env, params, data, begin)
    begin = _begin_by_key(env.env) if begin is None else begin
    robot = env.bind(params.env, values)
    replayed = jax.vmap(lambda start, action: _replay(env.env, robot, start, action, begin))
    deviation = jnp.std(data.obs, axis=(0, 1))
    scale = jnp.maximum(deviation, 1e-3 * jnp.max(deviation) + 1e-9)
    return (replayed(data.start, data.action) - data.obs) / jnp.broadcast_to(scale, data.obs.shape)


def prediction_error(
    env: Randomized, params: WrappedParams, values: jax.Array, data: Trajectories, begin: Begin | None = None
) -> jax.Array:
    """Return the mean squared residual `[]`; infinity where the prediction is not finite."""
    error = jnp.mean(jnp.square(residuals(env, params, values, data, begin)))
    return jnp.where(jnp.isfinite(error), error, jnp.inf)


def cross_entropy(
    env: Randomized,
    params: WrappedParams,
    data: Trajectories,
    key: jax.Array,
    *,
    iterations: int = 20,
    population: int = 64,
    elites: int = 8,
    begin: Begin | None = None,
) -> Fit:
    """Return the robot found by the cross-entropy method within the ranges of `params`.

        z ~ N(mean, deviation),  clipped to the ranges;  mean, deviation <- those of the best `elites`

    Needs no gradient, so contacts and steps do not matter.

    Args:
      env: which quantities are unknown.
      params: with the ranges to search.
      data: recorded trajectories.
      key: one key.
      iterations: how often the population is drawn.
      population: candidates of an iteration, replayed side by side.
      elites: how many of them are kept.
      begin: see `Begin`.

    Raises:
      ValueError: if `env` is no `Randomized`, `params` are not its own or have an impossible range, the data
        are no record of it or not finite (traced numbers pass), `iterations` or `population` is not
        positive, or `elites` is not from 2 to `population`.

    Source: Rubinstein (1999), The cross-entropy method for combinatorial and continuous optimization.
    """
    _check_search(env, params, data, begin)
    for name, value in (("iterations", iterations), ("population", population), ("elites", elites)):
        check_size(name, value)
    if not 2 <= elites <= population:
        raise ValueError(f"`elites` must be from 2 to population = {population}, got {elites}")
    size = len(env.variations)

    def errors(units):
        return jax.vmap(lambda unit: prediction_error(env, params, env.from_unit(unit, params), data, begin))(
            units
        )

    def iteration(carry, key):
        mean, deviation, best, least = carry
        noise = jax.random.normal(key, (population, size))
        units = jnp.clip(mean[None] + deviation[None] * noise, 0.0, 1.0)
        error = errors(units)
        order = jnp.argsort(error)[:elites]
        chosen = units[order]
        better = error[order[0]] < least
        best = jnp.where(better, chosen[0], best)
        least = jnp.minimum(error[order[0]], least)
        # An elite that has met in one point would never leave it again.
        deviation = jnp.maximum(jnp.std(chosen, axis=0), 1e-5)
        return (jnp.mean(chosen, axis=0), deviation, best, least), least

    middle = jnp.full(size, 0.5)
    start = (middle, jnp.full(size, 0.5), middle, jnp.float32(jnp.inf))
    (mean, deviation, best, least), history = jax.lax.scan(
        iteration, start, jax.random.split(key, iterations)
    )
    upper, lower = (env.from_unit(jnp.clip(mean + s * deviation, 0, 1), params) for s in (1, -1))
    return _fit(env, params, best, least, 0.5 * (upper - lower), history)


def gauss_newton(
    env: Randomized,
    params: WrappedParams,
    data: Trajectories,
    key: jax.Array,
    *,
    iterations: int = 20,
    starts: int = 8,
    begin: Begin | None = None,
) -> Fit:
    """Return the robot found by gradients through the simulator, from several starts at once.

        (J^T J + lambda diag(J^T J)) step = -J^T r,    r the residuals, J their Jacobian

    A step that makes the error less is taken and lambda falls; else it is not, and lambda grows. Derivatives
    are taken forwards, which costs one replay a quantity, stores nothing on the way, and passes through the
    loops of a contact solver, which cannot be run backwards.

    Args:
      env: which quantities are unknown.
      params: with the ranges to search.
      data: recorded trajectories.
      key: of the starts, uniform within the ranges.
      iterations: of each start.
      starts: how many, side by side.
      begin: see `Begin`.

    Raises:
      ValueError: if `env` is no `Randomized`, `params` are not its own or have an impossible range, the data
        are no record of it or not finite (traced numbers pass), or `iterations` or `starts` is not positive.

    Source: Marquardt (1963), An algorithm for least-squares estimation of nonlinear parameters.
    """
    _check_search(env, params, data, begin)
    check_size("iterations", iterations)
    check_size("starts", starts)
    size = len(env.variations)

    def residual(unit):
        return residuals(env, params, env.from_unit(unit, params), data, begin).ravel()

    def error_of(r):
        error = jnp.mean(jnp.square(r))
        return jnp.where(jnp.isfinite(error), error, jnp.inf)

    def iteration(carry, _):
        unit, damping, least = carry
        r, jacobian = residual(unit), jax.jacfwd(residual)(unit)
        normal, gradient = jacobian.T @ jacobian, jacobian.T @ r
        damped = normal + jnp.diag(damping * jnp.diag(normal) + 1e-12)
        move = _solve(damped, -gradient)
        move = jnp.where(jnp.isfinite(move), move, 0.0)
        candidate = jnp.clip(unit + move, 0.0, 1.0)
        error = error_of(residual(candidate))
        better = error < least
        unit = jnp.where(better, candidate, unit)
        damping = jnp.clip(jnp.where(better, damping / 5, damping * 5), 1e-9, 1e9)
        least = jnp.minimum(error, least)
        return (unit, damping, least), least

    def descend(unit):
        start = (unit, jnp.float32(1e-2), error_of(residual(unit)))
        (unit, _, least), history = jax.lax.scan(iteration, start, None, iterations)
        return unit, least, history

    units, errors, histories = jax.vmap(descend)(jax.random.uniform(key, (starts, size)))
    best = jnp.argmin(errors)
    values = jax.vmap(lambda unit: env.from_unit(unit, params))(units)
    as_good = errors <= 2.0 * errors[best] + 1e-6
    away = jnp.where(as_good[:, None], jnp.square(values - values[best][None]), 0.0)
    spread = jnp.sqrt(jnp.sum(away, axis=0) / jnp.sum(as_good))
    return _fit(env, params, units[best], errors[best], spread, jnp.min(histories, axis=0))


def _fit(
    env: Randomized,
    params: WrappedParams,
    unit: jax.Array,
    error: jax.Array,
    spread: jax.Array,
    history: jax.Array,
) -> Fit:
    """Return the fit at a point of the unit cube `[D]`, whose `spread` `[D]` is that inside the ranges."""
    is_at_end = ((unit <= AT_END) | (unit >= 1 - AT_END)) & (params.values["low"] < params.values["high"])
    spread = jnp.where(is_at_end, jnp.inf, spread)
    values, is_known = env.from_unit(unit, params), jnp.isfinite(error)
    return Fit(jnp.where(is_known, values, jnp.nan), error, jnp.where(is_known, spread, jnp.nan), history)


def _check_search(env: Any, params: Any, data: Any, begin: Begin | None) -> None:
    check_randomized(env)
    _check_data(env, params, data, begin)
    for name in ("start", "action", "obs"):
        for leaf in jax.tree.leaves(getattr(data, name)):
            if isinstance(leaf, Tracer) or not jnp.issubdtype(leaf.dtype, jnp.floating):
                continue
            wrong = np.argwhere(~np.isfinite(leaf))
            if len(wrong):
                index = tuple(wrong[0].tolist())
                raise ValueError(f"`{name}` of `data` must be finite, got {leaf[index]} at index {index}")
    env.check(params)


def _check_data(env: Randomized, params: Any, data: Any, begin: Begin | None) -> None:
    """Check what is known while tracing: the kind of `params`, and the shapes of `data`."""
    _check_kind(env, params)
    if not isinstance(data, Trajectories):
        raise ValueError(
            f"`data` must be identify.Trajectories, as `identify.record` returns, got {type(data).__name__}"
        )
    size, obs = _vector_size(env.env, params.env), _shape(data.obs)
    if obs is None or len(obs) != 3 or obs[-1] != size or 0 in obs[:2]:
        got = type(data.obs).__name__ if obs is None else list(obs)
        raise ValueError(
            f"`obs` of `data` must have shape [N, T, {size}], with N and T at least 1 and observations as in "
            f"{env.env.id}, got {got}"
        )
    sample = jax.eval_shape(env.env.action_space(params.env).sample, jax.random.key(0))
    wanted = [(*obs[:2], *leaf.shape) for leaf in jax.tree.leaves(sample)]
    shapes = [_shape(leaf) for leaf in jax.tree.leaves(data.action)]
    if shapes != wanted or jax.tree.structure(data.action) != jax.tree.structure(sample):
        raise ValueError(
            f"`action` of `data` must have shape {_listed(wanted)}, [N, T, ...] beside `obs` {list(obs)} and "
            f"as actions of {env.env.id}, got {_listed(shapes)}"
        )
    starts = [_shape(leaf) for leaf in jax.tree.leaves(data.start)]
    if any(not shape or shape[0] != obs[0] for shape in starts):
        raise ValueError(
            f"`start` of `data` must have leaves [N, ...], N = {obs[0]} as in `obs` {list(obs)}, got "
            f"{_listed(starts)}"
        )
    if begin is None and not _are_keys(data.start, obs[0]):
        raise ValueError(
            f"`start` of `data` must hold keys [{obs[0]}] for resets, got {_listed(starts)}; give `begin`, "
            "which makes a state of what else it holds"
        )


def _check_kind(env: Randomized, params: Any) -> None:
    wanted, size = jax.eval_shape(env.default_params), len(env.variations)
    if not isinstance(params, WrappedParams) or not isinstance(params.env, type(wanted.env)):
        inner = f" of {type(params.env).__name__}" if isinstance(params, WrappedParams) else ""
        raise ValueError(
            f"`params` must be WrappedParams of {type(wanted.env).__name__}, as `env.default_params()` of "
            f"{env.id} returns, got {type(params).__name__}{inner}"
        )
    for end in ("low", "high"):
        if _shape(params.values.get(end)) != (size,):
            labels = ", ".join(variation.label for variation in env.variations)
            raise ValueError(
                f"`values[{end!r}]` of `params` must be an array of shape [{size}], one entry each of "
                f"{labels}, got {params.values.get(end)!r}"
            )


def _vector_size(env: Environment, params: Params) -> int:
    space = env.observation_space(params)
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise ValueError(
            f"`env` must have observations of one axis, a Box [O], got {space}; "
            "envs.wrappers.FlattenObservation makes one"
        )
    return space.shape[0]


def _are_keys(start: Any, num: int) -> bool:
    """Return whether `start` is an array of keys `[num]`, typed or raw."""
    shape, dtype = _shape(start), getattr(start, "dtype", None)
    if shape is None or dtype is None:
        return False
    is_typed = jnp.issubdtype(dtype, jax.dtypes.prng_key)
    return shape == (num,) if is_typed else dtype == jnp.uint32 and len(shape) == 2 and shape[0] == num


def _shape(leaf: Any) -> tuple[int, ...] | None:
    return getattr(leaf, "shape", None)


def _listed(shapes: Sequence[tuple[int, ...] | None]) -> str:
    return ", ".join("no array" if shape is None else str(list(shape)) for shape in shapes) or "none"


def _solve(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """Return the solution of a small positive definite system, by elimination without LAPACK."""
    size = len(vector)
    rows = jnp.concatenate([matrix, vector[:, None]], axis=1)
    for i in range(size):
        pivot = rows[i] / rows[i, i]
        rows = (rows - rows[:, i][:, None] * pivot[None]).at[i].set(pivot)
    return rows[:, -1]


def _begin_by_key(env: Environment) -> Begin:
    return lambda key, params: env.reset(key, params)[0]


def _replay(env: Environment, params: Params, start: Any, action: Any, begin: Begin) -> jax.Array:
    # Keys of the steps are the same in every replay, so that a random world is replayed with its own luck.
    length = jax.tree.leaves(action)[0].shape[0]
    keys = jax.random.split(jax.random.key(0), length)

    def step(state, at):
        state, out = env.step(at[0], state, at[1], params)
        return state, out.obs

    return jax.lax.scan(step, begin(start, params), (keys, action))[1]
