"""Wrappers that change what is paid."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from envs.checks import as_number
from envs.core import Params, State, Step
from envs.tabular import Outcomes
from envs.wrappers.wrapper import WrappedParams, Wrapper, check_ordered


@dataclass(frozen=True)
class TransformReward(Wrapper):
    """Pay clip(scale * reward + noise * e, low, high), with e normal; all four are traced numbers.

    The exact model has the transformed rewards of each branch (without the noise).

    Raises:
      ValueError: if `low` exceeds `high`, `noise` is negative or `scale` not finite.

    >>> import envs
    >>> env = TransformReward(envs.make("CliffWalking-v1")[0], scale=0.1, low=-1.0)
    >>> [float(r) for r in env.outcomes(36, 1, env.default_params()).reward]
    [-0.1..., -1.0, -0.1...]

    Source: Mnih et al. (2015) for clipping; Osband et al. (2020) for scale and noise.
    """

    scale: float = 1.0
    noise: float = 0.0
    low: float = -math.inf
    high: float = math.inf

    own: ClassVar[tuple[str, ...]] = ("scale", "noise", "low", "high")

    def __post_init__(self):
        super().__post_init__()
        if not as_number("`low`", self.low) <= as_number("`high`", self.high):
            raise ValueError(f"`low` must be at most `high`, got {self.low} and {self.high}")
        if not 0 <= as_number("`noise`", self.noise) < math.inf:
            raise ValueError(f"`noise` must be at least 0 and finite, got {self.noise}")
        if not math.isfinite(as_number("`scale`", self.scale)):
            raise ValueError(f"`scale` must be finite, got {self.scale}")

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Between which values two of the numbers make sense; the clipping may be at infinity."""
        return {"scale": (-math.inf, math.inf), "noise": (0.0, math.inf)}

    def check_values(self, params: WrappedParams) -> None:
        """Check scale and noise, and that `low` is at most `high`; traced ones pass."""
        super().check_values(params)
        check_ordered(params.values, lambda low, high: low <= high, "at most")

    def __getattr__(self, name: str) -> Any:
        member = super().__getattr__(name)
        return self._outcomes if name == "outcomes" else member

    def step(self, key: jax.Array, state: State, action: Any, params: WrappedParams) -> tuple[State, Step]:
        """Return the next state and what happened."""
        key, key_noise = jax.random.split(key)
        state, step = self.env.step(key, state, action, params.env)
        noise = params.values["noise"] * jax.random.normal(key_noise)
        return state, step.replace(reward=self._transform(step.reward, noise, params))

    def _outcomes(self, state_index: jax.Array, action: jax.Array, params: WrappedParams) -> Outcomes:
        out = self.env.outcomes(state_index, action, params.env)
        return out._replace(reward=self._transform(out.reward, jnp.float32(0), params))

    def _transform(self, reward: jax.Array, noise: jax.Array, params: WrappedParams) -> jax.Array:
        values = params.values
        return jnp.clip(values["scale"] * reward + noise, values["low"], values["high"])


@dataclass(frozen=True)
class PotentialShaping(Wrapper):
    """Add gamma * potential(s') - potential(s) to the reward, which leaves every optimal policy optimal.

    The potential of a state that ends the episode counts as 0; without that, which end is best could change.
    If `gamma` (a traced number) is the learner's discount, the optimal action values are those of the inner
    world less the potential of the state. Metric: `performance`, the reward without the addition, unless the
    inner world already reports one.

    Args:
      env: an environment.
      potential: `(state, params) -> []` float32, of the inner environment's state and params.
      gamma: the discount.

    Raises:
      ValueError: if `gamma` lies outside [0, 1] or there is no potential.

    >>> import envs
    >>> lake, _ = envs.make("FrozenLake4x4-v1")
    >>> env = PotentialShaping(lake, potential=lambda state, params: state.position / 15, gamma=0.9)
    >>> out = env.outcomes(0, 2, env.default_params())  # to the right: from cell 0 to cell 1
    >>> round(float(out.reward[1]), 3)
    0.06

    Source: Ng, Harada and Russell (1999), Policy invariance under reward transformations, theorem 1; Grzes
    (2017), Reward shaping in episodic reinforcement learning, section 4, for the ends.
    """

    potential: Callable[[State, Params], jax.Array] | None = None
    gamma: float = 0.99

    own: ClassVar[tuple[str, ...]] = ("gamma",)

    def __post_init__(self):
        super().__post_init__()
        if not callable(self.potential):
            raise ValueError(f"`potential` must be a function of state and params, got {self.potential!r}")
        if not 0 <= as_number("`gamma`", self.gamma) <= 1:
            raise ValueError(f"`gamma` must lie in [0, 1], got {self.gamma}")

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Between which values the number makes sense."""
        return {"gamma": (0.0, 1.0)}

    def __getattr__(self, name: str) -> Any:
        # To know the potential of a state, the model needs the state of a number.
        member = super().__getattr__("state_at" if name == "outcomes" else name)
        return self._outcomes if name == "outcomes" else member

    def step(self, key: jax.Array, state: State, action: Any, params: WrappedParams) -> tuple[State, Step]:
        """Return the next state and what happened."""
        after, step = self.env.step(key, state, action, params.env)
        added = self._added(state, after, step.terminated, params)
        return after, step.replace(
            reward=step.reward + added, metrics={"performance": step.reward} | step.metrics
        )

    def _outcomes(self, state_index: jax.Array, action: jax.Array, params: WrappedParams) -> Outcomes:
        out = self.env.outcomes(state_index, action, params.env)
        state = self.env.state_at(state_index, params.env)

        def added(index: jax.Array, terminated: jax.Array) -> jax.Array:
            return self._added(state, self.env.state_at(index, params.env), terminated, params)

        # A state that is over pays nothing, and has no potential to lose.
        over = (out.next_state == state_index) & out.terminated
        more = jax.vmap(added)(out.next_state, out.terminated)
        return out._replace(reward=out.reward + jnp.where(over, 0.0, more))

    def _added(self, state: State, after: State, terminated: jax.Array, params: WrappedParams) -> jax.Array:
        def potential(state: State) -> jax.Array:
            return jnp.asarray(self.potential(state, params.env), jnp.float32)  # type: ignore[misc]

        return params.values["gamma"] * jnp.where(terminated, 0.0, potential(after)) - potential(state)
