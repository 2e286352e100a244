"""gymnax's environments behind our protocol, with the faults that we correct or accept listed as data.

The adapter calls gymnax's `step_env` and `reset_env`, never its `step`, which computes a reset at every
step and hands out the reset's observation. What it changes for all of them:

- the first state and all later ones have the same strong dtypes, observations are of their space, rewards
  are float32, and numbers in parameters are arrays;
- at most one of `terminated` and `truncated` is true: an end of its own wins over the clock;
- environments are equal by value, so that two of them share a compiled program.

What it changes for single ones, and what it does not, is in `FIDELITY`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from envs.adapters.conversion import frozen, sorted_options, strong
from envs.core import Obs, Params, State, Step
from envs.spaces import Box, Discrete, as_action

# Written out, so that listing them does not import gymnax (about 3 s). MNISTBandit-bsuite downloads its data.
NAMES = (
    "Acrobot-v1",
    "Asterix-MinAtar",
    "BernoulliBandit-misc",
    "Breakout-MinAtar",
    "CartPole-v1",
    "Catch-bsuite",
    "DeepSea-bsuite",
    "DiscountingChain-bsuite",
    "FourRooms-misc",
    "Freeway-MinAtar",
    "FrozenLake-misc",
    "GaussianBandit-misc",
    "MemoryChain-bsuite",
    "MetaMaze-misc",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
    "PointRobot-misc",
    "Pong-misc",
    "Reacher-misc",
    "Seaquest-MinAtar",
    "SimpleBandit-bsuite",
    "SpaceInvaders-MinAtar",
    "Swimmer-misc",
    "UmbrellaChain-bsuite",
)


@dataclass(frozen=True)
class Fidelity:
    """Where gymnax 1.0.1 departs from what an environment is named after.

    Attributes:
      corrected: what this adapter puts right.
      inherited: what it leaves as it is.
    """

    corrected: tuple[str, ...] = ()
    inherited: tuple[str, ...] = ()


_MINATAR = (
    "episodes are truncated after 1,000 steps, a limit that MinAtar does not have (`max_steps_in_episode`)",
    "no sticky actions (MinAtar repeats the last action with probability 0.1)",
)

FIDELITY: dict[str, Fidelity] = {
    "Acrobot-v1": Fidelity(inherited=("observations agree with Gymnasium's to 3e-4 only (float32)",)),
    "Asterix-MinAtar": Fidelity(
        corrected=("a spawn erased an entity if the slots were full, and one time in eight if one was free",),
        inherited=_MINATAR,
    ),
    "BernoulliBandit-misc": Fidelity(
        corrected=(
            "the reward was int32 and the time limit a float",
            "the normalised time passed its bound if `max_steps_in_episode` was above `t_max`",
        )
    ),
    "Breakout-MinAtar": Fidelity(inherited=_MINATAR),
    "Catch-bsuite": Fidelity(corrected=("the space said int32 where observations are float32",)),
    "DeepSea-bsuite": Fidelity(
        inherited=("bsuite's counters of bad episodes start anew with each episode, as the state does",)
    ),
    "DiscountingChain-bsuite": Fidelity(corrected=("step 100 was a truncation; in bsuite it terminates",)),
    "FourRooms-misc": Fidelity(
        corrected=(
            "observations were int32 where the space says float32",
            "`use_visual_obs` drew the agent transposed",
        ),
        inherited=("`use_visual_obs` has no channel for the goal",),
    ),
    "Freeway-MinAtar": Fidelity(
        corrected=("the time limit was a truncation; in MinAtar it terminates",),
        inherited=("it comes after 2,500 steps; MinAtar's counter ends the game at step 2,501", _MINATAR[1]),
    ),
    "FrozenLake-misc": Fidelity(
        inherited=(
            "map, slip and rewards are options, not parameters; the native FrozenLake has them traced",
        )
    ),
    "GaussianBandit-misc": Fidelity(
        corrected=("rewards and times lay outside the declared bounds",),
        inherited=("the normalised time assumes 100 steps, whatever the parameters say",),
    ),
    "MemoryChain-bsuite": Fidelity(
        corrected=("the context, -1 or 1, lay outside the declared bounds",),
        inherited=(
            "an observation shows the state before its step, as bsuite's does, so the context comes twice",
        ),
    ),
    "MetaMaze-misc": Fidelity(
        corrected=(
            "it terminated if the goal happened to be drawn as the place to go on from; it never terminates",
            "rewards lay outside the declared bounds",
        ),
        inherited=("the normalised time assumes 100 steps, whatever the parameters say",),
    ),
    "MountainCarContinuous-v0": Fidelity(
        corrected=("the left wall did not stop the car; in Gymnasium its velocity becomes 0 there",),
        inherited=(
            "a car beyond the goal that moves back is stopped and paid 100; no legal start leads there",
        ),
    ),
    "PointRobot-misc": Fidelity(
        inherited=(
            "the reward looks at the position before the action",
            "the normalised time assumes 100 steps, whatever the parameters say",
        )
    ),
    "Pong-misc": Fidelity(
        inherited=("not compared with any reference", "the ball never bounces off the top row")
    ),
    "Reacher-misc": Fidelity(
        inherited=(
            "not compared with any reference; unlike MuJoCo's Reacher",
            "only the default of two joints works: another `num_joints` fails in `reset`",
        )
    ),
    "Seaquest-MinAtar": Fidelity(inherited=("not compared with MinAtar", *_MINATAR)),
    "SimpleBandit-bsuite": Fidelity(
        corrected=(
            "each episode, one pull long, drew the arms anew, so that nothing could be learned; the option "
            "`mapping_seed` (0) fixes them, as in bsuite (whose permutation of the arms is another one)",
        )
    ),
    "SpaceInvaders-MinAtar": Fidelity(inherited=_MINATAR),
    "Swimmer-misc": Fidelity(inherited=("not compared with any reference; unlike MuJoCo's Swimmer",)),
    "UmbrellaChain-bsuite": Fidelity(
        corrected=("the reward was int32", "last observations fell below 0 by rounding")
    ),
}


@dataclass(frozen=True)
class Gymnax:
    """A gymnax environment as an `envs.Environment`; `make` builds it.

    States and parameters are gymnax's own dataclasses. Bounds of spaces are those under `params` where these
    are concrete, and those of the default parameters inside a traced function.

    Attributes:
      name: gymnax's id.
      options: what gymnax's constructor takes, as sorted pairs.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def id(self) -> str:
        """The id that `envs.make` knows."""
        return f"gymnax/{self.name}"

    @property
    def limit_terminates(self) -> bool:
        """Whether the last step ends the process, as in the environment's source, and is no truncation."""
        return self.name in ("DiscountingChain-bsuite", "Freeway-MinAtar")

    @property
    def shows_past(self) -> bool:
        """Whether an observation shows the state before its step, as in the environment's source."""
        return self.name == "MemoryChain-bsuite"

    def default_params(self) -> Params:
        """Return gymnax's `EnvParams`, every number an array."""
        return jax.tree.map(strong, self._raw.default_params)

    def time_limit(self, params: Params) -> jax.Array:
        """Return the step at which episodes are truncated, `[]` int32."""
        return jnp.ceil(params.max_steps_in_episode).astype(jnp.int32)

    def observation_space(self, params: Params) -> Discrete | Box:
        """Return a space that holds every observation; boxes are float32."""
        space = self._space("observation_space", params)
        if self.name not in _BOUNDS:
            return space
        low, high = _BOUNDS[self.name](self._raw)
        return Box(low, high, space.shape)

    def action_space(self, params: Params) -> Discrete | Box:
        """Return the space of actions."""
        return self._space("action_space", params)

    def reset(self, key: jax.Array, params: Params) -> tuple[State, Obs]:
        """Return a first state and its observation."""
        if self.name == "SimpleBandit-bsuite":
            key = jax.random.key(dict(self.options).get("mapping_seed", 0))
        with jax.numpy_rank_promotion("allow"):
            obs, state = self._raw.reset_env(key, params)
        return jax.tree.map(strong, state), self._observe(obs)

    def step(self, key: jax.Array, state: State, action: Any, params: Params) -> tuple[State, Step]:
        """Return the next state and what happened; no metrics."""
        raw = self._raw
        action = as_action(self.action_space(params), action)
        with jax.numpy_rank_promotion("allow"):
            if self.name == "Asterix-MinAtar":
                key, key_spawn = jax.random.split(key)
                state = _spawn(key_spawn, state)
            obs, after, reward, terminated, _ = raw.step_env(key, state, action, params)
            if self.name == "MountainCarContinuous-v0":
                after = _stop_at_wall(after, params)
                obs = raw.get_obs(after, params)
            at_limit = raw.is_truncated(after, params)
        if self.name in _ENDS_AT_LIMIT:
            terminated = terminated | at_limit
        if self.name in _NEVER_TERMINATES:
            terminated = jnp.zeros((), bool)
        after = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), after, state)
        return jax.tree.map(strong, after), Step(
            obs=self._observe(obs),
            reward=strong(jnp.asarray(reward, jnp.float32)),
            terminated=terminated,
            truncated=at_limit & ~terminated,
        )

    @property
    def _raw(self) -> Any:
        return _build(self.name, self.options)

    def _observe(self, obs: jax.Array) -> jax.Array:
        if self.name == "UmbrellaChain-bsuite":
            obs = jnp.clip(obs, 0.0, 1.0)
        if self.name == "FourRooms-misc" and self._raw.use_visual_obs:
            obs = obs.at[..., 1].set(obs[..., 1].T)
        discrete = isinstance(self._space("observation_space", None), Discrete)
        return strong(jnp.asarray(obs, jnp.int32 if discrete else jnp.float32))

    def _space(self, method: str, params: Params | None) -> Discrete | Box:
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(params))
        if params is None or traced:
            return _default_space(self, method)
        with jax.ensure_compile_time_eval():
            return _convert(getattr(self._raw, method)(params))


