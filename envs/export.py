"""Our worlds for users of Gymnasium, stable-baselines3 and torch.

Importing this module imports gymnasium (extra `gymnasium`) and registers every native world there: then
`gymnasium.make("jaxrl/CartPole-v1")` works; "envs.export:jaxrl/CartPole-v1" as the id imports it first.

- `to_gymnasium`: one world as a `gymnasium.Env`, which never resets itself.
- `to_gymnasium_vec`: N worlds in one compiled program as a `gymnasium.vector.VectorEnv`.
- `hand_over`: arrays to NumPy or torch over DLPack, without a copy where the device allows it.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, SupportsFloat, get_args

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs import render
from envs.core import Environment, Params, Step, make, names
from envs.spaces import Box, Dict, Discrete, Space
from envs.spaces import to_gymnasium as convert_space
from envs.vector import ResetMode, VecEnv, VecState, metric_names, where

ArrayKind = Literal["numpy", "jax", "torch"]


# What Gymnasium puts into `info` ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Informed:
    """A world whose observations are pairs: its own, and what belongs into Gymnasium's `info`.

    That is a dictionary of the step's metrics, and of "action_mask" `[A]` int8 if the world has masks.
    """

    env: Any

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.env, name)

    def reset(self, key: jax.Array, params: Params) -> tuple[Any, tuple[Any, dict[str, Any]]]:
        """Return a first state and the pair for it, its metrics zero."""
        state, obs = self.env.reset(key, params)
        zeros: dict[str, Any] = dict.fromkeys(metric_names(self.env, params), jnp.float32(0))
        return state, (obs, zeros | self._mask(state, params))

    def step(self, key: jax.Array, state: Any, action: Any, params: Params) -> tuple[Any, Step]:
        """Return the next state and what happened."""
        state, step = self.env.step(key, state, action, params)
        return state, step.replace(obs=(step.obs, step.metrics | self._mask(state, params)))

    def _mask(self, state: Any, params: Params) -> dict[str, Any]:
        if not hasattr(self.env, "action_mask"):
            return {}
        return {"action_mask": self.env.action_mask(state, params).astype(jnp.int8)}


@partial(jax.jit, static_argnums=0)
def _reset(env: _Informed, key: jax.Array, params: Params) -> tuple[Any, Any, jax.Array]:
    key, key_reset = jax.random.split(key)
    return *env.reset(key_reset, params), key


@partial(jax.jit, static_argnums=0)
def _step(
    env: _Informed, key: jax.Array, state: Any, action: Any, params: Params
) -> tuple[Any, Step, jax.Array]:
    key, key_step = jax.random.split(key)
    return *env.step(key_step, state, action, params), key


# One world -------------------------------------------------------------------------------------------------


class GymnasiumEnv(gymnasium.Env):
    """A world as a `gymnasium.Env`; `to_gymnasium` builds it."""

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 10}  # noqa: RUF012  (Gymnasium's own)

    def __init__(self, env: Environment, params: Params, render_mode: str | None = None):
        self.metadata = _metadata(env, render_mode)
        self.render_mode = render_mode
        self.env, self.params = env, params
        self.observation_space = convert_space(env.observation_space(params))
        self.action_space = convert_space(env.action_space(params))
        self._observed, self._accepted = env.observation_space(params), env.action_space(params)
        self._informed = _Informed(env)
        self._state = self._obs = self._key = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Return the first observation of a new episode, and `info`.

        Args:
          seed: seeds `np_random`, which each reset draws its key from.
          options: `{"params": ...}` plays on with other parameters.
        """
        super().reset(seed=seed)
        self.params = (options or {}).get("params", self.params)
        key = jax.random.key(int(self.np_random.integers(2**32)))
        self._state, out, self._key = _reset(self._informed, key, self.params)
        self._obs, info = self._host(out)
        return self._obs, _first_info(info)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Return the observation, the reward, both flags, and the step's metrics (and mask) as `info`.

        Raises:
          ValueError: if `action` has another shape or kind than the space, or lies outside it; entries of a
            `Box` may lie outside its bounds, but must be numbers.
          gymnasium.error.ResetNeeded: before the first `reset`.
        """
        if self._key is None:
            raise gymnasium.error.ResetNeeded("call `reset` before `step`")
        action = check_action(self._accepted, action)
        self._state, step, self._key = _step(self._informed, self._key, self._state, action, self.params)
        self._obs, info = self._host(step.obs)
        reward, terminated, truncated = jax.device_get((step.reward, step.terminated, step.truncated))
        return self._obs, float(reward), bool(terminated), bool(truncated), _plain(info)

    def render(self) -> Any:
        """Return a picture `[height, width, 3]` uint8 (mode "rgb_array"), or text ("ansi")."""
        if self.render_mode is None:
            gymnasium.logger.warn("`render` without a `render_mode`; give one to `to_gymnasium` or `make`")
            return None
        if self._key is None:
            raise gymnasium.error.ResetNeeded("call `reset` before `render`")
        if self.render_mode == "ansi":
            return self.env.ascii(self._state, self.params)  # type: ignore[attr-defined]
        return render.frame(self.env, self._state, self.params, self._obs)

    def _host(self, out: tuple[Any, dict[str, jax.Array]]) -> tuple[Any, dict[str, Any]]:
        obs, info = jax.device_get(out)
        return _own(self._observed, obs), {name: np.array(value)[()] for name, value in info.items()}


def to_gymnasium(
    env: Environment, params: Params | None = None, render_mode: str | None = None
) -> GymnasiumEnv:
    """Return `env` as a `gymnasium.Env`, as stable-baselines3 and others take it.

    Spaces and dtypes are those of `env`. `info` holds the step's metrics as floats, and "action_mask" as
    Gymnasium's own worlds do. Equal worlds share a compiled program.

    Args:
      env: the world.
      params: its parameters, by default its own.
      render_mode: None, "rgb_array", or "ansi" if the world can be written as text.

    Raises:
      ValueError: if the render mode is none of these.

    >>> import envs
    >>> env = to_gymnasium(*envs.make("CartPole-v1"))
    >>> obs, info = env.reset(seed=0)
    >>> obs, reward, terminated, truncated, info = env.step(1)
    >>> obs.dtype, reward, terminated
    (dtype('float32'), 1.0, False)

    Source: Gymnasium 1.x, `gymnasium.Env`.
    """
    return GymnasiumEnv(env, env.default_params() if params is None else params, render_mode)


# Many worlds -----------------------------------------------------------------------------------------------


class GymnasiumVecEnv(VectorEnv):
    """N worlds in one program as a `gymnasium.vector.VectorEnv`; `to_gymnasium_vec` builds it."""

    def __init__(
        self,
        vec: VecEnv,
        params: Params,
        autoreset_mode: AutoresetMode,
        arrays: ArrayKind,
        copy: bool,
        render_mode: str | None,
    ):
        env = vec.env
        self.metadata = {**_metadata(env, render_mode), "autoreset_mode": autoreset_mode}
        self.metadata |= {} if arrays == "numpy" else {arrays: True}
        self.num_envs, self.render_mode, self.params = vec.num_envs, render_mode, params
        self.single_observation_space = convert_space(env.observation_space(params))
        self.single_action_space = convert_space(env.action_space(params))
        self.observation_space = batch_space(self.single_observation_space, vec.num_envs)
        self.action_space = batch_space(self.single_action_space, vec.num_envs)
        self._observed, self._accepted = env.observation_space(params), env.action_space(params)
        self._env, self._vec = env, replace_env(vec, _Informed(env))
        self._mode, self._copy = autoreset_mode, copy
        self._arrays: ArrayKind = arrays
        self._key = self._state = self._obs = self._first = None
        self._waiting = np.zeros(vec.num_envs, bool)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Return the first observations `[N, ...]` and `info`.

        Args:
          seed: one integer, from which all N worlds draw.
          options: `{"reset_mask": bool[N]}` restarts only these worlds, as Gymnasium's own vectors do;
            `{"params": ...}` plays on with other parameters.

        Raises:
          ValueError: if `seed` is a list, or the mask has another shape or dtype or chooses none.
        """
        if seed is not None and not isinstance(seed, int | np.integer):
            raise ValueError(f"`seed` must be one integer or None: all worlds draw from it, got {seed!r}")
        super().reset(seed=None if seed is None else int(seed))
        options = options or {}
        self.params = options.get("params", self.params)
        chosen = options.get("reset_mask")
        if chosen is not None:
            chosen = _check_mask(chosen, self.num_envs)
            if self._state is None:
                raise gymnasium.error.ResetNeeded("reset all worlds before you reset some")
        key = jax.random.key(int(self.np_random.integers(2**32)))
        new, obs, self._key = _vec_reset(self._vec, key, self.params)
        if chosen is None:
            self._state, self._obs, self._first = new, obs, obs
            self._waiting = np.zeros(self.num_envs, bool)
            chosen = np.ones(self.num_envs, bool)
        else:
            # A world that is over and not chosen keeps the first observation that its next step will show.
            self._state, self._obs, self._first = _restart_some(
                chosen, (new, obs, obs), (self._state, self._obs, self._first)
            )
            self._waiting = self._waiting & ~chosen
        obs, info = self._obs
        return self._out(obs), self._infos(_first_info(info), chosen)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Return observations, rewards (float64 in NumPy), both flags, all `[N, ...]`, and `info`.

        Where an episode ended, `autoreset_mode` decides: "SAME_STEP" returns the next episode's first
        observation and puts the last one into `info["final_obs"]`, its information into `info["final_info"]`;
        "NEXT_STEP" returns the last one and the first one with the next step, whose action is ignored and
        whose reward is 0; "DISABLED" leaves the restart to `reset(options={"reset_mask": ...})`.

        Raises:
          ValueError: if `actions` have another shape or kind than the space or lie outside it, or, with
            "DISABLED", a world whose episode is over was not reset.
          gymnasium.error.ResetNeeded: before the first `reset`.
        """
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call `reset` before `step`")
        if self._mode is AutoresetMode.DISABLED and self._waiting.any():
            raise ValueError(
                f"episodes of the worlds {np.flatnonzero(self._waiting).tolist()} are over; restart them "
                "with `reset(options={'reset_mask': mask})`"
            )
        if self._arrays == "numpy":
            actions = check_action(self._accepted, actions, self.num_envs)
        else:
            actions = _to_jax(actions, self._accepted.dtype)  # type: ignore[union-attr]
        key, before, params = self._key, self._state, self.params
        if self._mode is AutoresetMode.SAME_STEP:
            self._state, out, self._key = _vec_step(self._vec, key, before, actions, params)
            (self._obs, last), flags = (out.obs, out.next_obs), (out.terminated, out.truncated)
            done = np.asarray(out.terminated | out.truncated)
            infos = self._infos(_metrics_only(last[1]), ~done) | self._mask_infos(self._obs[1])
            if done.any():
                infos |= {"final_obs": self._final(last[0], done), "_final_obs": done}
                infos |= {"final_info": self._infos(last[1], done), "_final_info": done.copy()}
            return self._out(self._obs[0]), self._rewards(out.reward), *map(self._out, flags), infos
        waiting = jnp.asarray(self._waiting)
        self._state, out, self._key, self._first = _vec_step_then_wait(
            self._vec, key, before, actions, waiting, self._first, params
        )
        self._obs, stepped = out.next_obs, ~self._waiting
        infos = self._infos(_metrics_only(self._obs[1]), stepped) | self._mask_infos(self._obs[1])
        self._waiting = np.asarray(out.terminated | out.truncated)
        flags = (out.terminated, out.truncated)
        return self._out(self._obs[0]), self._rewards(out.reward), *map(self._out, flags), infos

    def render(self) -> tuple[Any, ...] | None:
        """Return a picture (or text) of each world."""
        if self.render_mode is None or self._state is None:
            return None
        batch = (self._state.state, self._state.params, self._obs[0])  # type: ignore[index]
        rows = [jax.tree.map(lambda x, i=i: x[i], batch) for i in range(self.num_envs)]
        own = [(state, self.params if drawn is None else drawn, obs) for state, drawn, obs in rows]
        if self.render_mode == "ansi":
            return tuple(self._env.ascii(state, params) for state, params, _ in own)  # type: ignore[attr-defined]
        return tuple(render.frame(self._env, *world[:2], jax.device_get(world[2])) for world in own)

    def _out(self, tree: Any) -> Any:
        return hand_over(tree, self._arrays, copy=self._copy)

    def _rewards(self, reward: jax.Array) -> Any:
        return np.asarray(reward, np.float64) if self._arrays == "numpy" else self._out(reward)

    def _mask_infos(self, info: dict[str, jax.Array]) -> dict[str, Any]:
        everyone = np.ones(self.num_envs, bool)
        return self._infos({k: v for k, v in info.items() if k == "action_mask"}, everyone)

    def _infos(self, info: dict[str, jax.Array], told: np.ndarray) -> dict[str, Any]:
        """Return Gymnasium's pairs `name`, `_name`: values, zero where not told, and where they are told."""
        if not told.any():
            return {}
        infos: dict[str, Any] = {}
        for name, value in info.items():
            array = np.where(told.reshape(-1, *[1] * (value.ndim - 1)), np.asarray(value), 0)
            infos[name] = array.astype(np.int8 if name == "action_mask" else np.float64)
            infos[f"_{name}"] = told.copy()
        return infos

    def _final(self, obs: Any, done: np.ndarray) -> Any:
        if self._arrays != "numpy":
            return self._out(obs)
        final, obs = np.full(self.num_envs, None, object), jax.device_get(obs)
        for i in np.flatnonzero(done):
            final[i] = _own(self._observed, jax.tree.map(lambda x, i=i: x[i], obs))
        return final


