"""`check_env`: the laws that every environment keeps, checked by one compiled random rollout.

Use it for your own environments too. `LAWS` says what is checked; the first law that is broken raises a
`ConformanceError`, which names the environment, the law and what was seen.
"""

import copy
import dataclasses
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs.checks import check_params
from envs.core import Environment, Params, State, Step
from envs.spaces import Box, Dict, Discrete, MultiDiscrete, Space
from envs.tabular import Outcomes

LAWS = {
    "protocol": "it has the members of `envs.Environment`, is hashable, and equals its copy",
    "params": "parameters are a pytree of arrays with strong dtypes and no static field, and make sense",
    "spaces": "both spaces are of `envs.spaces`, hashable, and can be asked for inside a traced function",
    "trace": "`reset` and `step` can be traced: no Python decision depends on a value",
    "carry": "`step` returns a state of the same structure, shapes and strong dtypes as `reset`",
    "observation": "observations of `reset` and `step` have the shape and the strong dtype of their space",
    "reward": "the reward is a float32 scalar",
    "flags": "`terminated` and `truncated` are bool scalars",
    "metrics": "metrics are a dictionary of float32 scalars with fixed names",
    "deterministic": "equal keys give equal results, traced anew or run again",
    "keys": "a key is used once",
    "vmap": "`reset` and `step` can be mapped over keys and parameters",
    "compile": "an equal environment and other parameters run the compiled program",
    "finite": "observations, rewards and metrics stay finite, states without NaN",
    "contains": "observations lie in their space: first, later and last ones",
    "one end": "`terminated` and `truncated` are never both true",
    "time limit": "an episode ends at `time_limit(params)` steps at the latest and is not truncated before",
    "no reset": "`step` never starts a new episode",
    "current": "`Step.obs` shows the state that `step` returns, not the one before",
    "actions": "an integer action outside of its space does what one inside does",
    "params used": "`reset` or `step` depends on the floating-point parameters that it is given",
    "action mask": "`action_mask` is `[A]` bool and allows some action",
    "outcomes": "`outcomes`, `state_index` and `start_distribution` agree with what happens",
    "ascii": "`ascii` returns text",
    "frame": "`frame` returns uint8 `[H, W, 3]`, always of one size",
}

SHORT_LIMIT = 3
# Largest accepted |observed - expected| / standard deviation of a count: one chance in 10 million each.
MAX_DEVIATION = 5.3
# Kolmogorov-Smirnov statistics, times sqrt(n m / (n + m)): of samples that may be of one distribution, and of
# two that are not (chances of 7e-4 and 3e-8 for samples of one). Fewer ends than `MIN_ENDS` tell nothing.
MAX_ALIKE = 2.0
MIN_UNLIKE = 3.0
MIN_ENDS = 64
# From so many states actions outside of their range are tried, and compared with so many inside.
NUM_STATES = 16
MAX_ACTIONS = 64


class ConformanceError(AssertionError):
    """An environment breaks a law.

    Attributes:
      id: the environment's id.
      law: a key of `LAWS`.
      seen: what was seen.
    """

    def __init__(self, id: str, law: str, seen: str):
        super().__init__(f"environment {id!r} breaks the law {law!r} ({LAWS[law]}): {seen}")
        self.id, self.law, self.seen = id, law, seen


class Transition(NamedTuple):
    """Steps of the random rollout, `[T, B, ...]`; `first` where an episode starts with one."""

    first: Any
    first_obs: Any
    before: State
    action: Any
    mask: Any
    after: State
    step: Any


