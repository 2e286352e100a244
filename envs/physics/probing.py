"""Proof that what is randomised matters: robots at both ends of each range, beside the nominal one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from envs.checks import check_size
from envs.core import Obs
from envs.physics import fields
from envs.physics.randomization import Randomized, check_randomized
from envs.wrappers import WrappedParams

# A relative change of the observations below this is rounding, not an effect.
MIN_EFFECT = 1e-5


def probe(
    env: Randomized,
    params: WrappedParams | None = None,
    key: jax.Array | None = None,
    num_steps: int = 32,
) -> dict[str, float]:
    """Return how much each variation changes what happens, and refuse those that change nothing.

        effect = max over both ends of  rms(obs - nominal obs) / rms(nominal obs - first obs)

    over `num_steps` steps of the same random actions from the same start. Both ends must have an effect, but
    one that is the nominal value: a range of which a part does nothing is narrower than it says.

    Args:
      env: what varies.
      params: with the ranges at whose ends to look.
      key: of the start and the actions.
      num_steps: how far to look.

    Raises:
      ValueError: if a variation has no effect in this world, though its field exists, or none at one end of
        its range, or changes nothing because its range is the nominal value; if the nominal robot's
        observations are not finite or its simulation diverges; or if `num_steps` is not positive.

    >>> import envs
    >>> from envs.physics import Variation
    >>> effects = probe(Randomized(envs.make("Pendulum-v1")[0], (Variation("mass", 0.5, 2.0),)))
    >>> effects["mass"] > 0.1
    True
    """
    check_randomized(env)
    check_size("num_steps", num_steps)
    ranges: WrappedParams = env.default_params() if params is None else params
    key = jax.random.key(0) if key is None else key
    env.check(ranges)
    nominal = env.nominal(ranges)
    effects, is_sound = (np.asarray(x) for x in _effects(env, num_steps, ranges, nominal, key))
    where = f"{fields.world(env)} ({env.env.id}) within {num_steps} random steps"
    if not is_sound:
        raise ValueError(f"`params` must hold a nominal robot that stays finite, but it diverges in {where}")
    # What is not finite is an effect, too: the robot fell apart.
    effects = np.where(np.isfinite(effects), effects, np.inf)
    ends = np.stack([ranges.values["low"], ranges.values["high"]])
    inert = effects < MIN_EFFECT
    is_nominal = np.isclose(ends, np.asarray(nominal))
    dead = np.where(inert.all(axis=0), True, inert & ~is_nominal)
    labels = [variation.label for variation in env.variations]
    if dead.any():
        alive = [label for i, label in enumerate(labels) if not dead[:, i].any()] or ["none"]
        named = [
            f"{label!r}" + ("" if dead[:, i].all() else f" at {ends[dead[:, i], i][0]:.6g}")
            for i, label in enumerate(labels)
            if dead[:, i].any()
        ]
        raise ValueError(
            f"`variations` must change the dynamics at both ends, but {', '.join(named)} changes nothing in "
            f"{where}; with effect: {', '.join(alive)}"
        )
    return dict(zip(labels, effects.max(axis=0).tolist(), strict=True))


@partial(jax.jit, static_argnames=("env", "num_steps"))
def _effects(
    env: Randomized, num_steps: int, params: WrappedParams, nominal: jax.Array, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the effects of both ends `[2, D]`, and whether the nominal robot `[D]` stayed finite."""
    key_reset, key_actions, key_steps = jax.random.split(key, 3)
    size = len(env.variations)
    space = env.action_space(params)
    actions = jax.vmap(space.sample)(jax.random.split(key_actions, num_steps))
    keys = jax.random.split(key_steps, num_steps)

    def observed(values):
        robot = env.bind(params.env, values)
        state, obs = env.env.reset(key_reset, robot)

        def step(state, at):
            state, out = env.env.step(at[0], state, at[1], robot)
            return state, (_flat(out.obs), out.metrics.get("diverged", jnp.float32(0.0)))

        return _flat(obs), jax.lax.scan(step, state, (keys, actions))[1]

    ends = jnp.stack([params.values["low"], params.values["high"]])
    changed = jnp.where(jnp.eye(size, dtype=bool)[None], ends[:, None, :], nominal[None, None])
    rows = jnp.concatenate([nominal[None], changed.reshape(2 * size, size)])
    first, (later, diverged) = jax.vmap(observed)(rows)
    is_sound = jnp.isfinite(first[0]).all() & jnp.isfinite(later[0]).all() & ~(diverged[0] > 0).any()

    def rms(x):
        return jnp.sqrt(jnp.mean(jnp.square(x), axis=(-2, -1)))

    moved = rms(later[0] - first[0][None])
    return rms(later[1:] - later[:1]).reshape(2, size) / (moved + 1e-9), is_sound


def _flat(obs: Obs) -> jax.Array:
    return jnp.concatenate([jnp.ravel(x).astype(jnp.float32) for x in jax.tree.leaves(obs)])