def to_gymnasium_vec(
    env: Environment,
    params: Params | None = None,
    num_envs: int = 1,
    *,
    autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    arrays: ArrayKind = "numpy",
    copy: bool = True,
    reset: ResetMode = "auto",
    time_limit: int | None = None,
    params_dist: Callable[[jax.Array, Params], Params] | None = None,
    render_mode: str | None = None,
) -> GymnasiumVecEnv:
    """Return N copies of `env` as a `gymnasium.vector.VectorEnv`: one compiled program, run by `VecEnv`.

    Args:
      env: the world.
      params: its parameters, by default its own.
      num_envs: N.
      autoreset_mode: `SAME_STEP` (as `VecEnv`), `NEXT_STEP` or `DISABLED`, declared in `metadata`.
      arrays: what comes back. With "jax" or "torch" everything stays on the device, actions included, and
        `info["final_obs"]` is a batch `[N, ...]`, valid where `info["_final_obs"]`, instead of a list of
        observations. Actions of these kinds are not checked, and clipped to the space's range by the world.
      copy: whether NumPy arrays are the caller's own. False hands out read-only views without a copy.
      reset: where new episodes start from, as `VecEnv`'s `reset`.
      time_limit: as `VecEnv`'s.
      params_dist: as `VecEnv`'s, for parameters drawn anew in each episode.
      render_mode: None, "rgb_array" or "ansi".

    Raises:
      ValueError: if an option is none of these.

    >>> import envs
    >>> worlds = to_gymnasium_vec(*envs.make("CartPole-v1"), num_envs=3)
    >>> obs, info = worlds.reset(seed=0)
    >>> obs, reward, terminated, truncated, info = worlds.step(np.array([0, 1, 0]))
    >>> obs.shape, reward, worlds.metadata["autoreset_mode"].name
    ((3, 4), array([1., 1., 1.]), 'SAME_STEP')

    Source: Gymnasium 1.x, `gymnasium.vector.VectorEnv`, `AutoresetMode`.
    """
    if arrays not in get_args(ArrayKind):
        raise ValueError(f"`arrays` must be one of {get_args(ArrayKind)}, got {arrays!r}")
    modes = {**{mode.name: mode for mode in AutoresetMode}, **{mode.value: mode for mode in AutoresetMode}}
    mode = autoreset_mode if isinstance(autoreset_mode, AutoresetMode) else modes.get(autoreset_mode)
    if mode is None:
        known = [mode.name for mode in AutoresetMode]
        raise ValueError(f"`autoreset_mode` must be one of {known}, got {autoreset_mode!r}")
    vec = VecEnv(env, num_envs, reset, time_limit, params_dist)
    params = env.default_params() if params is None else params
    return GymnasiumVecEnv(vec, params, mode, arrays, copy, render_mode)


