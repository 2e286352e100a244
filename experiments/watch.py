"""`watch`: a table of action values learns a grid world, on one page with a slider over its episodes.

The learner runs in one compiled program (a scan over episodes) that keeps the table after each of them and
the way that was walked. The page holds all of it, exactly, and needs nothing else: no network, no library.
"""

import base64
import html
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

import jaxrl
from envs.core import Params, Step, time_limit
from envs.gridworlds.grid import GridWorld
from envs.spaces import Discrete
from envs.tabular import TabularMDP, extract
from envs.wrappers import Wrapper
from experiments import store
from experiments.experiment import Experiment, resolve
from experiments.spec import RunSpec, SpecError, show
from jaxrl.algorithm import Algorithm
from jaxrl.tabular import planning
from jaxrl.tabular.control import driver

MAZE = (
    ".#H#.G",
    "..#...",
    "....#.",
    "#.#...",
    "..H...",
)
"""What is watched unless another world is named: starts anywhere, no slip."""
LEARNT = {"learning_rate": 0.8, "exploration_fraction": 1.0}
"""Hyperparameters with which Q-learning knows all of `MAZE` after 200 episodes."""

MOST_CELLS = 1024
MOST_NUMBERS = 8_000_000
_TEMPLATE = Path(__file__).with_name("watch.html")


@struct.dataclass
class Trace:
    """What a learner did and knew, episode by episode (E of them, of at most L steps).

    Attributes:
      q: `[E + 1, S, A]` float32, the action values before the first episode and after each.
      path: `[E, L + 1]` int32, the cells that each episode went through; -1 after its end.
      length: `[E]` int32, steps.
      return_: `[E]` float32, undiscounted.
    """

    q: jax.Array
    path: jax.Array
    length: jax.Array
    return_: jax.Array


@dataclass(frozen=True)
class Watched:
    """A trained learner and the page that shows it; a notebook displays the page.

    Attributes:
      trace: what it did, as NumPy arrays.
      optimum: `[S, A]` float32, the exact Q*.
      error: `[E + 1]` float32, the largest |Q - Q*| over what can be reached, episode by episode.
      mean_error: `[E + 1]` float32, its mean.
      page: the HTML page.
    """

    trace: Trace
    optimum: np.ndarray
    error: np.ndarray
    mean_error: np.ndarray
    page: str

    def save(self, path: str | Path) -> Path:
        """Write the page, whole or not at all, and return its path; missing folders are made.

        Raises:
          StoreError: if it cannot be written.
        """
        path = Path(path)
        store.make_folder(path.parent)
        store.write_text(path, self.page)
        return path

    @property
    def summary(self) -> str:
        """How it went, in a line."""
        last = self.trace.return_[-20:]
        return (
            f"the last {len(last)} of {len(self.trace.length)} episodes returned {last.mean():.3g} each; "
            f"|Q - Q*| is {self.error[-1]:.2g} at most, {self.mean_error[-1]:.2g} on average"
        )

    def _repr_html_(self) -> str:
        source = html.escape(self.page, quote=True)
        return f'<iframe srcdoc="{source}" style="width:100%;height:820px;border:0"></iframe>'


