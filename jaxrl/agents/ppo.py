"""Proximal policy optimisation, for discrete and continuous actions.

Source: Schulman et al. (2017), https://arxiv.org/abs/1707.06347, with the implementation details of
Huang et al. (2022), "The 37 Implementation Details of Proximal Policy Optimization", and the defaults of
CleanRL's ppo.py. It departs from CleanRL in that the value of every true next observation is computed, so
a time limit is bootstrapped and never taken for a terminal state; that advantages are divided by the
standard deviation of the population; and that observations, if normalised, are so by the statistics of
earlier iterations, which makes the first ratio exactly one. Rewards are not normalised.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from flax import struct

from envs.core import Environment, Params
from envs.spaces import Space
from envs.vector import ResetMode, VecEnv, VecState
from jaxrl import distributions, normalize, ops
from jaxrl.algorithm import Algorithm, Metrics, Policy
from jaxrl.config import check_minibatches, static, traced, validate
from jaxrl.nets import ActorCritic, encode, encoded_shape
from jaxrl.nets.mlp import ACTIVATIONS
from jaxrl.rollout import episode_metrics, unroll


@struct.dataclass
class Config:
    """Hyperparameters of PPO; the defaults are those of CleanRL's ppo.py."""

    learning_rate: float = traced(2.5e-4, ge=0)
    """Step size of Adam."""
    total_steps: float = traced(500_000.0, gt=0)
    """Environment steps over which the learning rate is annealed to zero; give the length of the training."""
    gamma: float = traced(0.99, ge=0, le=1)
    """Discount factor."""
    gae_lambda: float = traced(0.95, ge=0, le=1)
    """Trace decay of the generalised advantage estimate."""
    clip_epsilon: float = traced(0.2, gt=0)
    """How far the probability ratio, and with clip_value the value, may move from the rollout's."""
    entropy_coefficient: float = traced(0.01)
    """Weight of the entropy bonus."""
    value_coefficient: float = traced(0.5, ge=0)
    """Weight of the value loss."""
    max_grad_norm: float = traced(0.5, gt=0)
    """Global norm at which the gradient is clipped."""
    adam_epsilon: float = traced(1e-5, gt=0)
    """Adam's epsilon."""
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
    clip_value: bool = static(True)
    """Whether the value loss is clipped too."""
    normalize_advantages: bool = static(True)
    """Whether the advantages of each minibatch are standardised."""
    normalize_observations: bool = static(False)
    """Whether observations are standardised by their running mean and variance, which the state holds."""
    hidden_sizes: tuple[int, ...] = static((64, 64))
    """Widths of the dense layers of the actor and of the critic."""
    activation: str = static("tanh", choices=tuple(ACTIVATIONS))
    """Activation of the hidden layers."""
    channels: tuple[int, ...] = static(())
    """Filters of 3 x 3 convolutions before the dense layers, for image observations; none flattens them."""
    reset: ResetMode = static("auto", choices=get_args(ResetMode))
    """Where new episodes start from; see envs.VecEnv."""
    axis_name: str | None = static(None)
    """Mapped axis over which gradients and statistics are averaged (see jaxrl.parallel.over_data)."""


@struct.dataclass
class State:
    """Everything PPO carries from one iteration to the next."""

    params: Any
    opt_state: optax.OptState
    normalizer: normalize.RunningStatistics | None
    vec_state: VecState
    obs: Any
    key: jax.Array


@struct.dataclass
class Batch:
    """Samples of a rollout, with what was computed of them before the update; leaves `[B, ...]`."""

    x: jax.Array
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    advantage: jax.Array
    target: jax.Array