def check_env(
    env: Environment,
    params: Params | None = None,
    *,
    num_envs: int = 16,
    num_steps: int = 256,
    seed: int = 0,
) -> tuple[str, ...]:
    """Return the names of the laws that were checked, all of which `env` keeps.

    Laws about optional members (`time_limit`, `action_mask`, `outcomes`, `ascii`, `frame`) are checked if the
    environment has these, "keys" unless its states hold keys. Takes one compile of reset and step, and
    `num_envs * num_steps` steps about five times over.

    An environment whose time limit is an end of its own says so: `limit_terminates = True`. So does one that
    shows the state before a step on purpose, which the law "current" then leaves alone: `shows_past = True`.

    Args:
      env: the environment.
      params: its parameters, by default `env.default_params()`.
      num_envs: how many run side by side.
      num_steps: how many steps each takes, with random actions.
      seed: of the rollout.

    Raises:
      ConformanceError: for the first law that is broken.

    >>> import envs
    >>> "time limit" in check_env(*envs.make("CartPole-v1"))
    True
    """
    _check_protocol(env)
    if params is None:
        params = env.default_params()
    _check_params(env, params)
    _check_spaces(env, params)
    _check_types(env, params)
    holds_keys = any(_is_key(x) for x in jax.tree.leaves(jax.eval_shape(env.reset, _abstract_key(), params)))
    checks_keys = not holds_keys
    traces: list[None] = []

    @partial(jax.jit, static_argnums=0)
    def rollout(env, keys, params, restart):
        traces.append(None)
        return _unroll(env, keys, params, restart)

    def run(env: Environment, params: Params, restart: bool = True) -> Transition:
        keys = jax.random.split(jax.random.key(seed), (num_steps, num_envs))
        try:
            # Checks on the way that no key is used twice. To record a state that holds one would be a use.
            with jax.debug_key_reuse(checks_keys):
                return _to_numpy(rollout(env, keys, _repeat(params, num_envs), np.bool_(restart)))
        except jax.errors.KeyReuseError:
            raise
        except Exception as error:
            raise ConformanceError(env.id, "vmap", _first_line(error)) from error

    try:
        played = run(env, params)
    except jax.errors.KeyReuseError:
        _check_keys(env, params)
        checks_keys = False
        traces.clear()
        played = run(env, params)
    again = run(copy.copy(env), params)
    short = _with_short_limit(env, params)
    others = run(env, _nudged(params) if short is None else short)
    if len(traces) > 1:
        raise ConformanceError(env.id, "compile", f"{len(traces)} programs for one environment")
    if (where := _difference(played, again)) is not None:
        raise ConformanceError(env.id, "deterministic", f"two runs of one program differ in {where}")

    _check_finite(env, played)
    _check_contains(env, params, played)
    _check_ends(env, played)
    _check_no_reset(env, played)
    checked = [law for law in LAWS if law not in _OPTIONAL and not (holds_keys and law == "keys")]
    if hasattr(env, "time_limit"):
        _check_time_limit(env, params, played)
        if short is not None:
            _check_time_limit(env, short, others)
            _check_limit_only_truncates(env, played, others)
            _check_past_the_end(env, run(env, short, restart=False))
        checked.append("time limit")
    if getattr(env, "shows_past", False):
        checked.remove("current")
    else:
        _check_current(env, params, played, seed)
    _check_actions(env, params, played, seed)
    _check_params_used(env, params, played, run)
    for law, member, check in (
        ("action mask", "action_mask", _check_mask),
        ("outcomes", "outcomes", _check_outcomes),
        ("ascii", "ascii", _check_ascii),
        ("frame", "frame", _check_frame),
    ):
        if hasattr(env, member):
            check(env, params, played)
            checked.append(law)
    return tuple(checked)


_OPTIONAL = ("time limit", "action mask", "outcomes", "ascii", "frame")


# What can be seen without running anything ---------------------------------------------------------------


def _check_protocol(env: Environment) -> None:
    id = getattr(env, "id", type(env).__name__)
    members = ("id", "default_params", "reset", "step", "observation_space", "action_space")
    missing = [member for member in members if not hasattr(env, member)]
    if missing:
        raise ConformanceError(id, "protocol", f"it lacks {', '.join(missing)}")
    if not isinstance(id, str) or not id:
        raise ConformanceError(str(id), "protocol", f"`id` must be a text, got {id!r}")
    try:
        twin = copy.copy(env)
        equal = twin == env and hash(twin) == hash(env)
    except (TypeError, ValueError) as error:
        raise ConformanceError(
            id, "protocol", f"cannot be compared by value: {_first_line(error)}"
        ) from error
    if not equal:
        seen = "a copy is not equal to it, so each would be compiled anew; make it a frozen dataclass"
        raise ConformanceError(id, "protocol", seen)


def _check_params(env: Environment, params: Params) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path)
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
            raise ConformanceError(
                env.id, "params", f"{name} is the {type(leaf).__name__} {leaf!r}, not an array"
            )
        if getattr(leaf, "weak_type", False):
            raise ConformanceError(env.id, "params", f"{name} has the weak dtype {leaf.dtype}")
        if jnp.issubdtype(leaf.dtype, jnp.floating) and np.isnan(np.asarray(leaf, np.float32)).any():
            raise ConformanceError(env.id, "params", f"{name} is NaN")
    try:
        check_params(env, params)
    except ValueError as error:
        raise ConformanceError(env.id, "params", str(error)) from error
    for name in _static_fields(params):
        raise ConformanceError(env.id, "params", f"{name} is static, so that changing it compiles anew")


def _static_fields(tree: Any, name: str = "") -> Iterator[str]:
    if not dataclasses.is_dataclass(tree):
        return
    for field in dataclasses.fields(tree):
        if field.metadata.get("static", False) or not field.metadata.get("pytree_node", True):
            yield f"{name}.{field.name}"
        yield from _static_fields(getattr(tree, field.name), f"{name}.{field.name}")