def replace_env(vec: VecEnv, env: Any) -> VecEnv:
    """Return `vec` around another environment."""
    return VecEnv(env, vec.num_envs, vec.reset_mode, vec.time_limit, vec.params_dist)


@partial(jax.jit, static_argnums=0)
def _vec_reset(vec: VecEnv, key: jax.Array, params: Params) -> tuple[VecState, Any, jax.Array]:
    key, key_reset = jax.random.split(key)
    return *vec.reset(key_reset, params), key


@partial(jax.jit, static_argnums=0)
def _vec_step(vec: VecEnv, key: jax.Array, state: VecState, action: Any, params: Params) -> tuple:
    key, key_step = jax.random.split(key)
    return *vec.step(key_step, state, action, params), key


@partial(jax.jit, static_argnums=0)
def _vec_step_then_wait(
    vec: VecEnv, key: jax.Array, state: VecState, action: Any, waiting: jax.Array, first: Any, params: Params
) -> tuple:
    """Return one step in which the worlds that are `waiting` only show what they start with."""
    key, key_step = jax.random.split(key)
    after, out = vec.step(key_step, state, action, params)
    after = _keep(waiting, state, after)
    out = replace(
        out,
        next_obs=where(waiting, first, out.next_obs),
        reward=jnp.where(waiting, 0.0, out.reward),
        terminated=out.terminated & ~waiting,
        truncated=out.truncated & ~waiting,
    )
    return after, out, key, where(waiting, first, out.obs)