def make(name: str, **options: Any) -> Gymnax:
    """Return gymnax's environment called `name`.

    Args:
      name: one of `NAMES`.
      **options: what its constructor takes ("DeepSea-bsuite": `size`; "FrozenLake-misc": `map_name`), and
        `mapping_seed` (int) for "SimpleBandit-bsuite" and "DeepSea-bsuite". Lists become tuples.

    Raises:
      ValueError: if the constructor rejects a value, or one is not hashable.
      TypeError: if the constructor does not take an option.

    >>> env = make("DeepSea-bsuite", size=4)
    >>> env.observation_space(env.default_params()).shape
    (4, 4)
    """
    env = Gymnax(name, sorted_options(options, f"gymnax/{name}"))
    _build(env.name, env.options)
    return env


def _bernoulli_bandit(raw: Any) -> tuple:
    return (0.0, 0.0, 0.0, -np.inf), (1.0, 1.0, 1.0, np.inf)


def _memory_chain(raw: Any) -> tuple:
    return -1.0, max(1.0, raw.num_bits - 1.0)


def _meta_maze(raw: Any) -> tuple:
    seen = raw.rf_size**2 + raw.num_actions
    return (0.0,) * seen + (-np.inf, -1.0), (1.0,) * seen + (np.inf, np.inf)