def _check_spaces(env: Environment, params: Params) -> None:
    for member in ("observation_space", "action_space"):
        try:
            space = getattr(env, member)(params)
            if not isinstance(space, Discrete | MultiDiscrete | Box | Dict):
                raise TypeError(f"got {space!r}")
            hash(space)
            drawn = jax.eval_shape(
                lambda key, params, member=member: getattr(env, member)(params).sample(key),
                _abstract_key(),
                params,
            )
        except Exception as error:
            raise ConformanceError(env.id, "spaces", f"`{member}`: {_first_line(error)}") from error
        if (wrong := _type_error(space, drawn)) is not None:
            raise ConformanceError(env.id, "spaces", f"`{member}` is another one when traced: {wrong}")


def _check_types(env: Environment, params: Params) -> None:
    def first_step(key, params):
        key_reset, key_action, key_step = jax.random.split(key, 3)
        state, obs = env.reset(key_reset, params)
        action = env.action_space(params).sample(key_action)
        return (state, obs), env.step(key_step, state, action, params)

    def trace() -> tuple[Any, Any]:
        # A new function each time, for jax remembers what it has traced.
        return jax.make_jaxpr(lambda key, params: first_step(key, params), return_shape=True)(
            _abstract_key(), params
        )

    try:
        program, ((state, obs), (after, step)) = trace()
        program_again, types_again = trace()
    except Exception as error:
        raise ConformanceError(env.id, "trace", f"{type(error).__name__}: {_first_line(error)}") from error
    if not isinstance(step, Step):
        raise ConformanceError(
            env.id, "trace", f"`step` must return (state, Step), got {type(step).__name__}"
        )
    if (wrong := _types_differ(state, after)) is not None:
        raise ConformanceError(env.id, "carry", wrong)
    for method, seen in (("reset", obs), ("step", step.obs)):
        if (wrong := _type_error(env.observation_space(params), seen)) is not None:
            raise ConformanceError(env.id, "observation", f"`{method}` returns {wrong}")
    _check_scalar(env, "reward", "reward", step.reward, jnp.float32)
    _check_scalar(env, "flags", "terminated", step.terminated, jnp.bool_)
    _check_scalar(env, "flags", "truncated", step.truncated, jnp.bool_)
    if not isinstance(step.metrics, dict) or not all(isinstance(name, str) for name in step.metrics):
        raise ConformanceError(env.id, "metrics", f"got {step.metrics!r}")
    for name, value in step.metrics.items():
        _check_scalar(env, "metrics", name, value, jnp.float32)
    names_again = list(types_again[1][1].metrics)
    if list(step.metrics) != names_again:
        raise ConformanceError(env.id, "metrics", f"names {list(step.metrics)}, then {names_again}")
    if (
        _text(program) != _text(program_again)
        or _difference(_to_numpy(program.consts), _to_numpy(program_again.consts)) is not None
    ):
        seen = (
            "two traces gave two programs: something beside the key decides, such as numpy.random or a clock"
        )
        raise ConformanceError(env.id, "deterministic", seen)


def _check_keys(env: Environment, params: Params) -> None:
    """Check a single reset and step: jax takes keys that `vmap` transposed, as those of a scan, for used."""

    def first_step(key, params):
        key_reset, key_action, key_step = jax.random.split(key, 3)
        state, obs = env.reset(key_reset, params)
        action, _ = _random_action(env, key_action, state, params)
        return obs, env.step(key_step, state, action, params)

    try:
        with jax.debug_key_reuse(True):
            jax.jit(first_step)(jax.random.key(0), params)
    except jax.errors.KeyReuseError as error:
        raise ConformanceError(env.id, "keys", _first_line(error)) from error


def _abstract_key() -> jax.Array:
    return jax.eval_shape(lambda: jax.random.key(0))  # type: ignore[return-value]


def _check_scalar(env: Environment, law: str, name: str, value: Any, dtype: Any) -> None:
    leaves = jax.tree.leaves(value)
    if len(leaves) != 1 or leaves[0].shape != () or leaves[0].dtype != dtype or leaves[0].weak_type:
        raise ConformanceError(env.id, law, f"`{name}` is {_describe(value)}")


def _type_error(space: Space, value: Any) -> str | None:
    if isinstance(space, Dict):
        if not isinstance(value, dict) or set(value) != set(space.spaces):
            return f"{_describe(value)} for a space with the names {list(space.spaces)}"
        wrong = ((name, _type_error(part, value[name])) for name, part in space.spaces.items())
        return next((f"{error} under {name!r}" for name, error in wrong if error is not None), None)
    leaves = jax.tree.leaves(value)
    fits = len(leaves) == 1 and (leaves[0].shape, leaves[0].dtype) == (space.shape, np.dtype(space.dtype))
    if fits and not leaves[0].weak_type:
        return None
    return f"{_describe(value)} where the space says {np.dtype(space.dtype).name}{list(space.shape)}"