@jax.jit
def _restart_some(chosen: jax.Array, new: tuple, old: tuple) -> tuple:
    """Return `(state, obs, first obs)` of the chosen worlds from `new`, of the others from `old`."""
    return _keep(chosen, new[0], old[0]), *where(jnp.asarray(chosen), new[1:], old[1:])


def _keep(chosen: jax.Array, kept: VecState, other: VecState) -> VecState:
    """Return `other` with the worlds of `kept` where `chosen`; what they share is that of `other`."""

    def own(state: VecState) -> tuple:
        return state.state, state.params, state.episode

    state, params, episode = where(jnp.asarray(chosen), own(kept), own(other))
    return replace(other, state=state, params=params, episode=episode)


# By name ---------------------------------------------------------------------------------------------------


def make_gymnasium(world: str, render_mode: str | None = None, **options: Any) -> GymnasiumEnv:
    """Return `envs.make(world, **options)` as a `gymnasium.Env`: what `gymnasium.make` calls.

    >>> make_gymnasium("GridWorld-v1", map=("S.G",)).observation_space
    Discrete(3, dtype=int32)
    """
    return to_gymnasium(*make(world, **options), render_mode=render_mode)


def make_gymnasium_vec(world: str, num_envs: int = 1, **options: Any) -> GymnasiumVecEnv:
    """Return `envs.make(world, **options)` as a vector, as `gymnasium.make_vec` calls it.

    Options that `to_gymnasium_vec` takes go there, the others to the world.

    >>> make_gymnasium_vec("CartPole-v1", num_envs=2, autoreset_mode="NEXT_STEP").num_envs
    2
    """
    taken = inspect.signature(to_gymnasium_vec).parameters
    own = {name: value for name, value in options.items() if name not in taken}
    rest = {name: value for name, value in options.items() if name in taken}
    return to_gymnasium_vec(*make(world, **own), num_envs=num_envs, **rest)


