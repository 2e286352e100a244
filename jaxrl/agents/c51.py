"""C51: the distribution of the return as probabilities of fixed values.

Source: Bellemare, Dabney and Munos (2017), https://arxiv.org/abs/1707.06887, algorithm 1; the defaults are
CleanRL's c51_jax.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer

from envs.core import Environment, Params
from jaxrl.agents import deep_q, inputs
from jaxrl.algorithm import Algorithm
from jaxrl.config import static, traced
from jaxrl.ops import values as ops


@struct.dataclass
class Config(deep_q.Config):
    """Hyperparameters of C51."""

    min_value: float = traced(-100.0)
    """Smallest return that can be represented."""
    max_value: float = traced(100.0)
    """Largest return that can be represented."""
    num_atoms: int = static(101, ge=2)
    """Values that the return may take, evenly spaced."""
    double: bool = static(False)
    """Whether the online network chooses the action whose distribution the target network predicts."""

    def check(self) -> None:
        """Check the fields together; see `jaxrl.config.validate`."""
        super().check()
        low, high = self.min_value, self.max_value
        if not isinstance(low, Tracer) and not isinstance(high, Tracer) and not np.all(np.less(low, high)):
            raise ValueError(f"`max_value` must be greater than min_value = {low}, got {high}")


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return C51 on `env`, whose actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, sizes do not fit each other, the actions are
        not discrete, or the replay does not fit in memory.
    """
    inputs.check(env, params, config, Config)
    low, high = config.min_value, config.max_value
    network = deep_q.network(env, params, config, num_outputs=config.num_atoms)
    support = low + (high - low) * jnp.linspace(0.0, 1.0, config.num_atoms)

    def values(model_params, x, key):
        return jax.nn.softmax(network.outputs(model_params, x, key)) @ support

    def loss(online, target_params, batch, key):
        key, key_target, key_selector = jax.random.split(key, 3)
        next_logits = network.outputs(target_params, batch.next_x, key_target)
        next_p = jax.nn.softmax(next_logits)
        selector = values(online, batch.next_x, key_selector) if config.double else next_p @ support
        next_p = ops.select(next_p, jnp.argmax(selector, axis=-1))
        atoms = batch.reward[:, None] + batch.discount[:, None] * support[None]
        target = ops.project(next_p, atoms, support)
        logits = ops.select(network.outputs(online, batch.x, key), batch.action)
        losses = ops.cross_entropy(logits, target)
        # What is left once the distributions agree is the target's entropy; priorities are made of the rest.
        divergence = losses - ops.cross_entropy(jnp.log(jnp.maximum(target, 1e-12)), target)
        return losses, divergence

    method = deep_q.Method(init=network.init, values=values, loss=loss, hidden=network.hidden)
    return deep_q.make(env, params, config, method)