def _gaussian_bandit(raw: Any) -> tuple:
    return (-np.inf, 0.0, 0.0, -1.0), (np.inf, 1.0, 1.0, np.inf)


# Bounds that hold every observation, where gymnax's do not.
_BOUNDS: dict[str, Callable[[Any], tuple]] = {
    "BernoulliBandit-misc": _bernoulli_bandit,
    "GaussianBandit-misc": _gaussian_bandit,
    "MemoryChain-bsuite": _memory_chain,
    "MetaMaze-misc": _meta_maze,
}
_ENDS_AT_LIMIT = frozenset({"DiscountingChain-bsuite", "Freeway-MinAtar"})
_NEVER_TERMINATES = frozenset({"MetaMaze-misc"})


def _spawn(key: jax.Array, state: State) -> State:
    """Return Asterix's state after a spawn that is due, in one of the free slots; without one, nothing comes.

    It resets the timer, so that gymnax's own spawn finds nothing to do.

    Source: MinAtar, `minatar/environments/asterix.py`, `_spawn_entity`.
    """
    key_right, key_gold, key_slot = jax.random.split(key, 3)
    right = jax.random.bernoulli(key_right).astype(jnp.int32)
    gold = jax.random.bernoulli(key_gold, 1 / 3).astype(jnp.int32)
    free = state.entities[:, 4] == 0
    slot = jax.random.categorical(key_slot, jnp.where(free, 0.0, -jnp.inf)).astype(jnp.int32)
    entity = jnp.stack([9 * (1 - right), slot + 1, right, gold, jnp.int32(1)])
    due = state.spawn_timer == 0
    chosen = (jnp.arange(len(free)) == slot) & free & due
    return state.replace(
        entities=jnp.where(chosen[:, None], entity, state.entities),
        spawn_timer=jnp.where(due, state.spawn_speed, state.spawn_timer),
    )


def _stop_at_wall(state: State, params: Params) -> State:
    """Return MountainCarContinuous' state with a car at the left wall that does not move into it."""
    hits = (state.position <= params.min_position) & (state.velocity < 0)
    return state.replace(velocity=jnp.where(hits, 0.0, state.velocity))


@lru_cache(maxsize=256)
def _build(name: str, options: tuple[tuple[str, Any], ...]) -> Any:
    """Return gymnax's object; equal environments share it."""
    import gymnax

    arguments = dict(options)
    with jax.ensure_compile_time_eval():
        if name == "SimpleBandit-bsuite":
            arguments.pop("mapping_seed", None)
        if name == "DeepSea-bsuite" and "mapping_seed" in arguments:
            arguments["action_mapping_key"] = jax.random.key(arguments.pop("mapping_seed"))
        return gymnax.make(name, **arguments)[0]


@lru_cache(maxsize=256)
def _default_space(env: Gymnax, method: str) -> Discrete | Box:
    with jax.ensure_compile_time_eval():
        return _convert(getattr(env._raw, method)(env._raw.default_params))


def _convert(space: Any) -> Discrete | Box:
    """Return gymnax's Discrete or Box as ours."""
    if not hasattr(space, "low"):
        return Discrete(space.n)
    low, high = (_bound(np.asarray(bound, np.float32)) for bound in (space.low, space.high))
    return Box(low, high, space.shape)


def _bound(bound: np.ndarray) -> float | tuple:
    infinite = np.abs(bound) >= np.finfo(np.float32).max
    bound = np.where(infinite, np.copysign(np.float32(np.inf), bound), bound)
    return float(bound.flat[0]) if np.all(bound == bound.flat[0]) else frozen(bound.tolist())