def _types_differ(a: Any, b: Any) -> str | None:
    if jax.tree.structure(a) != jax.tree.structure(b):
        return f"structure {jax.tree.structure(a)}, then {jax.tree.structure(b)}"
    leaves = zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True)
    for (path, x), y in leaves:
        if (x.shape, x.dtype, x.weak_type) != (y.shape, y.dtype, y.weak_type):
            return (
                f"{jax.tree_util.keystr(path)} is {_describe(x)} after `reset`, {_describe(y)} after `step`"
            )
        if x.weak_type:
            return f"{jax.tree_util.keystr(path)} is {_describe(x)}: a Python number; give it a dtype"
    return None


def _describe(value: Any) -> str:
    def one(x: Any) -> str:
        return f"{'weak ' if getattr(x, 'weak_type', False) else ''}{x.dtype.name}{list(x.shape)}"

    described = jax.tree.map(one, value)
    return described if isinstance(described, str) else repr(described)


def _text(program: Any) -> str:
    return re.sub(r"0x[0-9a-f]+", "", str(program.jaxpr))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]


# The random rollout --------------------------------------------------------------------------------------


def _unroll(env: Environment, keys: jax.Array, params: Params, restart: jax.Array) -> Transition:
    """Return transitions under random actions for keys `[T, B]`, of episode after episode if `restart`."""

    def transition(key, state, over, params):
        key_reset, key_action, key_step = jax.random.split(key, 3)
        start, first_obs = env.reset(key_reset, params)
        before = jax.tree.map(lambda a, b: jnp.where(over, a, b), start, state)
        action, mask = _random_action(env, key_action, before, params)
        after, step = env.step(key_step, before, action, params)
        return Transition(over, first_obs, before, action, mask, after, step)

    def transitions(carry, keys):
        state, over = carry
        out = jax.vmap(transition)(keys, state, over, params)
        return (out.after, (out.step.terminated | out.step.truncated) & restart), out

    one_key = jax.ShapeDtypeStruct(keys.shape[1:], keys.dtype)  # to slice `keys` would count as using them
    states, _ = jax.eval_shape(jax.vmap(env.reset), one_key, params)
    over = jnp.ones(keys.shape[1], bool)
    return jax.lax.scan(transitions, (jax.tree.map(_zeros, states), over), keys)[1]


def _random_action(env: Environment, key: jax.Array, state: State, params: Params) -> tuple[Any, jax.Array]:
    if not hasattr(env, "action_mask"):
        return env.action_space(params).sample(key), jnp.ones((), bool)
    mask = env.action_mask(state, params)  # type: ignore[attr-defined]
    return jax.random.categorical(key, jnp.where(mask, 0.0, -jnp.inf)).astype(jnp.int32), mask


def _is_key(x: Any) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _zeros(x: jax.ShapeDtypeStruct) -> jax.Array:
    if _is_key(x):
        return jnp.broadcast_to(jax.random.key(0), x.shape)
    return jnp.zeros(x.shape, x.dtype)


def _repeat(params: Params, num: int) -> Params:
    return jax.tree.map(lambda x: np.broadcast_to(np.asarray(x), (num, *np.shape(x))), params)


def _to_numpy(tree: Any) -> Any:
    def one(x: Any) -> np.ndarray:
        return np.asarray(jax.random.key_data(x) if _is_key(x) else x)

    return jax.tree.map(one, tree)


def _with_short_limit(env: Environment, params: Params) -> Params | None:
    """Return `params` with a time limit of `SHORT_LIMIT`, or None if no leaf of them is the limit."""
    if not hasattr(env, "time_limit") or int(env.time_limit(params)) == SHORT_LIMIT:  # type: ignore[attr-defined]
        return None
    leaves, structure = jax.tree.flatten(params)
    for i, leaf in enumerate(leaves):
        if leaf.shape == () and leaf.dtype != bool:
            changed = structure.unflatten(
                [*leaves[:i], jnp.asarray(SHORT_LIMIT, leaf.dtype), *leaves[i + 1 :]]
            )
            if int(env.time_limit(changed)) == SHORT_LIMIT:  # type: ignore[attr-defined]
                return changed
    return None


def _nudged(params: Params) -> Params:
    """Return `params` with every floating-point number as little less as can be."""

    def one(x: Any) -> np.ndarray:
        x = np.asarray(x)
        return np.nextafter(x, np.zeros_like(x)) if np.issubdtype(x.dtype, np.floating) else x

    return jax.tree.map(one, params)


def _difference(a: Any, b: Any) -> str | None:
    """Return where two pytrees of one structure differ in any bit, or None."""
    leaves = zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True)
    for (path, x), y in leaves:
        x, y = np.asarray(x), np.asarray(y)
        if x.shape != y.shape or x.dtype != y.dtype or x.tobytes() != y.tobytes():
            return jax.tree_util.keystr(path)
    return None


# What the rollout showed ---------------------------------------------------------------------------------