def watch(
    algorithm: str = "q_learning",
    env: str | None = None,
    episodes: int = 200,
    *,
    seed: int = 0,
    env_options: Mapping[str, Any] | None = None,
    env_params: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Watched:
    """Return a tabular learner's training on a grid world, with a page to look at it.

    Args:
      algorithm: a method of tabular control.
      env: the id of a grid world whose states are its cells; by default `MAZE`, with
        `LEARNT` as hyperparameters.
      episodes: E, how many to train for. Schedules count episodes here, and end with the last.
      seed: of the learner.
      env_options: what the environment's constructor takes.
      env_params: numbers of the environment that differ from its defaults.
      config: hyperparameters that differ from the defaults.

    Raises:
      SpecError: if the algorithm keeps no table, the world is no grid of cells, what is asked for is too
        large for a page, or another argument is not accepted.

    >>> watched = watch(episodes=3)
    >>> watched.trace.q.shape, watched._repr_html_()[:7]
    ((4, 30, 4), '<iframe')
    """
    _check_arguments(algorithm, episodes, config or {})
    if env is None:
        env, env_options = "GridWorld-v1", {"map": MAZE, **(env_options or {})}
        env_params, config = {"slip": 0.0, **(env_params or {})}, {**LEARNT, **(config or {})}
    experiment = resolve(
        RunSpec(
            algorithm=algorithm,
            env=env,
            total_steps=episodes,
            seeds=(seed,),
            env_options=env_options or {},
            env_params=env_params or {},
            # One iteration is one step, so that an episode can be told from the next.
            config={**(config or {}), "num_steps": 1},
            evaluations=1,
        )
    )
    _check_size(experiment, episodes)
    trace = jax.device_get(record(experiment, episodes, seed))
    gamma = experiment.spec.config["gamma"]
    mdp = extract(experiment.env, experiment.params)
    optimum = np.asarray(planning.value_iteration(mdp, gamma).q)
    gap = np.abs(trace.q - optimum)[:, reachable(mdp)]
    error, mean_error = gap.max(axis=(1, 2)), gap.mean(axis=(1, 2))
    page = render_page(experiment, trace, optimum, error, mean_error)
    return Watched(trace, optimum, error, mean_error, page)


def record(experiment: Experiment, episodes: int, seed: int) -> Trace:
    """Return what the experiment's learner did and knew over `episodes` episodes, in one compiled program."""
    env = _FinalObservation(experiment.env)
    config = jax.tree.map(lambda leaf: leaf[0], experiment.configs)
    algorithm = experiment.module.make(env, experiment.params, config)
    limit = time_limit(experiment.env, experiment.params)
    return jax.jit(partial(trace_episodes, algorithm, episodes, limit))(jax.random.key(seed))


def trace_episodes(algorithm: Algorithm, episodes: int, limit: int, key: jax.Array) -> Trace:
    """Return the trace of a tabular algorithm whose iterations are single steps.

    Args:
      algorithm: made with `num_steps=1` on an environment that reports the metric `final_obs`.
      episodes: E.
      limit: L, the environment's time limit.
      key: of the learner.
    """

    def one_step(carry):
        state, path, length, _, _, episode = carry
        state, metrics = algorithm.step(state, episode)
        done = metrics["episodes"] > 0
        final = metrics["episode_final_obs"]
        cell = jnp.where(done, final, state.obs[0].astype(final.dtype)).astype(jnp.int32)
        path = path.at[length + 1].set(cell)
        return state, path, length + 1, metrics["episode_return"], done, episode

    def one_episode(state, episode):
        path = jnp.full(limit + 1, -1, jnp.int32).at[0].set(state.obs[0])
        first = (state, path, jnp.int32(0), jnp.float32(0), jnp.zeros((), bool), episode)
        state, path, length, return_, _, _ = jax.lax.while_loop(
            lambda carry: ~carry[4] & (carry[2] < limit), one_step, first
        )
        return state, (action_values(state.tables), path, length, return_)

    state = algorithm.init(key)
    before = action_values(state.tables)
    _, (q, path, length, return_) = jax.lax.scan(one_episode, state, jnp.arange(episodes, dtype=jnp.int32))
    return Trace(jnp.concatenate([before[None], q]), path, length, return_)


def action_values(tables: Any) -> jax.Array:
    """Return the action values `[S, A]` that a method of tabular control acts on: the mean, if it has two.

    >>> action_values(jnp.array([[[1.0]], [[3.0]]])).tolist()
    [[2.0]]
    """
    q = getattr(tables, "q", tables)
    return jnp.mean(q, axis=0) if q.ndim == 3 else q


def reachable(mdp: TabularMDP) -> np.ndarray:
    """Return `[S]` bool: the states that an episode may pass through before it ends.

    >>> from envs import make
    >>> int(reachable(extract(*make("FrozenLake4x4-v1"))).sum())
    11
    """
    leads = (np.asarray(mdp.P) > 0).any(axis=1)
    going = ~np.asarray(mdp.terminal)
    reached = np.asarray(mdp.start) > 0
    while not np.array_equal(reached, grown := reached | (leads & (reached & going)[:, None]).any(axis=0)):
        reached = grown
    return reached & going


def visits(trace: Trace) -> np.ndarray:
    """Return `[E + 1, S]` int64: how often each cell was entered, first cells included, up to each episode.

    >>> path = np.array([[0, 1, 1], [1, 0, -1]])
    >>> visits(Trace(np.zeros((3, 2, 1)), path, np.array([2, 1]), np.zeros(2))).tolist()
    [[0, 0], [1, 2], [2, 3]]
    """
    num_states = trace.q.shape[1]
    rows = [np.bincount(path[path >= 0], minlength=num_states) for path in np.asarray(trace.path)]
    return np.cumsum([np.zeros(num_states, int), *rows], axis=0)


def render_page(
    experiment: Experiment, trace: Trace, optimum: np.ndarray, error: np.ndarray, mean_error: np.ndarray
) -> str:
    """Return the page as one string of HTML that names no other file."""
    env, spec = cast(GridWorld, experiment.env), experiment.spec
    cells = np.asarray(experiment.params.cells)
    walked = np.asarray(trace.path)
    q = np.ascontiguousarray(trace.q, np.float32)
    # Most values stay from one episode to the next: what did not change packs to nothing.
    bits = q.view(np.uint32)
    changes = np.concatenate([bits[:1], bits[1:] ^ bits[:-1]])
    arrays = {
        "q": changes,
        "optimum": np.asarray(optimum, np.float32),
        "error": np.asarray(error, np.float32),
        "error_mean": np.asarray(mean_error, np.float32),
        "return": np.asarray(trace.return_, np.float32),
        "length": np.asarray(trace.length, np.int32),
        "path": walked[walked >= 0].astype(np.int32),
    }
    packed = zlib.compress(
        b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays.values()), 9
    )
    name = (experiment.module.__doc__ or spec.algorithm).partition(":")[0]
    content = {
        "title": f"{name} on {spec.env}",
        "algorithm": name,
        "env": spec.env,
        "episodes": len(trace.length),
        "settings": _settings(experiment),
        "gamma": spec.config["gamma"],
        "rows": cells.shape[0],
        "columns": cells.shape[1],
        "cells": cells.ravel().tolist(),
        "starts": np.flatnonzero(np.asarray(env.start_distribution(experiment.params)) > 0).tolist(),
        "directions": list(env.directions),
        "pits_restart": env.pits_restart,
        "sizes": {field: array.size for field, array in arrays.items()},
        "data": base64.b64encode(packed).decode(),
    }
    embedded = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    template = _TEMPLATE.read_text(encoding="utf-8")
    return template.replace("@TITLE@", html.escape(content["title"])).replace("@CONTENT@", embedded)


