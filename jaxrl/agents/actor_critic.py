"""The policy and the value that a pair of spaces asks for, as functions of parameters.

Two entries of a `Dict` of observations are special: "action_mask" says which of the (multi-)discrete actions
are allowed and is no input of a network, and "privileged" is seen by the critic only. If one other entry
remains, it is encoded as if it were the whole observation, so that an image can be masked.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.spaces import Box, Dict, Space, flat_size
from jaxrl import distributions
from jaxrl.agents.inputs import ACTION_MASK, PRIVILEGED
from jaxrl.nets import ActorCritic, RecurrentActorCritic, encode, encoded_shape


@struct.dataclass
class Input:
    """What a policy and a value are functions of, where an encoded observation is not all.

    With a memory, `x`, `mask` and `first` are stretches `[B, T, ...]` of B environments.

    Attributes:
      x: `[B, ...]` float32, encoded observations.
      mask: `[B, A]` bool, the allowed actions; None for all.
      memory: leaves `[B, H]`, before the first step.
      first: `[B, T]` bool, the steps before which the memory is cleared.
    """

    x: jax.Array
    mask: jax.Array | None = None
    memory: Any = None
    first: jax.Array | None = None


class Encoder(NamedTuple):
    """How observations become inputs.

    Attributes:
      shape: of one encoded observation; the privileged entries follow the others.
      encode: `obs -> (x, mask)`, for any batch; mask is None where the observations have none.
      actor_inputs: how many entries the actor sees, None for all.
    """

    shape: tuple[int, ...]
    encode: Callable[[Any], tuple[jax.Array, jax.Array | None]]
    actor_inputs: int | None


class Model(NamedTuple):
    """The policy and the value of `(params, x)`, where x is an encoded observation or a batch of them.

    Where there is a mask or a memory, x is an `Input`; where there is a memory, one of stretches.

    Attributes:
      init: `key -> params`.
      actor: `(params, x) -> distribution`.
      critic: `(params, x) -> value`.
      to_action: `sample -> action`, what the environment takes: within the bounds, if continuous.
      initial_memory: `batch_shape -> memory` at the start of an episode; `()` if there is none.
      act: `(params, memory, x) -> (memory, distribution)`, one step.
      value_after: `(params, memory, x) -> value` of x, if it is seen next.
    """

    init: Callable[[jax.Array], Any]
    actor: Callable[[Any, Any], Any]
    critic: Callable[[Any, Any], jax.Array]
    to_action: Callable[[jax.Array], jax.Array]
    initial_memory: Callable[[tuple[int, ...]], Any]
    act: Callable[[Any, Any, Any], tuple[Any, Any]]
    value_after: Callable[[Any, Any, Any], jax.Array]


def make_encoder(obs_space: Space, channels: tuple[int, ...] = ()) -> Encoder:
    """Return the encoder of a space, which keeps images as they are if there are `channels`.

    Raises:
      ValueError: if nothing but special entries is observed, or privileged ones stand beside an image.

    >>> space = Dict({"obs": Box(-1, 1, (3,)), PRIVILEGED: Box(-1, 1, (2,))})
    >>> encoder = make_encoder(space)
    >>> encoder.shape, encoder.actor_inputs
    ((5,), 3)
    """
    flatten = not channels
    special, name = {}, None
    if isinstance(obs_space, Dict):
        special = {n: s for n, s in obs_space.spaces.items() if n in (ACTION_MASK, PRIVILEGED)}
        rest = {n: s for n, s in obs_space.spaces.items() if n not in special}
        if not rest:
            raise ValueError(f"`obs_space` must hold something else than {sorted(special)}, got {obs_space}")
        name = next(iter(rest)) if len(rest) == 1 else None
        public = Dict(rest) if name is None else rest[name]
    else:
        public = obs_space
    shape = encoded_shape(public, flatten)
    if PRIVILEGED in special and len(shape) > 1:
        raise ValueError(
            f"`channels` must be empty where observations hold {PRIVILEGED!r}, which cannot be joined to "
            f"an image {shape}, got {channels}"
        )

    def encode_parts(obs):
        x = encode(obs if name is None else obs[name], public, flatten)
        if PRIVILEGED in special:
            x = jnp.concatenate([x, encode(obs[PRIVILEGED], special[PRIVILEGED])], axis=-1)
        return x, obs[ACTION_MASK] if ACTION_MASK in special else None

    if PRIVILEGED not in special:
        return Encoder(shape, encode_parts, None)
    size = flat_size(public)
    return Encoder((size + flat_size(special[PRIVILEGED]),), encode_parts, size)


def make_model(obs_space: Space, action_space: Space, config: Any) -> Model:
    """Return the actor and the critic for these spaces.

    Args:
      obs_space: of one observation.
      action_space: of one action.
      config: an `on_policy.Config`, of which the fields that describe the networks are read.

    Raises:
      ValueError: if no distribution serves the actions, or a mask does not fit them.
    """
    head = distributions.for_space(action_space, squash=config.squash_actions, keep_latent=True)
    encoder = make_encoder(obs_space, config.channels)
    _check_mask(obs_space, action_space, head)
    fields = {
        "size": head.size,
        "hidden_sizes": config.hidden_sizes,
        "activation": config.activation,
        "channels": config.channels,
        "has_scale": head.has_scale,
        "scale_from_input": config.state_dependent_scale,
        "critic_hidden_sizes": config.critic_hidden_sizes,
        "actor_inputs": encoder.actor_inputs,
        "initializer": config.initializer,
    }
    if config.memory != "none":
        network = RecurrentActorCritic(**fields, memory_size=config.memory_size, cell=config.memory)
        return _with_memory(network, head, encoder)
    network = ActorCritic(**fields)

    def init(key):
        return network.init(key, jnp.zeros(encoder.shape))

    def actor(params, x):
        x = _as_input(x)
        return head.distribution(network.apply(params, x.x, method="actor"), x.mask)

    def critic(params, x) -> Any:
        return network.apply(params, _as_input(x).x, method="critic")

    return Model(
        init=init,
        actor=actor,
        critic=critic,
        to_action=head.to_action,
        initial_memory=lambda batch_shape: (),
        act=lambda params, memory, x: (memory, actor(params, x)),
        value_after=lambda params, memory, x: critic(params, x),
    )


def split(params: Any) -> tuple[Any, Any]:
    """Return the actor's and the critic's parameters; `join` puts them together again."""
    parts = params["params"]
    actor = {name: part for name, part in parts.items() if name.startswith("actor")}
    return actor, {name: part for name, part in parts.items() if name not in actor}


def join(actor: Any, critic: Any) -> Any:
    """Return the model's parameters of the actor's and the critic's."""
    return {"params": {**actor, **critic}}


