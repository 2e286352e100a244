"""What actors with critics share that learn from replay: configuration, networks, and the scale of actions.

Inside, continuous actions are in [-1, 1]; the environment gets, and the replay keeps, those of its own
bounds. N critics are one network with a leading axis, so that each of their layers is one product.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax import lax

from envs.core import Environment, Params
from envs.spaces import Box
from jaxrl.agents import off_policy
from jaxrl.config import static, traced
from jaxrl.nets.estimator import Estimator, apply_ensemble, hidden_of_ensemble, init_ensemble
from jaxrl.ops.diagnostics import dead_units


@struct.dataclass
class Config(off_policy.Config):
    """What every such learner has; the defaults are those of CleanRL's scripts for continuous actions."""

    learning_rate: float = traced(3e-4, ge=0)
    """Step size of the actor's optimiser."""
    critic_learning_rate: float | None = traced(None, ge=0)
    """Step size of the critics' optimiser; by default that of the actor's."""
    total_steps: float = traced(1_000_000.0, gt=0)
    """Environment steps that schedules run over; the length of the training."""
    polyak_tau: float = traced(0.005, gt=0, le=1)
    """How far target networks move towards the online ones at each of their updates; 1 copies them."""
    num_envs: int = static(1, ge=1)
    """Environments stepped side by side."""
    batch_size: int = static(256, ge=1)
    """Transitions of a gradient step."""
    buffer_size: int = static(1_000_000, ge=1)
    """Transitions that are remembered; a multiple of num_envs * num_steps."""
    learning_starts: int = static(5_000, ge=1)
    """Environment steps, with random actions, before the first gradient step."""
    policy_delay: int = static(2, ge=1)
    """Gradient steps of the critics for one update of the policy."""
    num_critics: int = static(2, ge=1)
    """Critics that are trained."""
    num_target_critics: int = static(2, ge=1)
    """How many of them, drawn anew for each gradient step if not all, a target takes the least value of."""
    hidden_sizes: tuple[int, ...] = static((256, 256))
    """Widths of the dense layers of the actor and of each critic."""
    layer_norm: bool = static(False)
    """Whether the critics' hidden layers are normalised."""

    def check(self) -> None:
        """Check the fields together; see `jaxrl.config.validate`."""
        super().check()
        if self.num_target_critics > self.num_critics:
            raise ValueError(
                f"`num_target_critics` must be at most num_critics = {self.num_critics}, "
                f"got {self.num_target_critics}"
            )


@struct.dataclass
class Networks:
    """Something for each network: its parameters, or the state of its optimiser.

    Attributes:
      actor: of the policy; None among targets if there is no target policy.
      critic: of the critics, leaves `[N, ...]`.
      log_temperature: `[]` float32, None if the policy is deterministic.
    """

    actor: Any
    critic: Any
    log_temperature: Any = None


class Critics(NamedTuple):
    """N critics as functions of their parameters, leaves `[N, ...]`.

    Attributes:
      init: `key -> params`.
      values: `(params, x [B, ...], action [B, D]) -> [N, B]`, or without the action `[N, B, A]`.
      dead_units: `(params, x, action) -> ` the share of units that hardly respond.
    """

    init: Callable[[jax.Array], Any]
    values: Callable[..., jax.Array]
    dead_units: Callable[..., jax.Array]


class ActionScale(NamedTuple):
    """Between [-1, 1]^D, where networks act, and the bounds of a `Box`.

    Attributes:
      size: D.
      to_env: `[..., D] -> [..., *shape]`, in the type of the space.
      from_env: `[..., *shape] -> [..., D]` float32.
    """

    size: int
    to_env: Callable[[jax.Array], jax.Array]
    from_env: Callable[[jax.Array], jax.Array]


def action_scale(env: Environment, params: Params) -> ActionScale:
    """Return the scale of the actions of `env`.

    Raises:
      ValueError: if they are not a `Box` of floats with finite bounds.

    >>> import envs
    >>> scale = action_scale(*envs.make("Pendulum-v1"))
    >>> scale.to_env(jnp.array([0.5])).tolist(), scale.from_env(jnp.array([-2.0])).tolist()
    ([1.0], [-1.0])
    """
    space = env.action_space(params)
    if not isinstance(space, Box) or not jnp.issubdtype(space.dtype, jnp.floating):
        raise ValueError(
            f"`env` must have continuous actions, but {env.id!r} takes {type(space).__name__}; "
            "jaxrl.agents.discrete_sac and jaxrl.agents.dqn serve Discrete"
        )
    low, high = (np.asarray(bound, np.float32) for bound in space.bounds())
    if not (np.all(np.isfinite(low)) and np.all(np.isfinite(high)) and np.all(low < high)):
        raise ValueError(
            f"`env` must bound its actions, low < high, but {env.id!r} has {space}; jaxrl.agents.ppo serves "
            "actions without bounds"
        )
    if low.size == 0:
        raise ValueError(f"`env` must have at least one action component, but {env.id!r} has {space}")
    middle, half = (high + low).ravel() / 2, (high - low).ravel() / 2

    def over(vector, x):
        return vector.reshape((1,) * (x.ndim - 1) + vector.shape)

    def to_env(action):
        scaled = over(middle, action) + over(half, action) * action
        scaled = jnp.clip(scaled, over(low.ravel(), action), over(high.ravel(), action))
        return scaled.reshape(*action.shape[:-1], *space.shape).astype(space.dtype)

    def from_env(action):
        flat = action.reshape(*action.shape[: action.ndim - len(space.shape)], low.size).astype(jnp.float32)
        return (flat - over(middle, flat)) / over(half, flat)

    return ActionScale(low.size, to_env, from_env)