def register_gymnasium() -> list[str]:
    """Register every native world with Gymnasium and return the ids; those that it knows stay as they are.

    Importing this module does so. Call it again for worlds that you registered later.

    >>> env = gymnasium.make("jaxrl/FrozenLake8x8-v1", render_mode="ansi")
    >>> "jaxrl/FrozenLake8x8-v1" in register_gymnasium()
    True
    """
    ids = {f"jaxrl/{world}": world for world in names("native")}
    for id, world in ids.items():
        if id not in gymnasium.registry:
            gymnasium.register(
                id,
                entry_point="envs.export:make_gymnasium",
                vector_entry_point="envs.export:make_gymnasium_vec",
                kwargs={"world": world},
            )
    return list(ids)


# Arrays ----------------------------------------------------------------------------------------------------


def hand_over(tree: Any, to: ArrayKind = "numpy", copy: bool = False) -> Any:
    """Return jax arrays as those of another library, over DLPack: without a copy where the device allows it.

    On a CPU NumPy and torch share jax's memory. jax takes its arrays for constant, so do not write to
    what torch shares (NumPy's is read-only). From a GPU, torch shares and NumPy gets a copy.

    Args:
      tree: arrays, or a pytree of them.
      to: "numpy", "torch", or "jax" (nothing to do).
      copy: copy in any case, so that the result is the caller's own.

    Raises:
      ValueError: if `to` is none of these.

    >>> obs = jnp.arange(3.0)
    >>> view = hand_over(obs)
    >>> view.flags.writeable, view.ctypes.data == obs.unsafe_buffer_pointer()
    (False, True)

    Source: the array API standard, "Data interchange mechanisms" (DLPack).
    """
    if to not in get_args(ArrayKind):
        raise ValueError(f"`to` must be one of {get_args(ArrayKind)}, got {to!r}")
    if to == "jax":
        return tree
    if to == "numpy":
        return jax.tree.map(partial(_to_numpy, copy=copy), tree)
    import torch  # type: ignore[import-not-found]

    def shared(x: jax.Array) -> Any:
        return torch.from_dlpack(x).clone() if copy else torch.from_dlpack(x)

    return jax.tree.map(shared, tree)


