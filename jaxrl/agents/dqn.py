"""Deep Q-learning, with double targets, dueling streams, prioritised replay, several steps, noise or entropy.

Source: Mnih et al. (2015), "Human-level control through deep reinforcement learning"; van Hasselt et al.
(2016), https://arxiv.org/abs/1509.06461 (`double`); Vieillard et al. (2020), https://arxiv.org/abs/2007.14430
(`munchausen`); the defaults are CleanRL's dqn_jax.py, which is neither.
"""

import jax
import jax.numpy as jnp
import optax
from flax import struct

from envs.core import Environment, Params
from jaxrl.agents import deep_q, inputs
from jaxrl.algorithm import Algorithm
from jaxrl.config import static, traced
from jaxrl.ops import values as ops


@struct.dataclass
class Config(deep_q.Config):
    """Hyperparameters of DQN."""

    huber_threshold: float = traced(1.0, gt=0)
    """TD error from which the loss grows linearly (loss huber)."""
    entropy_temperature: float = traced(0.03, gt=0)
    """Temperature of the softmax policy in the target (munchausen)."""
    munchausen_scale: float = traced(0.9, ge=0, le=1)
    """Weight of the policy's scaled log-probability in the reward (munchausen)."""
    munchausen_clip: float = traced(-1.0, lt=0)
    """Lower bound of that log-probability (munchausen)."""
    loss: str = static("squared", choices=("squared", "huber"))
    """Loss of a TD error: squared as in CleanRL, or Huber's as in the paper."""
    double: bool = static(False)
    """Whether the online network chooses the action that the target network evaluates."""
    munchausen: bool = static(False)
    """Whether targets have the Munchausen bonus and a soft value; needs n_step = 1 and not double."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return DQN on `env`, whose actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, sizes or options do not fit each other, the
        actions are not discrete, or the replay does not fit in memory.
    """
    inputs.check(env, params, config, Config)
    if config.munchausen and (config.double or config.n_step != 1):
        raise ValueError(
            "`munchausen` must go with double=False and n_step=1, got "
            f"double={config.double} and n_step={config.n_step}"
        )
    network = deep_q.network(env, params, config)

    def values(model_params, x, key):
        return jnp.squeeze(network.outputs(model_params, x, key), axis=-1)

    def loss(online, target_params, batch, key):
        keys = jax.random.split(key, 3)
        target = targets(online, target_params, batch, keys)
        error = target - ops.select(values(online, batch.x, keys[0]), batch.action)
        if config.loss == "huber":
            return optax.losses.huber_loss(error, delta=config.huber_threshold), error
        return jnp.square(error), error

    def targets(online, target_params, batch, keys):
        next_q = values(target_params, batch.next_x, keys[1])
        if config.munchausen:
            return ops.munchausen_target(
                batch.reward,
                batch.discount,
                values(target_params, batch.x, keys[1]),
                batch.action,
                next_q,
                config.entropy_temperature,
                config.munchausen_scale,
                config.munchausen_clip,
            )
        selector = values(online, batch.next_x, keys[2]) if config.double else None
        return ops.q_target(batch.reward, batch.discount, next_q, selector)

    method = deep_q.Method(init=network.init, values=values, loss=loss, hidden=network.hidden)
    return deep_q.make(env, params, config, method)