class Model(NamedTuple):
    """The policy and the value of `(params, x)`, where x is an encoded observation or a batch of them.

    Attributes:
      init: `key -> params`.
      actor: `(params, x) -> distribution`.
      critic: `(params, x) -> value`.
      to_action: `sample -> action`, what the environment takes: within the bounds, if continuous.
    """

    init: Callable[[jax.Array], Any]
    actor: Callable[[Any, jax.Array], Any]
    critic: Callable[[Any, jax.Array], jax.Array]
    to_action: Callable[[jax.Array], jax.Array]


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return PPO on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, or the sizes do not divide.
    """
    validate(config)
    batch_size = check_minibatches(config.num_envs, config.num_steps, config.num_minibatches)
    vec = VecEnv(env, config.num_envs, reset=config.reset)
    obs_space = env.observation_space(params)
    model = make_model(obs_space, env.action_space(params), config)
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm), optax.scale_by_adam(eps=config.adam_epsilon)
    )

    def init(key):
        key_params, key_env, key = jax.random.split(key, 3)
        vec_state, obs = vec.reset(key_env, params)
        model_params = model.init(key_params)
        return State(
            params=model_params,
            opt_state=optimizer.init(model_params),
            normalizer=normalize.init(encoded_shape(obs_space, not config.channels))
            if config.normalize_observations
            else None,
            vec_state=vec_state,
            obs=obs,
            key=key,
        )

    def see(state, obs):
        x = encode(obs, obs_space, flatten=not config.channels)
        return x if state.normalizer is None else normalize.normalize(state.normalizer, x)

    def learning_rate(t):
        if not config.anneal_learning_rate:
            return jnp.asarray(config.learning_rate, jnp.float32)
        done = t * (batch_size / config.total_steps)
        return config.learning_rate * jnp.maximum(1.0 - done, 0.0)

    def step(state, t):
        key_rollout, key_update, key = jax.random.split(state.key, 3)

        def act(key, obs, carry):
            sample, log_prob = model.actor(state.params, see(state, obs)).sample_and_log_prob(seed=key)
            return model.to_action(sample), (sample, log_prob), carry

        vec_state, obs, _, rollout = unroll(
            vec, params, act, key_rollout, state.vec_state, state.obs, (), config.num_steps
        )
        x, (sample, log_prob) = see(state, rollout.obs), rollout.extras
        value, next_value = (model.critic(state.params, o) for o in (x, see(state, rollout.next_obs)))
        advantage, target = jax.vmap(ops.gae, in_axes=(1, 1, 1, 1, 1, None, None), out_axes=1)(
            rollout.reward,
            value,
            next_value,
            rollout.terminated,
            rollout.truncated,
            config.gamma,
            config.gae_lambda,
        )
        batch = Batch(x=x, action=sample, log_prob=log_prob, value=value, advantage=advantage, target=target)
        batch = jax.tree.map(lambda leaf: leaf.reshape(batch_size, *leaf.shape[2:]), batch)

        def minibatch_step(carry, minibatch):
            model_params, opt_state = carry
            gradient, metrics = jax.grad(loss, has_aux=True)(model_params, model, minibatch, config)
            if config.axis_name is not None:
                gradient = jax.lax.pmean(gradient, config.axis_name)
            direction, opt_state = optimizer.update(gradient, opt_state)
            rate = learning_rate(t)
            model_params = jax.tree.map(lambda p, d: p - rate * d, model_params, direction)
            return (model_params, opt_state), metrics | {"grad_norm": optax.tree.norm(gradient)}

        def epoch(carry, key):
            minibatches = ops.shuffled_minibatches(key, batch, config.num_minibatches)
            return jax.lax.scan(minibatch_step, carry, minibatches)

        (model_params, opt_state), metrics = jax.lax.scan(
            epoch, (state.params, state.opt_state), jax.random.split(key_update, config.num_epochs)
        )
        normalizer = state.normalizer
        if normalizer is not None:
            raw = encode(rollout.obs, obs_space, flatten=not config.channels)
            normalizer = normalize.update(
                normalizer, raw.reshape(batch_size, *raw.shape[2:]), config.axis_name
            )
        metrics = jax.tree.map(jnp.mean, metrics) | {
            "explained_variance": ops.explained_variance(value, target),
            "learning_rate": learning_rate(t),
        }
        state = State(
            params=model_params,
            opt_state=opt_state,
            normalizer=normalizer,
            vec_state=vec_state,
            obs=obs,
            key=key,
        )
        return state, metrics | episode_metrics(rollout.episode)

    def policy(state):
        def act(obs, carry, key):
            return model.to_action(model.actor(state.params, see(state, obs)).mode()), carry

        return Policy(init=lambda: (), act=act)

    horizon = config.total_steps if config.anneal_learning_rate else None
    return Algorithm(init, step, policy, batch_size, env, params, horizon)


def loss(params: Any, model: Model, batch: Batch, config: Config) -> tuple[jax.Array, Metrics]:
    """Return PPO's loss on a minibatch, and its parts.

        mean(surrogate) + value_coefficient * mean(value loss) - entropy_coefficient * mean(entropy)

    Args:
      params: of the model.
      model: as `make_model` returns it.
      batch: leaves `[B, ...]`.
      config: coefficients and clipping range.
    """
    distribution, value = model.actor(params, batch.x), model.critic(params, batch.x)
    log_prob = distribution.log_prob(batch.action)
    advantage = batch.advantage
    if config.normalize_advantages:
        advantage = ops.standardize(advantage, axis_name=config.axis_name)
    policy_loss = jnp.mean(ops.clipped_surrogate(log_prob, batch.log_prob, advantage, config.clip_epsilon))
    if config.clip_value:
        value_losses = ops.clipped_value_loss(value, batch.value, batch.target, config.clip_epsilon)
    else:
        value_losses = ops.value_loss(value, batch.target)
    value_loss, entropy = jnp.mean(value_losses), jnp.mean(distribution.entropy())
    total = policy_loss + config.value_coefficient * value_loss - config.entropy_coefficient * entropy
    return total, {
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": entropy,
        "approximate_kl": jnp.mean(ops.approximate_kl(log_prob, batch.log_prob)),
        "clip_fraction": jnp.mean(ops.clip_fraction(log_prob, batch.log_prob, config.clip_epsilon)),
    }


def make_model(obs_space: Space, action_space: Space, config: Config) -> Model:
    """Return the actor and the critic for these spaces."""
    head = distributions.for_space(action_space)
    network = ActorCritic(
        size=head.size,
        hidden_sizes=config.hidden_sizes,
        activation=config.activation,
        channels=config.channels,
        has_scale=head.has_scale,
    )

    def init(key):
        return network.init(key, jnp.zeros(encoded_shape(obs_space, flatten=not config.channels)))

    def actor(params, x):
        return head.distribution(network.apply(params, x, method="actor"))

    def critic(params, x) -> Any:
        return network.apply(params, x, method="critic")

    return Model(init, actor, critic, head.to_action)
