"""Trust region policy optimisation: a natural gradient step, as far as the divergence allows.

Conjugate gradients find the direction by products with the Fisher matrix, which are second derivatives of the
divergence from the rollout's policy; a line search takes the longest of a series of steps that stays within
`target_kl` and improves the surrogate, or none. All of it is in the program, the same for every seed.

Source: Schulman et al. (2015), https://arxiv.org/abs/1502.05477, section 6 and appendix C; the defaults are
those of stable-baselines3-contrib's trpo.py, with its rollout of 2,048 steps dealt to four environments.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.flatten_util import ravel_pytree

from envs.core import Environment, Params
from jaxrl import ops
from jaxrl.agents import inputs, on_policy
from jaxrl.agents.actor_critic import Model, join, split
from jaxrl.agents.on_policy import Batch
from jaxrl.algorithm import Algorithm, Metrics
from jaxrl.config import static, traced
from jaxrl.rollout import episode_metrics


@struct.dataclass
class Config(on_policy.Config):
    """Hyperparameters of TRPO; the defaults are those of stable-baselines3-contrib's trpo.py."""

    learning_rate: float = traced(1e-3, ge=0)
    """Step size of Adam, which fits the critic."""
    gae_lambda: float = traced(0.95, ge=0, le=1)
    """Trace decay of the generalised advantage estimate."""
    target_kl: float = traced(0.01, gt=0)
    """Largest divergence of an update from the rollout's policy."""
    cg_damping: float = traced(0.1, ge=0)
    """What is added to the diagonal of the Fisher matrix."""
    line_search_decay: float = traced(0.8, gt=0, lt=1)
    """Factor from one step of the line search to the next."""
    entropy_coefficient: float = traced(0.0)
    """Weight of the entropy bonus."""
    max_grad_norm: float = traced(1e9, gt=0)
    """Global norm at which the critic's gradient is clipped."""
    adam_epsilon: float = traced(1e-8, gt=0)
    """Adam's epsilon."""
    num_steps: int = static(512, ge=1)
    """Steps of each environment in a rollout."""
    num_epochs: int = static(10, ge=1)
    """Passes of the critic over each rollout."""
    num_minibatches: int = static(16, ge=1)
    """Minibatches of each pass; must divide num_envs * num_steps, with a memory the number of stretches."""
    cg_steps: int = static(15, ge=1)
    """Iterations of the conjugate gradients."""
    line_search_steps: int = static(10, ge=1)
    """Steps that the line search tries."""
    anneal_learning_rate: bool = static(False)
    """Whether the critic's learning rate falls linearly to zero over total_steps."""
    normalize_advantages: bool = static(True)
    """Whether the advantages of each rollout are standardised."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return TRPO on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, the sizes do not divide, or the spaces cannot
        be served.
    """
    inputs.check(env, params, config, Config)
    learner = on_policy.make(env, params, config)
    on_policy.check_rows(learner, config.num_minibatches)
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm), optax.scale_by_adam(eps=config.adam_epsilon)
    )

    def init(key):
        return learner.init(key, lambda model_params: optimizer.init(split(model_params)[1]))

    def step(state, t):
        key_rollout, key_update, key = jax.random.split(state.key, 3)
        begun = state.params
        state, rollout = learner.collect(key_rollout, replace(state, key=key))
        value, next_value = learner.values(begun, rollout)
        advantage, target = on_policy.advantages(rollout, value, next_value, config.gamma, config.gae_lambda)
        if config.normalize_advantages:
            advantage = ops.standardize(advantage, axis_name=config.axis_name)
        batch = learner.batch(rollout, value, advantage, target)
        now = replace(config, entropy_coefficient=learner.entropy_coefficient(t))
        model_params, metrics = improve(begun, learner.model, batch, now)
        rate = learner.learning_rate(t, config.learning_rate)
        model_params, opt_state, value_loss = on_policy.fit_critic(
            learner,
            optimizer,
            model_params,
            state.opt_state,
            batch,
            key_update,
            rate,
            config.num_epochs,
            config.num_minibatches,
            config.axis_name,
        )
        metrics |= {
            "value_loss": value_loss,
            "explained_variance": ops.explained_variance(value, target),
            "learning_rate": rate,
        }
        state = replace(state, params=model_params, opt_state=opt_state)
        return state, metrics | episode_metrics(rollout.episode)

    return learner.finish(init, step)


def improve(params: Any, model: Model, batch: Batch, config: Config) -> tuple[Any, Metrics]:
    """Return the parameters after the actor's step, and how it went.

        L(theta) = mean(pi(a|s) / pi_old(a|s) A) + entropy_coefficient * mean(entropy)
        x        = F^-1 grad L,   step = sqrt(2 target_kl / x' F x) x
        theta   += decay^i step,  for the least i with KL(pi_old || pi) <= target_kl and L above what it was

    Args:
      params: of the model, as they were in the rollout.
      model: as `actor_critic.make_model` returns it.
      batch: leaves `[B, ...]`.
      config: sizes and bounds.
    """
    actor, critic = split(params)
    start, unravel = ravel_pytree(actor)
    old = model.actor(params, batch.x)

    def averaged(x):
        return x if config.axis_name is None else jax.lax.pmean(x, config.axis_name)

    def policy(flat):
        return model.actor(join(unravel(flat), critic), batch.x)

    def surrogate(flat):
        distribution = policy(flat)
        ratio = jnp.exp(distribution.log_prob(batch.action) - batch.log_prob)
        gain = jnp.mean(ratio * batch.advantage)
        return gain + config.entropy_coefficient * jnp.mean(distribution.entropy())

    def divergence(flat):
        return jnp.mean(old.kl_divergence(policy(flat)))

    def fisher(vector):
        along = jax.jvp(jax.grad(divergence), (start,), (vector,))[1]
        return averaged(along) + config.cg_damping * vector

    before, gradient = jax.value_and_grad(surrogate)(start)
    before, gradient = averaged(before), averaged(gradient)
    direction = ops.conjugate_gradient(fisher, gradient, config.cg_steps)
    curvature = jnp.maximum(jnp.dot(direction, fisher(direction)), jnp.finfo(jnp.float32).tiny)
    longest = jnp.sqrt(2.0 * config.target_kl / curvature) * direction

    def search(found, size):
        flat = start + size * longest
        kl, gain = averaged(divergence(flat)), averaged(surrogate(flat)) - before
        fits = (kl <= config.target_kl) & (gain > 0.0)
        takes = fits & ~found.accepted
        return jax.tree.map(lambda a, b: jnp.where(takes, b, a), found, Found(fits, size, kl, gain)), None

    nothing = Found(jnp.zeros((), bool), *(jnp.float32(0),) * 3)
    sizes = config.line_search_decay ** jnp.arange(config.line_search_steps, dtype=jnp.float32)
    found, _ = jax.lax.scan(search, nothing, sizes)
    metrics = {
        "kl": found.kl,
        "surrogate_gain": found.gain,
        "step_size": found.size,
        "accepted": found.accepted.astype(jnp.float32),
        "entropy": jnp.mean(old.entropy()),
        "grad_norm": jnp.linalg.norm(gradient),
    }
    # Where nothing is accepted, the direction may be infinite: 0 times it would be no number.
    moved = jnp.where(found.accepted, start + found.size * longest, start)
    return join(unravel(moved), critic), metrics


@struct.dataclass
class Found:
    """What the line search has found: nothing (a step of size 0), or the first step that fits."""

    accepted: jax.Array
    size: jax.Array
    kl: jax.Array
    gain: jax.Array