def make_critics(config: Config, x_shape: tuple[int, ...], action_size: int, per_action: bool) -> Critics:
    """Return the critics.

    Args:
      config: sizes.
      x_shape: of an encoded observation.
      action_size: D, the components of an action, or A, how many there are.
      per_action: whether critics have a value for each action instead of taking an action.
    """
    module = Estimator(
        num_outputs=action_size if per_action else 1,
        hidden_sizes=config.hidden_sizes,
        activation=config.activation,
        channels=config.channels,
        layer_norm=config.layer_norm,
    )
    x, action = jnp.zeros(x_shape), jnp.zeros(action_size)

    def values(params, x, action: Any = None):
        if per_action:
            return apply_ensemble(module, params, x)
        return jnp.squeeze(apply_ensemble(module, params, x, action), axis=-1)

    def dead(params, *inputs):
        return dead_units(hidden_of_ensemble(module, params, *inputs))

    return Critics(
        init=lambda key: init_ensemble(
            module, key, config.num_critics, *((x,) if per_action else (x, action))
        ),
        values=values,
        dead_units=dead,
    )


def make_actor(config: Config, num_outputs: int) -> Estimator:
    """Return the network of the policy."""
    return Estimator(
        num_outputs=num_outputs,
        hidden_sizes=config.hidden_sizes,
        activation=config.activation,
        channels=config.channels,
    )


def critic_loss(
    params: Any, critics: Critics, batch: off_policy.Batch, action: jax.Array, target: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return `squared_error` of the critics, for actions `[B, D]` in [-1, 1] and targets `[B]`."""
    return squared_error(critics.values(params, batch.x, action), batch, target)


def squared_error(q: jax.Array, batch: off_policy.Batch, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the sum over critics of the mean squared error, and the errors' means over critics, `[B]`.

        sum_n mean_b weight_b (target_b - q_nb)^2

    Args:
      q: `[N, B]` float32.
      batch: of which the weights `[B]` count.
      target: `[B]` float32.
    """
    error = target[None] - q
    return jnp.sum(jnp.mean(batch.weight[None] * jnp.square(error), axis=1)), jnp.mean(error, axis=0)


def learning_rates(config: Config, count: jax.Array) -> tuple[Any, Any]:
    """Return the step sizes of the actor and of the critics after `count` gradient steps."""
    actor, critic = config.learning_rate, config.critic_learning_rate
    rates = (actor, actor if critic is None else critic)
    return off_policy.annealed(rates[0], count, config), off_policy.annealed(rates[1], count, config)


def descend(
    optimizer: optax.GradientTransformation, loss: Callable, params: Any, opt_state: Any, rate: Any
) -> tuple[Any, Any, jax.Array, Any, jax.Array]:
    """Return parameters and optimiser state after a step down `loss`, which returns `(loss, other)`.

    Returns:
      `(params, opt_state, loss, other, gradient norm)`.
    """
    (value, other), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    direction, opt_state = optimizer.update(gradient, opt_state)
    params = jax.tree.map(lambda p, d: p - rate * d, params, direction)
    return params, opt_state, value, other, optax.tree.norm(gradient)


def every(period: int, count: jax.Array, update: Callable, *args: Any) -> Any:
    """Return `update(*args)` where `period` divides the shared counter, else the tuple `args`."""
    if period == 1:
        return update(*args)
    return lax.cond(count % period == 0, update, lambda *args: args, *args)


def random_first(config: Config, t: jax.Array, random: Callable, policy: Callable, *args: Any) -> Any:
    """Return `random(*args)` in the iterations t before learning_starts, else `policy(*args)`."""
    # The counter is shared by all seeds, so this remains a branch under vmap.
    return lax.cond(t <= off_policy.first_update(config), random, policy, *args)


def health(q: jax.Array, target_q: jax.Array, dead: jax.Array) -> dict[str, jax.Array]:
    """Return what is reported of the values `[N, B]` of online and target critics at the policy's actions."""
    best = jnp.min(q, axis=0)
    return {
        "q_mean": jnp.mean(best),
        "q_max": jnp.max(q),
        "q_spread": jnp.std(best),
        "target_gap": jnp.mean(jnp.abs(q - target_q)),
        "dead_units": dead,
    }
