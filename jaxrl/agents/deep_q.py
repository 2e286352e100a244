"""DQN and its relatives on the loop of `jaxrl.agents.off_policy`: explore, and learn action values.

A method says what its network predicts and what the loss of a batch is; exploration, the optimiser, the
target network and the health metrics are the same for all.

Source: Mnih et al. (2015), "Human-level control through deep reinforcement learning"; Hessel et al. (2018),
https://arxiv.org/abs/1710.02298, for the parts of Rainbow. The defaults are those of CleanRL's dqn_jax.py;
its one gradient step every ten environment steps is here one an iteration of ten environments.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from envs.core import Environment, Params
from jaxrl.agents import off_policy
from jaxrl.agents.off_policy import Batch, Weights
from jaxrl.algorithm import Algorithm, num_actions
from jaxrl.config import static, traced
from jaxrl.explore import schedules, selection
from jaxrl.nets import QNetwork, encoded_shape
from jaxrl.nets.initializers import INITIALIZERS
from jaxrl.ops.diagnostics import dead_units


@struct.dataclass
class QConfig(off_policy.NetworkConfig):
    """What every learner of action values with a network has; the defaults are CleanRL's dqn_jax.py."""

    learning_rate: float = traced(2.5e-4, ge=0)
    """Step size of the optimiser."""
    epsilon_start: float = traced(1.0, ge=0, le=1)
    """Chance of a random action at the start."""
    epsilon_end: float = traced(0.05, ge=0, le=1)
    """Chance of a random action once exploration has ended."""
    exploration_fraction: float = traced(0.5, gt=0, le=1)
    """Share of the training over which that chance falls, linearly."""
    dueling: bool = static(False)
    """Whether the network splits into a value and advantages."""
    noisy: bool = static(False)
    """Whether the dense layers have learned noise to explore with; set epsilon_start and epsilon_end to 0."""
    initializer: str = static("orthogonal", choices=tuple(INITIALIZERS))
    """What kernels start from; orthogonal ones are scaled by sqrt(2) before a ReLU."""


@struct.dataclass
class Config(QConfig, off_policy.Config):
    """Hyperparameters of DQN and its relatives; the defaults are CleanRL's."""

    initializer: str = static("lecun_normal", choices=tuple(INITIALIZERS))
    """What kernels start from; from orthogonal ones, scaled for a ReLU, DQN forgets more often."""
    target_update_period: int = static(500, ge=1)
    """Environment steps between updates of the target network; at most one is made an iteration."""


class Method(NamedTuple):
    """What distinguishes one relative of DQN from another.

    Attributes:
      init: `key -> params`.
      values: `(params, x, key or None) -> [..., A]`, the action values that are acted on; the key is for
        networks with noise, which is left out without it.
      loss: `(params, target_params, batch, key) -> (losses [B], errors [B])`; errors are what priorities
        are made of and what is reported: the TD error in units of the return, or the loss.
      hidden: `(params, x) -> ` the activations of each hidden layer, `[B, H]` each.
    """

    init: Callable[[jax.Array], Any]
    values: Callable[[Any, jax.Array, jax.Array | None], jax.Array]
    loss: Callable[[Any, Any, Batch, jax.Array], tuple[jax.Array, jax.Array]]
    hidden: Callable[[Any, jax.Array], list[jax.Array]]


class Network(NamedTuple):
    """The network as functions; K numbers for each of A actions.

    Attributes:
      init: `key -> params`.
      outputs: `(params, x [B, ...], key or None) -> [B, A, K]`.
      hidden: as of `Method`.
    """

    init: Callable[[jax.Array], Any]
    outputs: Callable[..., jax.Array]
    hidden: Callable[[Any, jax.Array], list[jax.Array]]