def _with_memory(network: RecurrentActorCritic, head: distributions.ActionHead, encoder: Encoder) -> Model:
    def apply(params, *args, method) -> Any:
        return network.apply(params, *args, method=method)

    def init(key):
        x, first = jnp.zeros((1, *encoder.shape)), jnp.zeros(1, bool)
        return network.init(key, x, network.initial_memory(), first)

    def stretch(params, which, x):
        """Return the outputs `[B, T, ...]` of a stretch; the network takes time first."""
        memory = x.memory[("actor", "critic").index(which)]
        outputs = apply(params, memory, _swap(x.x), _swap(x.first), method=f"{which}_over_time")[1]
        return _swap(outputs)

    def one_step(params, which, memory, x):
        """Return the memory and the outputs after one step more of any batch."""
        batch_shape = x.x.shape[: x.x.ndim - len(encoder.shape)]
        first = jnp.zeros((1, *batch_shape), bool)
        memory, outputs = apply(params, memory, x.x[None], first, method=f"{which}_over_time")
        return memory, outputs[0]

    def act(params, memory, x):
        x = _as_input(x)
        actor_memory, outputs = one_step(params, "actor", memory[0], x)
        critic_memory, _ = one_step(params, "critic", memory[1], x)
        return (actor_memory, critic_memory), head.distribution(outputs, x.mask)

    return Model(
        init=init,
        actor=lambda params, x: head.distribution(stretch(params, "actor", x), x.mask),
        critic=lambda params, x: stretch(params, "critic", x),
        to_action=head.to_action,
        initial_memory=network.initial_memory,
        act=act,
        value_after=lambda params, memory, x: one_step(params, "critic", memory[1], _as_input(x))[1],
    )


def _as_input(x: Any) -> Input:
    return x if isinstance(x, Input) else Input(x)


def _swap(x: jax.Array) -> jax.Array:
    return jnp.swapaxes(x, 0, 1)


def _check_mask(obs_space: Space, action_space: Space, head: distributions.ActionHead) -> None:
    mask = obs_space.spaces.get(ACTION_MASK) if isinstance(obs_space, Dict) else None
    if mask is None:
        return
    if head.has_scale:
        raise ValueError(f"{ACTION_MASK!r} cannot be observed where actions are a Box, got {action_space}")
    if not isinstance(mask, Box) or mask.shape != (head.size,) or mask.dtype != np.dtype(bool):
        raise ValueError(
            f"{ACTION_MASK!r} must be a Box of {head.size} bools, one an action's value, got {mask}"
        )