def _done(played: Transition) -> np.ndarray:
    return played.step.terminated | played.step.truncated


def _check_finite(env: Environment, played: Transition) -> None:
    parts = {"obs": played.step.obs, "reward": played.step.reward, "metrics": played.step.metrics}
    parts |= {"first obs": played.first_obs}
    for tree, is_bad in ((parts, lambda x: ~np.isfinite(x)), ({"state": played.after}, np.isnan)):
        for path, x in jax.tree_util.tree_leaves_with_path(tree):
            if np.issubdtype(x.dtype, np.floating) and (bad := is_bad(x)).any():
                where, name = np.argwhere(bad)[0], jax.tree_util.keystr(path)
                seen = f"{name} is {x[tuple(where)]} at step {where[0]} of a random rollout"
                raise ConformanceError(env.id, "finite", seen)


def _check_contains(env: Environment, params: Params, played: Transition) -> None:
    space, done = env.observation_space(params), _done(played)
    for which, obs, rows in (
        ("first", played.first_obs, np.ones_like(done)),
        ("later", played.step.obs, ~done),
        ("last", played.step.obs, done),
    ):
        if (wrong := _outside(space, jax.tree.map(lambda x, r=rows: x[r], obs))) is not None:
            raise ConformanceError(env.id, "contains", f"a {which} observation {wrong}")


def _outside(space: Space, rows: Any) -> str | None:
    """Return what is wrong with the observations `[K, ...]`, or None if all lie in `space`."""
    match space:
        case Dict():
            wrong = ((name, _outside(part, rows[name])) for name, part in space.spaces.items())
            return next((f"{name!r}: {error}" for name, error in wrong if error is not None), None)
        case Discrete():
            low, high = np.asarray(0), np.asarray(space.n - 1)
        case MultiDiscrete():
            low, high = np.zeros(space.shape, np.int32), np.array(space.nvec) - 1
        case Box():
            low, high = space.bounds()
    bad = ~((rows >= low) & (rows <= high))
    if not bad.any():
        return None
    where = tuple(np.argwhere(bad)[0])
    low, high = (np.broadcast_to(bound, rows.shape)[where] for bound in (low, high))
    return f"holds {rows[where]} at {list(map(int, where[1:]))} where the space says {low} to {high}"


def _check_ends(env: Environment, played: Transition) -> None:
    both = played.step.terminated & played.step.truncated
    if both.any():
        seen = f"both are true at step {np.argwhere(both)[0][0]} of a random rollout; `terminated` wins"
        raise ConformanceError(env.id, "one end", seen)


def _check_time_limit(env: Environment, params: Params, played: Transition) -> None:
    limit = np.asarray(env.time_limit(params))  # type: ignore[attr-defined]
    if limit.shape != () or not np.issubdtype(limit.dtype, np.integer) or limit < 1:
        raise ConformanceError(
            env.id, "time limit", f"`time_limit` is {limit!r}, not a positive integer scalar"
        )
    length = _lengths(played.first)
    early = played.step.truncated & (length < limit)
    if early.any():
        seen = f"truncated after {length[early][0]} of {limit} steps"
        raise ConformanceError(env.id, "time limit", seen)
    late = ~_done(played) & (length >= limit)
    if late.any():
        raise ConformanceError(env.id, "time limit", f"no end after {length[late][0]} of {limit} steps")


def _check_limit_only_truncates(env: Environment, played: Transition, others: Transition) -> None:
    """Check that a shorter limit changes nothing but `truncated`, over the steps that both rollouts share.

    It catches the observation of a reset in the place of the last one, and a limit reported as termination.
    Observations that show the limit itself differ before it, and are not compared.
    """
    open_, shows_limit = np.ones(played.first.shape[1], bool), False
    for i in range(min(SHORT_LIMIT, len(played.first))):

        def shared(x: np.ndarray, rows: Any = (i, open_)) -> np.ndarray:
            return x[rows]

        ours, theirs = (jax.tree.map(shared, step) for step in (played.step, others.step))
        last = i == SHORT_LIMIT - 1
        differs = _difference(ours.obs, theirs.obs) is not None
        if differs and last and not shows_limit:
            seen = f"with a limit of {SHORT_LIMIT} steps the last observation is another than without"
            raise ConformanceError(env.id, "no reset", seen)
        shows_limit |= differs
        if (ours.terminated != theirs.terminated).any() and not getattr(env, "limit_terminates", False):
            seen = "the limit is reported as `terminated`; set `limit_terminates = True` if that is right"
            raise ConformanceError(env.id, "time limit", seen)
        open_ = open_ & ~(_done(played)[i] | _done(others)[i])


def _check_past_the_end(env: Environment, played: Transition) -> None:
    """Check that the step after a truncated one is an end again, for the clock goes on."""
    if (played.step.truncated[:-1] & ~_done(played)[1:]).any():
        seen = "the step after a truncated one is neither truncated nor terminated"
        raise ConformanceError(env.id, "no reset", seen)


