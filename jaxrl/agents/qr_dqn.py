"""QR-DQN: the distribution of the return as quantiles at fixed levels.

Source: Dabney et al. (2018), https://arxiv.org/abs/1710.10044, algorithm 1.
"""

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.agents import deep_q, inputs
from jaxrl.algorithm import Algorithm
from jaxrl.config import static, traced
from jaxrl.ops import values as ops


@struct.dataclass
class Config(deep_q.Config):
    """Hyperparameters of QR-DQN."""

    huber_threshold: float = traced(1.0, gt=0)
    """Error from which the loss grows linearly; the paper's kappa."""
    num_quantiles: int = static(51, ge=1)
    """Quantiles that stand for the distribution, at levels (i + 1/2) / num_quantiles; 200 in the paper."""
    double: bool = static(False)
    """Whether the online network chooses the action whose distribution the target network predicts."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return QR-DQN on `env`, whose actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, sizes do not fit each other, the actions are
        not discrete, or the replay does not fit in memory.
    """
    inputs.check(env, params, config, Config)
    network = deep_q.network(env, params, config, num_outputs=config.num_quantiles)
    levels = (jnp.arange(config.num_quantiles, dtype=jnp.float32) + 0.5) / config.num_quantiles

    def values(model_params, x, key):
        return jnp.mean(network.outputs(model_params, x, key), axis=-1)

    def loss(online, target_params, batch, key):
        key, key_target, key_selector = jax.random.split(key, 3)
        next_quantiles = network.outputs(target_params, batch.next_x, key_target)
        selector = (
            values(online, batch.next_x, key_selector) if config.double else jnp.mean(next_quantiles, -1)
        )
        next_quantiles = ops.select(next_quantiles, jnp.argmax(selector, axis=-1))
        target = batch.reward[:, None] + batch.discount[:, None] * next_quantiles
        quantiles = ops.select(network.outputs(online, batch.x, key), batch.action)
        at = jnp.broadcast_to(levels, quantiles.shape)
        losses = ops.quantile_huber_loss(quantiles, at, target, config.huber_threshold)
        return losses, jnp.mean(target, axis=-1) - jnp.mean(quantiles, axis=-1)

    method = deep_q.Method(init=network.init, values=values, loss=loss, hidden=network.hidden)
    return deep_q.make(env, params, config, method)