def _to_numpy(x: jax.Array, copy: bool) -> np.ndarray:
    on_host = isinstance(x, jax.Array) and next(iter(x.devices())).platform == "cpu"
    if copy or not on_host:
        return np.array(x)
    view = np.from_dlpack(x)  # type: ignore[arg-type]
    view.flags.writeable = False
    return view


def _to_jax(x: Any, dtype: Any) -> jax.Array:
    array = x if isinstance(x, jax.Array) or not hasattr(x, "__dlpack__") else jax.dlpack.from_dlpack(x)
    return jnp.asarray(array, dtype)


def check_action(space: Space, action: Any, num_envs: int | None = None) -> Any:
    """Return `action` as an array of the space's dtype.

    Args:
      space: of one action.
      action: one action, or `[num_envs, ...]` of them.
      num_envs: how many; None for one.

    Raises:
      ValueError: if the shape or the kind of number differs, an integer lies outside the space, or a number
        of a `Box` is NaN. A `Box` accepts numbers beyond its bounds, as the worlds do.

    >>> from envs.spaces import Discrete
    >>> check_action(Discrete(2), 5)
    Traceback (most recent call last):
        ...
    ValueError: `action` must lie in Discrete(n=2, dtype=dtype('int32')), got 5
    """
    if not hasattr(space, "dtype"):
        return action
    shape = (() if num_envs is None else (num_envs,)) + space.shape  # type: ignore[union-attr]
    array = np.asarray(action)
    called = "`action`" if num_envs is None else "`actions`"
    if array.shape != shape:
        raise ValueError(f"{called} must have the shape {shape}, got {array.shape}")
    if isinstance(space, Box):
        if not np.can_cast(array.dtype, np.float64) or np.isnan(array.astype(np.float64)).any():
            raise ValueError(f"{called} must be numbers of {space}, got {action!r}")
    elif not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{called} must be integers of {space}, got {array.dtype}")
    elif (array < 0).any() or (array >= (getattr(space, "n", None) or np.array(space.nvec))).any():  # type: ignore[union-attr]
        raise ValueError(f"{called} must lie in {space}, got {action!r}")
    return array.astype(space.dtype)  # type: ignore[union-attr]


def _metadata(env: Environment, render_mode: str | None) -> dict[str, Any]:
    modes = ["rgb_array", "ansi"] if hasattr(env, "ascii") else ["rgb_array"]
    if render_mode is not None and render_mode not in modes:
        raise ValueError(f"`render_mode` must be None or one of {modes} for {env.id!r}, got {render_mode!r}")
    return {"render_modes": modes, "render_fps": 10}


def _check_mask(chosen: Any, num_envs: int) -> np.ndarray:
    chosen = np.asarray(chosen)
    if chosen.shape != (num_envs,) or chosen.dtype != bool or not chosen.any():
        raise ValueError(f"`reset_mask` must be bool[{num_envs}] and choose a world, got {chosen!r}")
    return chosen


def _own(space: Space, obs: Any) -> Any:
    """Return one observation as Gymnasium has it: arrays of the caller's own, and plain integers."""
    if isinstance(space, Dict):
        return {name: _own(part, obs[name]) for name, part in space.spaces.items()}
    return int(obs) if isinstance(space, Discrete) else np.array(obs)


def _plain(info: dict[str, Any]) -> dict[str, Any]:
    return {name: value if np.ndim(value) else float(value) for name, value in info.items()}


def _first_info(info: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in info.items() if name == "action_mask"}


def _metrics_only(info: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in info.items() if name != "action_mask"}


register_gymnasium()