def _check_no_reset(env: Environment, played: Transition) -> None:
    """Check that last states do not look like first ones.

    What tells them apart are the numbers of a state, such as its clock, that are the same in every first
    state and that no step within an episode brings back. If every last state has all of them, it is a first.
    """
    done, first = _done(played), played.first
    if not done.any() or done.all():
        return
    told_apart, back = False, True
    for before, after in zip(jax.tree.leaves(played.before), jax.tree.leaves(played.after), strict=True):
        starts, constant = before[first], before[first][0]
        tells = (starts == constant).all(axis=0) & (after[~done] != constant).all(axis=0)
        told_apart |= bool(tells.any())
        back &= bool(((after[done] == constant) | ~tells).all())
    if told_apart and back:
        raise ConformanceError(env.id, "no reset", "every state after an episode's end is a first state")
    # Without such numbers: last states are distributed as first ones are, and others are not.
    if min(done.sum(), first.sum(), (~done).sum()) < MIN_ENDS:
        return
    ends = _unlikeness(_select(played.before, first), _select(played.after, done))
    others = _unlikeness(_select(played.before, first), _select(played.after, ~done))
    if ends < MAX_ALIKE and others > MIN_UNLIKE:
        seen = "states after an episode's end are distributed as first states are, others are not"
        raise ConformanceError(env.id, "no reset", seen)


def _select(tree: Any, rows: np.ndarray) -> Any:
    return jax.tree.map(lambda x: x[rows], tree)


def _unlikeness(a: Any, b: Any) -> float:
    """Return the largest two-sample Kolmogorov-Smirnov statistic of all numbers of `a [N]` and `b [M]`."""
    worst = 0.0
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        scale = np.sqrt(len(x) * len(y) / (len(x) + len(y)))
        for u, v in zip(x.reshape(len(x), -1).T, y.reshape(len(y), -1).T, strict=True):
            u, v = np.sort(u), np.sort(v)
            values = np.concatenate([u, v])
            below = (np.searchsorted(z, values, side="right") / len(z) for z in (u, v))
            worst = max(worst, scale * float(np.abs(np.subtract(*below)).max()))
    return worst


def _unequal(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x != y) & ((x == x) | (y == y))


def _check_current(env: Environment, params: Params, played: Transition, seed: int) -> None:
    """Check that `Step.obs` is not the observation of the state before.

    That one is always the first observation in the first step, not always later, and depends on neither the
    action nor the key of the step; a right environment could do two of these, such as one that waits.
    """

    def changes(rows: np.ndarray) -> bool:
        shown = zip(jax.tree.leaves(played.first_obs), jax.tree.leaves(played.step.obs), strict=True)
        return any(_unequal(x[starts][rows], y[rows]).any() for x, y in shown)

    done, first = _done(played), played.first
    step = np.arange(len(first))[:, None]
    starts = (np.maximum.accumulate(np.where(first, step, 0), axis=0), np.arange(first.shape[1]))
    if changes(first) or not changes(~first) or done.all():
        return

    def other_obs(key, state, params):
        key_action, key_step = jax.random.split(key)
        action, _ = _random_action(env, key_action, state, params)
        return env.step(key_step, state, action, params)[1].obs

    states = _states_before(env, params, played)
    keys = jax.random.split(jax.random.key(seed + 1), first.size)
    others = jax.jit(jax.vmap(other_obs, in_axes=(0, 0, None)))(keys, states, params)
    others = jax.tree.map(lambda x, y: np.asarray(x).reshape(y.shape), others, played.step.obs)
    if _difference(others, played.step.obs) is None:
        seen = (
            "in the first step it is the first observation, and later no action and no key changes it; "
            "set `shows_past = True` if that is meant"
        )
        raise ConformanceError(env.id, "current", seen)


