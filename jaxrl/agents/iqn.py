"""IQN: the distribution of the return as a function of the quantile's level, which is drawn.

Source: Dabney et al. (2018), "Implicit Quantile Networks for Distributional Reinforcement Learning",
https://arxiv.org/abs/1806.06923, equations 2 to 4.
"""

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.agents import deep_q, inputs
from jaxrl.algorithm import Algorithm, num_actions
from jaxrl.config import static, traced
from jaxrl.nets import ImplicitQuantileNetwork, encoded_shape
from jaxrl.ops import values as ops


@struct.dataclass
class Config(deep_q.Config):
    """Hyperparameters of IQN."""

    huber_threshold: float = traced(1.0, gt=0)
    """Error from which the loss grows linearly; the paper's kappa."""
    risk_level: float = traced(1.0, gt=0, le=1)
    """Share of the worst returns whose mean is acted on (CVaR): 1 for all, below 1 to avoid risk."""
    num_quantiles: int = static(8, ge=1)
    """Levels drawn for the prediction, and as many for the target; 64 in the paper, where 8 does as well."""
    num_acting_quantiles: int = static(32, ge=1)
    """Levels, evenly spaced, whose mean is acted on."""
    double: bool = static(False)
    """Whether the online network chooses the action whose distribution the target network predicts."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return IQN on `env`, whose actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, sizes or options do not fit each other, the
        actions are not discrete, or the replay does not fit in memory.
    """
    inputs.check(env, params, config, Config)
    for name in ("dueling", "noisy"):
        if getattr(config, name):
            raise ValueError(f"`{name}` must be False for IQN, whose network has neither; rainbow has both")
    if len(config.hidden_sizes) < 2:
        raise ValueError(f"`hidden_sizes` must name at least two layers for IQN, got {config.hidden_sizes}")
    module = ImplicitQuantileNetwork(
        num_actions=num_actions(env, params),
        hidden_sizes=config.hidden_sizes,
        activation=config.activation,
        channels=config.channels,
        layer_norm=config.layer_norm,
        initializer=config.initializer,
    )
    shape = encoded_shape(env.observation_space(params), flatten=not config.channels)
    spaced = (jnp.arange(config.num_acting_quantiles, dtype=jnp.float32) + 0.5) / config.num_acting_quantiles

    def init(key):
        return {"params": module.init(key, jnp.zeros(shape), spaced)["params"]}

    def quantiles(model_params, x, levels) -> jax.Array:
        return module.apply(model_params, x, levels)  # type: ignore[return-value]

    def acting_levels(x):
        return jnp.broadcast_to(config.risk_level * spaced, (*x.shape[: x.ndim - len(shape)], len(spaced)))

    def values(model_params, x, key):
        return jnp.mean(quantiles(model_params, x, acting_levels(x)), axis=-1)

    def loss(online, target_params, batch, key):
        keys = jax.random.split(key)
        levels, target_levels = jax.random.uniform(keys[0], (2, len(batch.x), config.num_quantiles))
        selector = values(online if config.double else target_params, batch.next_x, None)
        next_quantiles = quantiles(target_params, batch.next_x, target_levels)
        next_quantiles = ops.select(next_quantiles, jnp.argmax(selector, axis=-1))
        target = batch.reward[:, None] + batch.discount[:, None] * next_quantiles
        predicted = ops.select(quantiles(online, batch.x, levels), batch.action)
        losses = ops.quantile_huber_loss(predicted, levels, target, config.huber_threshold)
        return losses, jnp.mean(target, axis=-1) - jnp.mean(predicted, axis=-1)

    def hidden(model_params, x):
        _, sown = module.apply(model_params, x, acting_levels(x), mutable=["intermediates"])
        return list(sown["intermediates"]["hidden"])

    return deep_q.make(env, params, config, deep_q.Method(init, values, loss, hidden))