def unpack(page: str) -> dict[str, Any]:
    """Return what a page holds: its description, with the arrays of `render_page` by name.

    >>> content = unpack(watch(episodes=2).page)
    >>> content["episodes"], content["q"].shape
    (2, (3, 30, 4))
    """
    text = page.partition('<script type="application/json" id="content">')[2].partition("</script>")[0]
    content = json.loads(text)
    data = zlib.decompress(base64.b64decode(content.pop("data")))
    start = 0
    for name, size in content["sizes"].items():
        kind = np.uint32 if name == "q" else np.int32 if name in ("length", "path") else np.float32
        content[name] = np.frombuffer(data, kind, size, start)
        start += 4 * size
    shape = (-1, content["rows"] * content["columns"], len(content["directions"]))
    content["q"] = np.bitwise_xor.accumulate(content["q"].reshape(shape)).view(np.float32)
    content["optimum"] = content["optimum"].reshape(shape[1:])
    return content


@dataclass(frozen=True)
class _FinalObservation(Wrapper):
    """An environment that reports its last observation, which a learner's state has no room for."""

    def step(self, key: jax.Array, state: Any, action: Any, params: Params) -> tuple[Any, Step]:
        state, out = super().step(key, state, action, params)
        final = jnp.where(out.terminated | out.truncated, out.obs, 0).astype(jnp.float32)
        return state, replace(out, metrics=out.metrics | {"final_obs": final})


def _check_arguments(algorithm: str, episodes: int, config: Mapping[str, Any]) -> None:
    try:
        keeps_table = _keeps_table(algorithm)
    except ValueError as error:
        raise SpecError(str(error)) from error
    if not keeps_table:
        known = ", ".join(name for name in jaxrl.algorithms() if _keeps_table(name))
        raise SpecError(f"`algorithm` must be one that keeps a table ({known}), got {algorithm!r}")
    if isinstance(episodes, bool) or not isinstance(episodes, int) or episodes < 1:
        raise SpecError(f"`episodes` must be a whole number of at least 1, got {episodes!r}")
    if "num_steps" in config:
        raise SpecError("`num_steps` must not be given: a learner is watched step by step")


def _keeps_table(algorithm: str) -> bool:
    return issubclass(jaxrl.algorithm(algorithm).Config, driver.Config)


def _check_size(experiment: Experiment, episodes: int) -> None:
    spec, env = experiment.spec, experiment.env
    if not isinstance(env, GridWorld) or not isinstance(env.observation_space(experiment.params), Discrete):
        raise SpecError(
            f"`env` must be a grid world whose states are its cells, for instance FrozenLake8x8-v1, "
            f"got {spec.env!r}"
        )
    if env.num_states > MOST_CELLS:
        raise SpecError(f"`env` must have at most {MOST_CELLS} cells to be drawn, got {env.num_states}")
    numbers = episodes * (4 * env.num_states + time_limit(env, experiment.params))
    if numbers > MOST_NUMBERS:
        raise SpecError(
            f"`episodes` must be at most {MOST_NUMBERS * episodes // numbers} on a world of "
            f"{env.num_states} cells and {time_limit(env, experiment.params)} steps, got {episodes}"
        )


def _settings(experiment: Experiment) -> list[str]:
    """Return what was in force, in words: the usual hyperparameters, then those that are not the default."""
    config, default = experiment.spec.config, experiment.module.Config()

    def schedule(start: str, end: str, kind: str) -> str:
        first = show(config[start])
        return first if config[kind] == "constant" else f"{first} to {show(config[end])}, {config[kind]}"

    rate = schedule("learning_rate", "learning_rate_end", "learning_rate_schedule")
    epsilon = schedule("epsilon_start", "epsilon_end", "epsilon_schedule")
    usual = [f"learning rate {rate}", f"discount {show(config['gamma'])}", f"epsilon {epsilon}"]
    said = {"learning_rate", "learning_rate_end", "learning_rate_schedule", "gamma", "num_steps"}
    said |= {"epsilon_start", "epsilon_end", "epsilon_schedule"}
    others = [
        f"{name.replace('_', ' ')} {show(value)}"
        for name, value in config.items()
        if name not in said and value != getattr(default, name)
    ]
    return [*usual, *others, f"seed {experiment.spec.seeds[0]}"]