def _check_actions(env: Environment, params: Params, played: Transition, seed: int) -> None:
    """Check, from states of the rollout, integers beyond both ends of the range.

    A state that keeps such a number, or a step as long as it, would leave its bounds. Of many actions only
    the first and the last are compared with.
    """
    space = env.action_space(params)
    if not isinstance(space, Discrete | MultiDiscrete):
        return
    last = np.asarray(space.n if isinstance(space, Discrete) else space.nvec, np.int32) - 1
    inside = [np.zeros_like(last), last]
    if isinstance(space, Discrete) and space.n <= MAX_ACTIONS:
        inside = list(np.arange(space.n, dtype=np.int32))
    limits = np.iinfo(np.int32)
    outside = [np.full_like(last, limits.min), -np.ones_like(last), last + 1, np.full_like(last, limits.max)]
    over_actions = jax.vmap(env.step, in_axes=(None, None, 0, None))

    @jax.jit
    def step(keys, states, params):
        actions = jnp.asarray(np.stack([*inside, *outside]), jnp.int32)
        return jax.vmap(over_actions, in_axes=(0, 0, None, None))(keys, states, actions, params)

    rows = np.linspace(0, played.first.size - 1, NUM_STATES, dtype=int)
    states = jax.tree.map(lambda x: x[rows], _states_before(env, params, played))
    try:
        out = _to_numpy(step(jax.random.split(jax.random.key(seed + 2), NUM_STATES), states, params))
    except Exception as error:
        raise ConformanceError(env.id, "actions", _first_line(error)) from error
    for i, action in enumerate(outside, len(inside)):
        for row in range(NUM_STATES):
            does = jax.tree.map(lambda x, row=row, i=i: x[row, i], out)
            if not any(
                _difference(does, jax.tree.map(lambda x, row=row, j=j: x[row, j], out)) is None
                for j in range(len(inside))
            ):
                seen = f"from some state, {action.tolist()} does what no action of {space} does"
                raise ConformanceError(env.id, "actions", f"{seen}; `envs.spaces.as_action` maps it inside")


def _states_before(env: Environment, params: Params, played: Transition) -> State:
    """Return the states that the steps of the rollout were taken from, `[T * B, ...]`."""
    types, _ = jax.eval_shape(env.reset, _abstract_key(), params)

    def flat(x: np.ndarray, kind: Any) -> jax.Array:
        rows = jnp.asarray(x.reshape((-1, *x.shape[2:])))
        return jax.random.wrap_key_data(rows) if _is_key(kind) else rows

    return jax.tree.map(flat, played.before, types)


def _check_params_used(
    env: Environment, params: Params, played: Transition, run: Callable[[Environment, Params], Transition]
) -> None:
    """Check that another value of some floating-point parameter changes what `reset` or `step` returns.

    Actions that differ count for nothing, for the action space may depend on a parameter.
    """
    leaves, structure = jax.tree.flatten(params)
    floats = [i for i, x in enumerate(leaves) if np.issubdtype(x.dtype, np.floating) and np.size(x)]
    for i in floats:
        value = np.nan_to_num(np.asarray(leaves[i]))
        with np.errstate(over="ignore"):  # of bounds that are infinite
            others = (value * 3 + 1, value / 3 - 1)
        for changed in others:
            changed = jnp.asarray(changed, leaves[i].dtype)
            other = run(env, structure.unflatten([*leaves[:i], changed, *leaves[i + 1 :]]))
            if _differ(played.first_obs, other.first_obs)[0].any():
                return
            same = ~(_differ(played.before, other.before) | _differ(played.action, other.action))
            if (~same[0] & ~_differ(played.action, other.action)[0]).any():
                return
            if (_differ((played.after, played.step), (other.after, other.step)) & same).any():
                return
    if floats:
        names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        seen = f"other values of {', '.join(names[i] for i in floats)} change nothing"
        raise ConformanceError(env.id, "params used", seen)


def _differ(a: Any, b: Any) -> np.ndarray:
    """Return where two pytrees of `[T, B, ...]` differ, `[T, B]`."""
    unequal = [_unequal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]
    flat = [x.reshape((*x.shape[:2], -1)).any(axis=-1) for x in unequal]
    return np.any(flat, axis=0) if flat else np.zeros((), bool)


def _lengths(first: np.ndarray) -> np.ndarray:
    """Return how many steps each episode has taken after each step, `[T, B]`."""
    step = np.arange(len(first))[:, None]
    return step - np.maximum.accumulate(np.where(first, step, 0), axis=0) + 1


def _check_mask(env: Environment, params: Params, played: Transition) -> None:
    space, mask = env.action_space(params), played.mask
    if not isinstance(space, Discrete) or mask.dtype != bool or mask.shape[2:] != (space.n,):
        seen = f"{mask.dtype}{list(mask.shape[2:])} for the actions {space}"
        raise ConformanceError(env.id, "action mask", seen)
    if not mask.any(axis=-1).all():
        raise ConformanceError(env.id, "action mask", "it allows nothing in a state that is not over")


def _check_ascii(env: Any, params: Params, played: Transition) -> None:
    for state in _some_states(env, params, played):
        text = env.ascii(state, params)
        if not isinstance(text, str) or not text.strip():
            raise ConformanceError(env.id, "ascii", f"got {text!r}")


def _check_frame(env: Any, params: Params, played: Transition) -> None:
    frames = [np.asarray(env.frame(state, params)) for state in _some_states(env, params, played)]
    for frame in frames:
        if (
            frame.dtype != np.uint8
            or frame.ndim != 3
            or frame.shape[2] != 3
            or frame.shape != frames[0].shape
        ):
            seen = f"got {frame.dtype}{list(frame.shape)}, a frame before {list(frames[0].shape)}"
            raise ConformanceError(env.id, "frame", seen)


