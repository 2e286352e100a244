"""What every learner checks before anything is compiled: the world, its parameters, the configuration."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from envs.checks import check_env_like, check_params
from envs.core import Environment, Params
from envs.physics import Randomized
from envs.spaces import Dict, Space
from envs.wrappers import Wrapper
from jaxrl.config import is_traced, validate

# Entries of a `Dict` of observations with a meaning: which actions are allowed, and what only critics see.
ACTION_MASK = "action_mask"
PRIVILEGED = "privileged"


def check(env: Environment, params: Params, config: Any, kind: type) -> None:
    """Check what a learner's `make` is given; traced numbers pass.

    Args:
      env: the environment.
      params: its parameters.
      config: hyperparameters.
      kind: the class that `config` must be of.

    Raises:
      ValueError: naming the argument or field, and what would be accepted.

    >>> import envs
    >>> from jaxrl.agents import ppo, sac
    >>> check(*envs.make("CartPole-v1"), sac.Config(), ppo.Config)
    Traceback (most recent call last):
    ...
    ValueError: `config` must be a jaxrl.agents.ppo.Config, got jaxrl.agents.sac.Config(...)
    """
    check_env_like(env)
    if not isinstance(config, kind):
        got = f"{type(config).__module__}.{type(config).__name__}(...)"
        raise ValueError(f"`config` must be a {kind.__module__}.{kind.__name__}, got {got}")
    validate(config)
    for field in dataclasses.fields(config):
        shape = np.shape(getattr(config, field.name)) if is_traced(field) else ()
        if shape:
            raise ValueError(
                f"`{field.name}` must be one number, got an array of shape {shape}; jaxrl.sweep trains "
                "several configurations"
            )
    _check_kind(env, params)
    if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(params)):
        check_params(env, params)
    if getattr(config, "reset", None) == "first" and _is_randomized(env):
        raise ValueError(
            f"`reset` must be one of 'auto', 'fresh', 'pool' where robots are drawn anew for each episode, "
            f"as in {env.id}, got 'first': each environment would keep its first robot for ever"
        )


def refuse_special(obs_space: Space) -> None:
    """Refuse observations with an entry that only learners from their own rollouts obey.

    Raises:
      ValueError: naming the entry, and who serves it.
    """
    entries = obs_space.spaces if isinstance(obs_space, Dict) else {}
    for name in (ACTION_MASK, PRIVILEGED):
        if name in entries:
            raise ValueError(
                f"`env` must not observe {name!r}, which learners of action values do not obey: they would "
                "show it to the policy as if it were a number like any other; jaxrl.agents.ppo and the other "
                "learners from their own rollouts serve it"
            )


def _check_kind(env: Environment, params: Params) -> None:
    """Check that `params` are of the kind that `env` has, and hold numbers."""
    wanted = type(jax.eval_shape(env.default_params))
    if wanted is not jax.ShapeDtypeStruct and not isinstance(params, wanted):
        raise ValueError(
            f"`params` must be a {wanted.__name__}, as `env.default_params()` of {env.id!r} returns it, got "
            f"{type(params).__name__}"
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not isinstance(leaf, jax.Array) and np.asarray(leaf).dtype.kind not in "biuf":
            name = jax.tree_util.keystr(path).removeprefix(".")
            raise ValueError(f"`params.{name}` must hold numbers, got {leaf!r}")


def _is_randomized(env: Any) -> bool:
    while isinstance(env, Wrapper):
        if isinstance(env, Randomized):
            return True
        env = env.env
    return False
