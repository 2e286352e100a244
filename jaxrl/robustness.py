"""How a policy does in worlds it was not trained in: grids of robots, the worst of them, other engines."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.checks import as_number
from envs.core import Environment, Params, time_limit
from envs.spaces import Box, Dict, Discrete, MultiDiscrete, Space
from jaxrl.algorithm import Policy
from jaxrl.config import check_unit_interval
from jaxrl.train import Episodes, evaluate


def evaluate_grid(
    policy: Policy,
    env: Environment,
    params: Params,
    key: jax.Array,
    num_episodes: int,
    max_steps: int | None = None,
) -> Episodes:
    """Return the episodes of one policy in each of G worlds, all in one program.

    Every world gets the same keys, so that what differs between them is the world.

    Args:
      policy: as `algorithm.policy(state)` returns it; the caller vmaps over seeds.
      env: the environment.
      params: of G worlds, every leaf `[G, ...]`, as `envs.physics.Randomized.grid` makes.
      key: one key.
      num_episodes: of each world.
      max_steps: the horizon of all worlds; by default the largest of their time limits, or, where these are
        traced, the limit of the default parameters.

    Returns:
      Episodes with leaves `[G, num_episodes]`.

    Raises:
      ValueError: if the leaves of `params` have no common leading axis, or it is empty.

    >>> import envs
    >>> from envs.physics import Randomized, Variation
    >>> env = Randomized(envs.make("CartPole-v1")[0], (Variation("gear", 0.5, 2.0),))
    >>> right = Policy(init=lambda: (), act=lambda obs, carry, key: (jnp.int32(1), carry))
    >>> worlds = env.grid(env.default_params(), {"gear": [0.5, 1.0, 2.0]})
    >>> evaluate_grid(right, env, worlds, jax.random.key(0), 4).length.mean(axis=-1).tolist()
    [12.5, 9.25, 7.0]
    """
    _check_stacked("params", params, "G")
    if max_steps is None:
        max_steps = time_limit(env, params)

    def one(params: Params) -> Episodes:
        return evaluate(policy, env, params, key, num_episodes, max_steps)

    return jax.vmap(one)(params)


def worst_case(returns: jax.Array) -> jax.Array:
    """Return the mean return in the world where it is lowest: min_g mean_e returns[g, e].

    Args:
      returns: `[..., G, E]`, as `evaluate_grid` returns them.

    Raises:
      ValueError: if `returns` has fewer than two axes, or an empty one.

    >>> worst_case(jnp.array([[1.0, 3.0], [0.0, 10.0]])).tolist()
    2.0
    """
    return jnp.min(_means(returns), axis=-1)


def cvar(returns: jax.Array, fraction: float = 0.1) -> jax.Array:
    """Return the mean of the worst `fraction` of the worlds, at least one: the conditional value at risk.

    Args:
      returns: `[..., G, E]`, as `evaluate_grid` returns them.
      fraction: in (0, 1]; a static number.

    Raises:
      ValueError: if `fraction` is not a number in (0, 1], or `returns` has fewer than two axes, or an empty
        one.

    >>> cvar(jnp.arange(10.0)[:, None], 0.2).tolist()
    0.5

    Source: Rajeswaran et al. (2017), https://arxiv.org/abs/1610.01283.
    """
    fraction = as_number("`fraction`", fraction)
    check_unit_interval(fraction=fraction)
    if fraction == 0:
        raise ValueError("`fraction` must be greater than 0, got 0")
    worlds = jnp.sort(_means(returns), axis=-1)
    count = max(1, int(fraction * worlds.shape[-1] + 1e-6))
    return jnp.mean(worlds[..., :count], axis=-1)


def _check_stacked(name: str, tree: Any, size: str) -> None:
    axes = {jnp.shape(x)[:1] for x in jax.tree.leaves(tree)}
    if len(axes) != 1 or axes & {(), (0,)}:
        raise ValueError(
            f"`{name}` must have leaves [{size}, ...] of one {size}, at least 1, "
            f"got leading axes {sorted(axes)}"
        )


def _means(returns: jax.Array) -> jax.Array:
    """Return the mean return in each world, `[..., G]`."""
    shape = np.shape(returns)
    if len(shape) < 2 or 0 in shape[-2:]:
        raise ValueError(f"`returns` must be [..., worlds, episodes], got shape {list(shape)}")
    return jnp.mean(returns, axis=-1)


def transfer_matrix(
    policy: Callable[[Any], Policy],
    learners: Any,
    worlds: Sequence[tuple[Environment, Params]],
    key: jax.Array,
    num_episodes: int,
) -> jax.Array:
    """Return what each learner's policy earns in each world: the gap between simulators, in returns.

    Row i, column j: the policy that was trained in world i, say, in world j. Worlds may be different
    environments (engines) of equal observation and action spaces; there is one evaluation a world. Bounds of
    observations may differ, as they do between engines; those of actions may not, for they are the units in
    which a policy acts.

    Args:
      policy: `learner -> Policy`, for instance `algorithm.policy`.
      learners: what it takes, every leaf `[P, ...]`: states from several engines can be stacked without
        their environments, `state.replace(vec_state=None, obs=None)` for PPO.
      worlds: W pairs of an environment and its parameters.
      key: one key, the same for all pairs.
      num_episodes: of each pair.

    Returns:
      Returns `[P, W, num_episodes]` float32.

    Raises:
      ValueError: if there is no world, one is no pair, their spaces differ, `policy` is no function, or the
        leaves of `learners` have no common leading axis.
    """
    _check_worlds(worlds)
    if not callable(policy):
        raise ValueError(f"`policy` must be a function, for instance algorithm.policy, got {policy!r}")
    _check_stacked("learners", learners, "P")

    def column(env: Environment, params: Params) -> jax.Array:
        def one(learner: Any) -> jax.Array:
            return evaluate(policy(learner), env, params, key, num_episodes).return_

        return jax.vmap(one)(learners)

    return jnp.stack([column(env, params) for env, params in worlds], axis=1)


def _check_worlds(worlds: Any) -> None:
    rule = "must be a sequence of pairs (env, params), as `envs.make` returns"
    if not isinstance(worlds, Sequence) or isinstance(worlds, str) or not worlds:
        raise ValueError(f"`worlds` {rule}, at least one, got {worlds!r}")
    for i, pair in enumerate(worlds):
        is_pair = isinstance(pair, tuple | list) and len(pair) == 2 and hasattr(pair[0], "observation_space")
        if not is_pair or isinstance(pair[0], type):
            raise ValueError(f"`worlds` {rule}, got {type(pair).__name__} {pair!r:.80} at index {i}")
    spaces = [
        f"{_described(env.observation_space(params), False)} and {_described(env.action_space(params), True)}"
        for env, params in worlds
    ]
    for (env, _), got in zip(worlds, spaces, strict=True):
        if got != spaces[0]:
            raise ValueError(
                f"`worlds` must have equal observation and action spaces, got {spaces[0]} in "
                f"{worlds[0][0].id}, but {got} in {env.id}"
            )


def _described(space: Space, bounded: bool) -> str:
    """Return the kind and shape of `space`, equal for spaces that a policy cannot tell apart.

    >>> _described(Box(-2.0, 2.0, (1,)), True), _described(Box(-2.0, 2.0, (1,)), False)
    ('Box([1], float, -2.0 to 2.0)', 'Box([1], float)')
    """
    match space:
        case Discrete():
            return f"Discrete({space.n})"
        case MultiDiscrete():
            return f"MultiDiscrete({space.nvec})"
        case Dict():
            parts = (f"{name}: {_described(part, bounded)}" for name, part in space.spaces.items())
            return f"Dict({', '.join(parts)})"
        case Box():
            low, high = (x.flat[0] if x.size and (x == x.flat[0]).all() else x for x in space.bounds())
            ends = f", {low.tolist()} to {high.tolist()}" if bounded else ""
            return f"Box({list(space.shape)}, {np.dtype(space.dtype).name.rstrip('0123456789')}{ends})"
    raise TypeError(f"`space` must be a Discrete, MultiDiscrete, Box or Dict, got {type(space).__name__}")
