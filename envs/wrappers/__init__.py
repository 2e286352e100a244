"""Wrappers: environments made from an environment, each changing one thing.

A wrapper is an environment like any other. What it keeps in its state lies around the inner state, and its
numbers lie around the inner params (`WrappedParams`), so that they are traced and mapped over like others.
Optional members (`time_limit`, `check_params`, `draw`, `action_mask`, `ascii`, `frame`, and what
`envs.testing` asks for) are there if the inner environment has them; the exact model is, unless the wrapper
changes what a state is. A wrapper with numbers of its own always has `check_params`.
"""

from typing import Any

from envs.core import Params, unknown
from envs.wrappers.actions import ActionRepeat, StickyActions
from envs.wrappers.observations import (
    ActionMaskObservation,
    DiscretiseObservation,
    FlattenObservation,
    FrameStack,
    NoisyObservation,
    NormaliseObservation,
    ObservationWrapper,
    PartialObservation,
    TimeAwareObservation,
)
from envs.wrappers.rewards import PotentialShaping, TransformReward
from envs.wrappers.wrapper import WrappedParams, WrappedState, Wrapper

__all__ = [
    "WRAPPERS",
    "ActionMaskObservation",
    "ActionRepeat",
    "DiscretiseObservation",
    "FlattenObservation",
    "FrameStack",
    "NoisyObservation",
    "NormaliseObservation",
    "ObservationWrapper",
    "PartialObservation",
    "PotentialShaping",
    "StickyActions",
    "TimeAwareObservation",
    "TransformReward",
    "WrappedParams",
    "WrappedState",
    "Wrapper",
    "wrap",
]

WRAPPERS: dict[str, type[Wrapper]] = {
    "action_mask_observation": ActionMaskObservation,
    "action_repeat": ActionRepeat,
    "discretise_observation": DiscretiseObservation,
    "flatten_observation": FlattenObservation,
    "frame_stack": FrameStack,
    "noisy_observation": NoisyObservation,
    "normalise_observation": NormaliseObservation,
    "partial_observation": PartialObservation,
    "potential_shaping": PotentialShaping,
    "sticky_actions": StickyActions,
    "time_aware_observation": TimeAwareObservation,
    "transform_reward": TransformReward,
}


def wrap(env: Any, params: Params, name: str, **options: Any) -> tuple[Wrapper, Params]:
    """Return the wrapper called `name` around `env`, and `params` as its params.

    Args:
      env: an environment.
      params: its parameters, which are kept.
      name: a key of `WRAPPERS`.
      **options: as the wrapper's constructor takes them.

    Raises:
      ValueError: if there is no such wrapper, or it does not take the options.

    >>> import envs
    >>> env, params = wrap(*envs.make("CartPole-v1"), "frame_stack", count=2)
    >>> env.id
    'FrameStack(CartPole-v1, count=2)'
    """
    if isinstance(env, type) or not hasattr(env, "observation_space"):
        raise ValueError(f"`env` must be an environment, the first that `envs.make` returns, got {env!r}")
    if not isinstance(name, str) or name not in WRAPPERS:
        raise ValueError(unknown("wrapper", str(name), list(WRAPPERS)))
    try:
        wrapped = WRAPPERS[name](env, **options)
    except TypeError as error:
        raise ValueError(f"wrapper {name!r} does not take the options {sorted(options)}: {error}") from error
    return wrapped, wrapped.wrap_params(params)