def _some_states(env: Environment, params: Params, played: Transition) -> list[State]:
    """Return a first state of the rollout and its last one, as `reset` types them."""
    types, _ = jax.eval_shape(env.reset, _abstract_key(), params)

    def pick(x: np.ndarray, kind: Any, at: tuple[int, int]) -> jax.Array:
        return jax.random.wrap_key_data(jnp.asarray(x[at])) if _is_key(kind) else jnp.asarray(x[at])

    chosen = ((played.before, (0, 0)), (played.after, (-1, -1)))
    return [jax.tree.map(partial(pick, at=at), states, types) for states, at in chosen]


def _check_outcomes(env: Any, params: Params, played: Transition) -> None:
    fail: Callable[[str], ConformanceError] = partial(ConformanceError, env.id, "outcomes")
    if missing := [m for m in ("num_states", "state_index", "start_distribution") if not hasattr(env, m)]:
        raise fail(f"it lacks {', '.join(missing)}")
    num_states, num_actions = env.num_states, env.action_space(params).n
    states, actions = jnp.arange(num_states, dtype=jnp.int32), jnp.arange(num_actions, dtype=jnp.int32)
    over_actions = jax.vmap(env.outcomes, in_axes=(None, 0, None))
    index = jax.vmap(env.state_index, in_axes=(0, None))

    @jax.jit
    def model(params, before, after):
        table = jax.vmap(over_actions, in_axes=(0, None, None))(states, actions, params)
        return table, env.start_distribution(params), index(before, params), index(after, params)

    def flat(tree: Any) -> Any:
        return jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), tree)

    rows, terminated, reward = flat((played.action, played.step.terminated, played.step.reward))
    table, start, s_tm1, s_t = _to_numpy(model(params, flat(played.before), flat(played.after)))
    probability, next_state, branch_reward, ends = (np.asarray(x) for x in table)
    if not np.allclose(probability.sum(-1), 1, atol=1e-5) or (probability < 0).any():
        worst = probability.sum(-1).flat[np.abs(probability.sum(-1) - 1).argmax()]
        raise fail(f"the probabilities of a state and action sum to {worst}")
    if start.shape != (num_states,) or not np.isclose(start.sum(), 1, atol=1e-5):
        raise fail(f"`start_distribution` is {list(start.shape)} and sums to {start.sum()}")
    firsts = s_tm1[flat(played.first)]
    _check_counts(fail, "start in state {}", np.bincount(firsts, minlength=num_states), start, len(firsts))

    matches = (
        (next_state[s_tm1, rows] == s_t[:, None])
        & np.isclose(branch_reward[s_tm1, rows], reward[:, None], rtol=1e-4, atol=1e-5)
        & (ends[s_tm1, rows] == terminated[:, None])
    )
    unknown = np.flatnonzero(np.sum(probability[s_tm1, rows] * matches, axis=-1) <= 0)
    if len(unknown):
        i = unknown[0]
        s, a = s_tm1[i], rows[i]
        branches = (x[s, a].tolist() for x in (probability, next_state, branch_reward, ends))
        says = ", ".join(f"{n} {b}" for n, b in zip(Outcomes._fields, branches, strict=True))
        led = f"led to state {s_t[i]} with reward {reward[i]}, terminated {terminated[i]}"
        raise fail(f"action {a} in state {s} {led}; the model says {says}")
    # Branches that cannot be told apart are counted together, under the first of them.
    pair = s_tm1 * num_actions + rows
    for chosen in np.unique(pair):
        s, a = divmod(int(chosen), num_actions)
        kinds = np.stack([next_state[s, a], branch_reward[s, a], ends[s, a]], axis=-1)
        kind = (kinds[:, None] == kinds[None]).all(-1).argmax(axis=1)
        expected = np.bincount(kind, probability[s, a], minlength=len(kind))
        seen = np.bincount(kind[matches[pair == chosen].argmax(axis=1)], minlength=len(kind))
        _check_counts(fail, f"action {a} in state {s}, branch {{}}", seen, expected, int(seen.sum()))


def _check_counts(
    fail: Callable[[str], ConformanceError], what: str, seen: np.ndarray, probability: np.ndarray, total: int
) -> None:
    """Raise unless each count is what a binomial distribution of its probability would give."""
    deviation = np.sqrt(np.maximum(total * probability * (1 - probability), 0.0))
    impossible = np.where(deviation < 1e-3, np.abs(seen - total * probability) > 0.5, False)
    # The bound has a floor of some counts, for the normal approximation of rare branches is too narrow.
    far = np.abs(seen - total * probability) > MAX_DEVIATION * deviation + 3
    for i in np.flatnonzero(far | impossible):
        raise fail(f"{what.format(i)}: {seen[i]} of {total} times where the model says {probability[i]:.4f}")
