"""PQN: Q(lambda) on parallel environments with layer norm, without replay or target network.

Source: Gallici et al. (2025), "Simplifying Deep Temporal Difference Learning", algorithm 1,
https://arxiv.org/abs/2407.04811; the defaults are CleanRL's pqn.py. Targets bootstrap from the true next
observation, so a time limit is not taken for a terminal state, and no target reaches over an episode's end.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from envs.core import Environment, Params
from envs.vector import VecEnv, VecState
from jaxrl import ops
from jaxrl.agents import inputs
from jaxrl.agents.deep_q import QConfig, network
from jaxrl.algorithm import Algorithm, Policy
from jaxrl.config import check_minibatches, static, traced
from jaxrl.explore import schedules, selection
from jaxrl.nets import encode
from jaxrl.ops.diagnostics import dead_units
from jaxrl.ops.values import select
from jaxrl.rollout import episode_metrics, unroll


@struct.dataclass
class Config(QConfig):
    """Hyperparameters of PQN; the defaults are those of CleanRL's pqn.py."""

    q_lambda: float = traced(0.65, ge=0, le=1)
    """Trace decay of the targets."""
    max_grad_norm: float = traced(10.0, gt=0)
    """Global norm at which the gradient is clipped."""
    num_envs: int = static(4, ge=1)
    """Environments stepped side by side."""
    num_steps: int = static(128, ge=1)
    """Steps of each environment in a rollout."""
    num_epochs: int = static(4, ge=1)
    """Passes over each rollout."""
    num_minibatches: int = static(4, ge=1)
    """Minibatches of each pass; must divide num_envs * num_steps."""
    anneal_learning_rate: bool = static(True)
    """Whether the learning rate falls linearly to zero over total_steps."""
    layer_norm: bool = static(True)
    """Whether hidden layers are normalised, which is what makes learning without a target network stable."""


@struct.dataclass
class State:
    """Everything PQN carries from one iteration to the next."""

    params: Any
    opt_state: optax.OptState
    vec_state: VecState
    obs: Any
    key: jax.Array


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return PQN on `env`, whose actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, the sizes do not divide, or the actions are
        not discrete.
    """
    inputs.check(env, params, config, Config)
    batch_size = check_minibatches(config.num_envs, config.num_steps, config.num_minibatches)
    vec = VecEnv(env, config.num_envs, reset=config.reset)
    obs_space = env.observation_space(params)
    inputs.refuse_special(obs_space)
    net = network(env, params, config)
    optimizer = optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.scale_by_radam())
    epsilon = schedules.linear(
        config.epsilon_start, config.epsilon_end, config.exploration_fraction * config.total_steps
    )
    rate_end = 0.0 if config.anneal_learning_rate else config.learning_rate
    learning_rate = schedules.linear(config.learning_rate, rate_end, config.total_steps)

    def see(obs):
        return encode(obs, obs_space, flatten=not config.channels)

    def values(model_params, x, key=None):
        return jnp.squeeze(net.outputs(model_params, x, key), axis=-1)

    def init(key):
        key_params, key_env, key = jax.random.split(key, 3)
        vec_state, obs = vec.reset(key_env, params)
        online = net.init(key_params)
        return State(params=online, opt_state=optimizer.init(online), vec_state=vec_state, obs=obs, key=key)

    def step(state, t):
        key_rollout, key_update, key = jax.random.split(state.key, 3)
        chance, rate = epsilon(t * batch_size), learning_rate(t * batch_size)

        def act(key, obs, carry):
            key_noise, key = jax.random.split(key)
            q = values(state.params, see(obs), key_noise)
            keys = jax.random.split(key, config.num_envs)
            return jax.vmap(selection.epsilon_greedy, in_axes=(0, 0, None))(keys, q, chance), (), carry

        vec_state, obs, _, rollout = unroll(
            vec, params, act, key_rollout, state.vec_state, state.obs, (), config.num_steps
        )
        next_value = jnp.max(values(state.params, see(rollout.next_obs)), axis=-1)
        target = jax.vmap(ops.lambda_returns, in_axes=(1, 1, 1, 1, None, None), out_axes=1)(
            rollout.reward, next_value, rollout.terminated, rollout.truncated, config.gamma, config.q_lambda
        )
        batch = (see(rollout.obs), rollout.action, target)
        batch = jax.tree.map(lambda leaf: leaf.reshape(batch_size, *leaf.shape[2:]), batch)

        def minibatch_step(carry, inputs):
            online, opt_state = carry
            key, (x, action, target) = inputs

            def loss(online):
                error = target - select(values(online, x, key), action)
                return jnp.mean(jnp.square(error)), error

            (total, error), gradient = jax.value_and_grad(loss, has_aux=True)(online)
            direction, opt_state = optimizer.update(gradient, opt_state)
            online = jax.tree.map(lambda p, d: p - rate * d, online, direction)
            metrics = {
                "loss": total,
                "td_error": jnp.mean(jnp.abs(error)),
                "grad_norm": optax.tree.norm(gradient),
            }
            return (online, opt_state), metrics

        def epoch(carry, key):
            key_order, key_noise = jax.random.split(key)
            minibatches = ops.shuffled_minibatches(key_order, batch, config.num_minibatches)
            return jax.lax.scan(
                minibatch_step, carry, (jax.random.split(key_noise, config.num_minibatches), minibatches)
            )

        (online, opt_state), metrics = jax.lax.scan(
            epoch, (state.params, state.opt_state), jax.random.split(key_update, config.num_epochs)
        )
        x = batch[0]
        best = jnp.max(values(online, x), axis=-1)
        metrics = jax.tree.map(jnp.mean, metrics) | {
            "q_mean": jnp.mean(best),
            "q_max": jnp.max(best),
            "q_spread": jnp.std(best),
            "dead_units": dead_units(net.hidden(online, x)),
            "epsilon": chance,
            "learning_rate": rate,
        }
        state = replace(state, params=online, opt_state=opt_state, vec_state=vec_state, obs=obs, key=key)
        return state, metrics | episode_metrics(rollout.episode)

    def policy(state):
        def act(obs, carry, key):
            return jnp.argmax(values(state.params, see(obs)), axis=-1).astype(jnp.int32), carry

        def value(obs, carry):
            return jnp.max(values(state.params, see(obs)), axis=-1)

        return Policy(init=lambda: (), act=act, value=value, discount=config.gamma)

    horizon = config.total_steps if config.anneal_learning_rate else None
    return Algorithm(init, step, policy, batch_size, env, params, horizon)
