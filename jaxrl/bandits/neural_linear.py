"""Neural-linear: Thompson sampling with linear models of features that a network learns.

The network is trained on what was seen, once an iteration; on its last hidden layer every arm has a Bayesian
linear model, which is exact given the layer, and is fitted anew whenever the layer changes.

Source: Riquelme, Tucker and Snoek (2018), "Deep Bayesian bandits showdown", https://arxiv.org/abs/1802.09127,
section 4, here with a known noise scale where they infer it.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.bandits import ridge
from jaxrl.bandits.learner import Learner, algorithm, num_features, number_of_arms
from jaxrl.config import static, traced, validate
from jaxrl.nets.mlp import ACTIVATIONS, MLP
from jaxrl.ops.noise import bulk


@struct.dataclass
class Config:
    """Hyperparameters of the neural-linear bandit."""

    learning_rate: float = traced(3e-3, ge=0)
    """Step size of Adam."""
    exploration: float = traced(0.5, ge=0)
    """Scale of the posterior: the standard deviation of a reward around its prediction."""
    regularization: float = traced(1.0, gt=0)
    """Precision of the prior on each coefficient, in units of the noise's."""
    num_steps: int = static(100, ge=1)
    """Pulls an iteration; the network is trained after each."""
    num_updates: int = static(50, ge=0)
    """Steps of Adam an iteration."""
    batch_size: int = static(128, ge=1)
    """Pulls in a step of Adam, drawn from the latest."""
    buffer_size: int = static(4096, ge=1)
    """How many of the latest pulls are kept."""
    hidden_sizes: tuple[int, ...] = static((32, 32))
    """Widths of the dense layers; the last is what the linear models see."""
    activation: str = static("relu", choices=tuple(ACTIVATIONS))
    """Activation of the hidden layers."""


@struct.dataclass
class Beliefs:
    """The network, its optimiser, the linear models on its last layer, and the latest M pulls.

    Attributes:
      params: of the network.
      opt_state: of Adam.
      models: a linear model an arm.
      contexts: `[M, F]` float32.
      arms: `[M]` int32.
      rewards: `[M]` float32.
    """

    params: Any
    opt_state: optax.OptState
    models: ridge.Ridge
    contexts: jax.Array
    arms: jax.Array
    rewards: jax.Array


class Network(nn.Module):
    """Features of a context, and from them a prediction of every arm's reward."""

    num_arms: int
    hidden_sizes: tuple[int, ...]
    activation: str

    def setup(self):
        """Declare the layers."""
        self.body = MLP(self.hidden_sizes, self.activation)
        self.head = nn.Dense(self.num_arms)

    def features(self, x: jax.Array) -> jax.Array:
        """Return `[..., H + 1]`, the last hidden layer and a constant 1."""
        hidden = self.body(x)
        return jnp.concatenate([hidden, jnp.ones((*hidden.shape[:-1], 1))], axis=-1)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the prediction of every arm's reward, `[..., A]`."""
        return self.head(self.body(x))


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return the neural-linear bandit on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, or the actions are not discrete.
    """
    validate(config)
    num_arms, size = number_of_arms(env, params), num_features(env, params)
    network = Network(num_arms, tuple(config.hidden_sizes), config.activation)
    width = (*(size,), *config.hidden_sizes)[-1] + 1
    optimizer = optax.scale_by_adam()

    def features(beliefs, x) -> Any:
        return network.apply(beliefs.params, x, method="features")

    def init(key):
        network_params = network.init(key, jnp.zeros(size))
        return Beliefs(
            params=network_params,
            opt_state=optimizer.init(network_params),
            models=ridge.init(num_arms, width, config.regularization),
            contexts=jnp.zeros((config.buffer_size, size), jnp.float32),
            arms=jnp.zeros(config.buffer_size, jnp.int32),
            rewards=jnp.zeros(config.buffer_size, jnp.float32),
        )

    def select(beliefs, x, noise, n):
        mean, variance = ridge.predict(beliefs.models, features(beliefs, x))
        return jnp.argmax(mean + config.exploration * jnp.sqrt(variance) * noise).astype(jnp.int32)

    def update(beliefs, x, arm, reward, n):
        slot = n % config.buffer_size
        return beliefs.replace(
            models=ridge.update(beliefs.models, features(beliefs, x), arm, reward),
            contexts=beliefs.contexts.at[slot].set(x),
            arms=beliefs.arms.at[slot].set(arm),
            rewards=beliefs.rewards.at[slot].set(reward),
        )

    def refit(beliefs, key, n):
        filled = jnp.minimum(n, config.buffer_size)

        def descend(carry, key):
            network_params, opt_state = carry
            rows = jax.random.randint(key, (config.batch_size,), 0, filled)
            gradient = jax.grad(loss)(
                network_params, network, beliefs.contexts[rows], beliefs.arms[rows], beliefs.rewards[rows]
            )
            direction, opt_state = optimizer.update(gradient, opt_state)
            moved = jax.tree.map(lambda p, d: p - config.learning_rate * d, network_params, direction)
            return (moved, opt_state), None

        keys = jax.random.split(key, config.num_updates)
        (network_params, opt_state), _ = jax.lax.scan(descend, (beliefs.params, beliefs.opt_state), keys)
        beliefs = beliefs.replace(params=network_params, opt_state=opt_state)
        models = fit(
            features(beliefs, beliefs.contexts),
            jnp.where(jnp.arange(config.buffer_size) < filled, beliefs.arms, -1),
            beliefs.rewards,
            num_arms,
            config.regularization,
        )
        return beliefs.replace(models=models)

    learner = Learner(
        init=init,
        draw=lambda key, num: bulk(jax.random.normal, key, num, (num_arms,)),
        select=select,
        update=update,
        values=lambda beliefs, x: ridge.predict(beliefs.models, features(beliefs, x))[0],
        refit=refit,
    )
    return algorithm(env, params, learner, config.num_steps)


def loss(params: Any, network: Network, x: jax.Array, arm: jax.Array, reward: jax.Array) -> jax.Array:
    """Return half the mean squared error of the pulled arms' predictions, `[]` float32.

    Args:
      params: of the network.
      network: the network.
      x: `[B, F]` float32.
      arm: `[B]` int32.
      reward: `[B]` float32.
    """
    predicted: Any = network.apply(params, x)
    return 0.5 * jnp.mean(jnp.square(jnp.take_along_axis(predicted, arm[:, None], axis=1)[:, 0] - reward))


def fit(
    features: jax.Array,
    arms: jax.Array,
    rewards: jax.Array,
    num_arms: int,
    regularization: float | jax.Array,
) -> ridge.Ridge:
    """Return the linear models fitted to M rows at once.

    Args:
      features: `[M, H]` float32.
      arms: `[M]` int32; rows of arm -1 are left out.
      rewards: `[M]` float32.
      num_arms: A.
      regularization: the prior's precision.
    """
    own = jax.nn.one_hot(arms, num_arms)
    precision = jnp.einsum("ma,mi,mj->aij", own, features, features, optimize=True)
    precision = precision + regularization * jnp.eye(features.shape[1])[None]
    return ridge.Ridge(
        inverse=jax.vmap(ridge.inverse_of)(precision),
        moment=jnp.einsum("ma,mi,m->ai", own, features, rewards),
    )
