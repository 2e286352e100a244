"""What a simulation that diverges may do to others: nothing. One rule for every world with physics.

Where a step leads to numbers that no physics has (not finite, or above `LARGEST`), the state and the
observation that were sound stay, the clock goes on, the reward is 0, the episode is truncated, and the metric
"diverged" is 1. It is no termination: the failure is the simulator's, not the robot's, and an end of value 0
would pay for provoking it wherever rewards are negative.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from envs.core import Params, State, Step

# A position in m, a velocity in m/s, an observation or a reward beyond this is no physics any more.
LARGEST = 1e5

# `(state, action, params) -> (state, Step)`, with a clock `t` in the state and no randomness.
Transition = Callable[[Any, jax.Array, Any], tuple[Any, Step]]


def is_sound(x: jax.Array) -> jax.Array:
    """Return where numbers are finite and of a size that physics has.

    >>> is_sound(jnp.array([1.0, jnp.nan, jnp.inf, 1e20])).tolist()
    [True, False, False, False]
    """
    return jnp.abs(x) < LARGEST


def are_sound(*arrays: jax.Array) -> jax.Array:
    """Return whether all numbers are sound, `[]` bool."""
    return jnp.stack([is_sound(x).all() for x in arrays]).all()


def shown(obs: jax.Array) -> jax.Array:
    """Return an observation with 0 in place of numbers that are not sound.

    >>> shown(jnp.array([1.0, jnp.nan])).tolist()
    [1.0, 0.0]
    """
    return jnp.where(is_sound(obs), obs, jnp.zeros_like(obs))


def contained(
    diverged: jax.Array, state: State, obs: jax.Array, after: State, step: Step
) -> tuple[State, Step]:
    """Return the next state and the step, truncated where it was sound if the simulation has `diverged`.

    Args:
      diverged: `[]` bool.
      state: before the step, with a clock `t`.
      obs: of it.
      after: the state after the step.
      step: what happened, which none may see if the simulation has diverged.
    """
    kept = jax.tree.map(lambda new, old: jnp.where(diverged, old, new), (after, step.obs), (state, obs))
    terminated = step.terminated & ~diverged
    metrics = {name: jnp.where(diverged, 0.0, value) for name, value in step.metrics.items()}
    return kept[0].replace(t=after.t), replace(
        step,
        obs=kept[1],
        reward=jnp.where(diverged, 0.0, step.reward),
        terminated=terminated,
        truncated=(step.truncated | diverged) & ~terminated,
        metrics=metrics | {"diverged": diverged.astype(jnp.float32)},
    )


def attempt(
    transition: Transition, state: State, obs: jax.Array, action: jax.Array, params: Params
) -> tuple[State, Step]:
    """Return what `transition` does, contained, also in its derivatives.

    A choice by `jnp.where` hides what is not finite, but not its derivatives: 0 times NaN is NaN, and one
    environment would spoil the gradient of all. Those of a step that diverged are those of the kept state.

    Args:
      transition: a function of its arguments alone, for it must not close over traced values.
      state: before the step.
      obs: of it.
      action: one action.
      params: the world's.

    >>> from envs.physics import PointRobot
    >>> env, params = PointRobot(), PointRobot().default_params().replace(damping=jnp.float32(1e6))
    >>> state, obs = env.reset(jax.random.key(0), params)
    >>> step = lambda state, action: env.step(jax.random.key(0), state, action, params)
    >>> state, out = step(state, jnp.ones(2))
    >>> bool(out.truncated), float(out.metrics["diverged"]), float(out.reward)
    (True, 1.0, 0.0)
    """
    after, step, diverged = _outcome(transition, state, action, params)
    return contained(diverged, state, obs, after, step)


def _play(
    transition: Transition, state: State, action: jax.Array, params: Params
) -> tuple[Any, Step, jax.Array]:
    after, step = transition(state, action, params)
    moved = [x for x in jax.tree.leaves(after) if jnp.issubdtype(x.dtype, jnp.floating)]
    return after, step, ~are_sound(step.obs, step.reward, *moved)


_outcome = jax.custom_jvp(_play, nondiff_argnums=(0,))


@_outcome.defjvp
def _outcome_jvp(transition: Transition, primals: Any, tangents: Any) -> tuple[Any, Any]:
    """Differentiate with tangents of 0 where it diverged, before as behind: so it is when transposed, too."""
    out, linear = jax.linearize(partial(_play, transition), *primals)

    def hide(x: Any) -> Any:
        return x if x.dtype == jax.dtypes.float0 else jnp.where(out[-1], jnp.zeros_like(x), x)

    return out, jax.tree.map(hide, linear(*jax.tree.map(hide, tangents)))