def make(env: Environment, params: Params, config: Config, method: Method) -> Algorithm:
    """Return the algorithm that runs `method` on `env`.

    Raises:
      ValueError: if sizes do not fit each other, or the replay does not fit in memory; `inputs.check` is
        left to the learner whose method it is.
    """
    steps_per_iteration = config.num_envs * config.num_steps
    optimizer = off_policy.adam(config)
    epsilon = schedules.linear(
        config.epsilon_start, config.epsilon_end, config.exploration_fraction * config.total_steps
    )

    def init(key):
        online = method.init(key)
        return Weights(online, online, optimizer.init(online))

    def act(model_params, x, memory, key, t):
        keys = jax.random.split(key, config.num_envs + 1)
        q = method.values(model_params, x, keys[0] if config.noisy else None)
        chance = epsilon(t * steps_per_iteration)
        return jax.vmap(selection.epsilon_greedy, in_axes=(0, 0, None))(keys[1:], q, chance), (), memory

    def update(weights, batch, key, count):
        def loss(online):
            losses, errors = method.loss(online, weights.target_params, batch, key)
            return jnp.mean(losses * batch.weight), errors

        (total, errors), gradient = jax.value_and_grad(loss, has_aux=True)(weights.params)
        direction, opt_state = optimizer.update(gradient, weights.opt_state)
        rate = off_policy.annealed(config.learning_rate, count, config)
        online = jax.tree.map(lambda p, d: p - rate * d, weights.params, direction)
        metrics = {"loss": total, "grad_norm": optax.tree.norm(gradient)}
        return Weights(online, weights.target_params, opt_state), errors, metrics

    def health(weights, x):
        q, target_q = (method.values(p, x, None) for p in (weights.params, weights.target_params))
        best = jnp.max(q, axis=-1)
        return {
            "q_mean": jnp.mean(best),
            "q_max": jnp.max(q),
            "q_spread": jnp.std(best),
            "target_gap": jnp.mean(jnp.abs(q - target_q)),
            "dead_units": dead_units(method.hidden(weights.params, x)),
        }

    def sync(weights, t):
        target_params = off_policy.update_target(
            weights.params, weights.target_params, t, config.target_update_period, config
        )
        return replace(weights, target_params=target_params)

    def greedy(model_params, x, memory):
        return jnp.argmax(method.values(model_params, x, None), axis=-1).astype(jnp.int32), memory

    learner = off_policy.Learner(
        init=init,
        act=act,
        update=update,
        health=health,
        greedy=greedy,
        value=lambda model_params, x, memory: jnp.max(method.values(model_params, x, None), axis=-1),
        sync=sync,
        metrics=lambda t: {"epsilon": epsilon(t * steps_per_iteration)},
    )
    return off_policy.make(env, params, config, learner)


def network(env: Environment, params: Params, config: QConfig, num_outputs: int = 1) -> Network:
    """Return the network of K = `num_outputs` numbers an action, as functions of its parameters.

    Args:
      env: the environment.
      params: its parameters.
      config: sizes and options of the network.
      num_outputs: K.

    Raises:
      ValueError: if the actions are not discrete.
    """
    obs_space = env.observation_space(params)
    module = QNetwork(
        num_actions=num_actions(env, params),
        num_outputs=num_outputs,
        hidden_sizes=config.hidden_sizes,
        activation=config.activation,
        channels=config.channels,
        layer_norm=config.layer_norm,
        dueling=config.dueling,
        noisy=config.noisy,
        initializer=config.initializer,
    )

    def init(key):
        x = jnp.zeros(encoded_shape(obs_space, flatten=not config.channels))
        return {"params": module.init(key, x)["params"]}

    def outputs(params, x, key=None) -> Any:
        return module.apply(params, x, rngs={"noise": key} if config.noisy and key is not None else None)

    def hidden(params, x) -> list[jax.Array]:
        sown: Any = module.apply(params, x, mutable=["intermediates"])[1]
        return list(sown.get("intermediates", {}).get("hidden", ()))

    return Network(init, outputs, hidden)
