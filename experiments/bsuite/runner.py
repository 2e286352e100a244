"""Train an agent on bsuite: one vmapped program a group of settings, logs by episodes.

The programs count in environment steps, bsuite in episodes. So all settings of a group advance in lockstep,
until the slowest has had its episodes; each setting's log ends at its own last episode. What was summed up
at an episode is interpolated between the ends of iterations.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

import jaxrl
from envs.core import Params
from experiments.bsuite.scores import Log, log_episodes
from experiments.bsuite.suite import EXPERIMENTS, Group
from experiments.experiment import hyperparameters, resolve
from experiments.spec import RunSpec
from jaxrl.algorithm import Algorithm
from jaxrl.parallel import cell_mesh, over_cells, pad
from jaxrl.train import num_iterations, run_interval

# An agent learns from one environment at a time, as bsuite's do, and its steps are not known beforehand.
PROTOCOL: dict[str, Any] = {"num_envs": 1, "anneal_learning_rate": False}
# A world to check an agent's hyperparameters against, before those of the experiments.
TYPICAL = "Catch-bsuite-v1"
# The numbers of intervals that are logged, and of those between two looks whether all are done.
INTERVALS = 1000
INTERVALS_PER_CHUNK = 10


@dataclass(frozen=True)
class Agent:
    """An algorithm and its hyperparameters.

    Attributes:
      name: of the algorithm.
      make: its `make(env, params, config)`.
      base: its `Config`.
      chosen: those of its hyperparameters that are not the algorithm's defaults.
    """

    name: str
    make: Callable[..., Algorithm]
    base: Any
    chosen: Mapping[str, Any]

    def config(self, budget: int) -> Any:
        """Return the `Config` for a training of at most `budget` environment steps."""
        return (
            self.base.replace(total_steps=jnp.float32(budget))
            if hasattr(self.base, "total_steps")
            else self.base
        )


@dataclass(frozen=True)
class Trained:
    """What training a group gave.

    Attributes:
      logs: of each experiment in it.
      steps: environment steps, of all settings together.
      compile_seconds: of its program.
      run_seconds: of the training.
    """

    logs: dict[str, list[Log]]
    steps: int
    compile_seconds: float
    run_seconds: float


def agent(name: str, values: Mapping[str, Any] | None = None) -> Agent:
    """Return an agent with bsuite's protocol: one environment, no annealing; `values` win over that.

    Raises:
      SpecError: for an unknown algorithm or hyperparameter, a value out of its range, or an algorithm that
        does not take arrays as observations.

    >>> agent("ppo", {"learning_rate": 1e-3}).chosen["num_envs"]
    1
    """
    known = hyperparameters(jaxrl.algorithm(name).Config)
    chosen = {key: value for key, value in PROTOCOL.items() if key in known}
    chosen |= {key.replace("-", "_"): value for key, value in (values or {}).items()}
    resolved = resolve(RunSpec(name, TYPICAL, total_steps=1_000_000, seeds=(0,), config=chosen))
    base = jax.tree.map(lambda leaf: leaf[0], resolved.configs)
    return Agent(name, resolved.module.make, base, chosen)


def check(agent: Agent, group: Group) -> None:
    """Check, without compiling, that the agent can be trained on the group's environment.

    Raises:
      ValueError: saying why not.
    """
    first = group.cells[0]
    try:
        algorithm = agent.make(group.env, first.params, agent.config(budget(group, 1)))
        state = jax.eval_shape(algorithm.init, jax.random.key(0))
        _, metrics = jax.eval_shape(algorithm.step, state, jnp.int32(0))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{agent.name} cannot play {first.experiment.name}: {error}") from error
    if missing := {"episodes", f"episode_{first.experiment.measure}"} - set(metrics):
        raise ValueError(
            f"{agent.name} must report {', '.join(sorted(missing))} (see jaxrl.rollout.episode_metrics)"
        )


def budget(group: Group, num_envs: int) -> int:
    """Return environment steps within which every cell has had its episodes."""
    return max(cell.episodes * cell.horizon + num_envs * cell.horizon for cell in group.cells)


def train(
    agent: Agent,
    group: Group,
    seed: int = 0,
    mesh: Mesh | None = None,
    progress: Callable[[float], None] | None = None,
) -> Trained:
    """Return the logs of an agent trained on every cell of a group, in one program.

    Args:
      agent: as `agent` returns it.
      group: see `suite.groups`.
      seed: a cell's key depends on it, on the experiment and on the setting, and on nothing else.
      mesh: devices to spread the cells over; all by default.
      progress: called with the share of episodes done by the slowest cell.
    """
    mesh = cell_mesh() if mesh is None else mesh
    num_envs = getattr(agent.base, "num_envs", 1)
    steps = budget(group, num_envs)
    config = agent.config(steps)
    per = agent.make(group.env, group.cells[0].params, config).steps_per_iteration
    if per < 1:
        raise ValueError(f"{agent.name} must learn from an environment, not from a data set")
    stops = chunks(num_iterations(per, steps))
    own, shared, put = divide([cell.params for cell in group.cells])
    keys = jnp.stack([_key(seed, cell.experiment.name, cell.index) for cell in group.cells])
    cells = pad((own, keys), mesh.size)
    measure = group.cells[0].experiment.measure
    static = {"make": agent.make, "env": group.env, "put": put, "mesh": mesh}
    begun = time.perf_counter()
    states = _init(cells, (shared, config), **static)
    # An empty interval compiles the program and changes nothing.
    nothing = np.zeros((2, INTERVALS_PER_CHUNK), np.int32)
    states, _ = _advance((states, cells), (shared, config, nothing), measure=measure, **static)
    jax.block_until_ready(states)
    compiled = time.perf_counter()
    wanted = np.array([cell.episodes for cell in group.cells])
    counts, sums, goods = [np.zeros((len(wanted), 1))], [np.zeros((len(wanted), 1))], []
    done, last = np.zeros(len(wanted)), 0
    for bounds in stops:
        states, out = _advance((states, cells), (shared, config, bounds), measure=measure, **static)
        episodes, total, good = (np.asarray(x, float)[: len(wanted)] for x in out)
        counts.append(episodes)
        sums.append(total)
        goods.append(good)
        done, last = done + episodes.sum(axis=1), int(bounds[1, -1])
        if progress is not None:
            progress(float(np.min(done / wanted)))
        if np.all(done >= wanted):
            break
    seconds = time.perf_counter() - compiled
    count, total = (np.concatenate(parts, axis=1).cumsum(axis=1) for parts in (counts, sums))
    good = np.concatenate(goods, axis=1).cumsum(axis=1)
    logs: dict[str, list[Log]] = {}
    for i, cell in enumerate(group.cells):
        log = log_of(
            cell.index, cell.experiment.settings[cell.index], cell.episodes, count[i], total[i], good[i]
        )
        logs.setdefault(cell.experiment.name, []).append(log)
    return Trained(logs, per * last * len(wanted), compiled - begun, seconds)


def divide(params: Sequence[Params]) -> tuple[list[Any], list[Any], Any]:
    """Return what differs between `params`, what they share, and how to put both together again.

    Args:
      params: C pytrees of one structure.

    Returns:
      `(own, shared, put)`: own leaves `[C, ...]`, shared leaves as they are, and a hashable `put` such that
      `join(own of one, shared, put)` is a cell's params.

    >>> own, shared, put = divide([{"a": np.ones(2), "b": np.float32(i)} for i in range(3)])
    >>> own[0].tolist(), shared[0].tolist(), join([own[0][1]], shared, put)["b"].item()
    ([0.0, 1.0, 2.0], [1.0, 1.0], 1.0)
    """
    leaves, (structure, *_) = zip(*(jax.tree.flatten(one) for one in params), strict=True)
    columns = list(zip(*leaves, strict=True))
    same = tuple(all(x is column[0] or np.array_equal(x, column[0]) for x in column) for column in columns)
    own = [jnp.stack(column) for column, equal in zip(columns, same, strict=True) if not equal]
    shared = [column[0] for column, equal in zip(columns, same, strict=True) if equal]
    return own, shared, (structure, same)


def join(own: Sequence[Any], shared: Sequence[Any], put: Any) -> Params:
    """Return the params of one cell, as `divide` took them apart."""
    structure, same = put
    mine, common = iter(own), iter(shared)
    return structure.unflatten([next(common) if equal else next(mine) for equal in same])


def chunks(iterations: int) -> np.ndarray:
    """Return the intervals of each chunk, `[K, 2, INTERVALS_PER_CHUNK]` int32: first iterations and ends."""
    length = -(-iterations // INTERVALS)
    num_chunks = -(-iterations // (length * INTERVALS_PER_CHUNK))
    bounds = np.minimum(np.arange(num_chunks * INTERVALS_PER_CHUNK + 1) * length, iterations)
    shape = (num_chunks, INTERVALS_PER_CHUNK)
    return np.stack([bounds[:-1].reshape(shape), bounds[1:].reshape(shape)], axis=1).astype(np.int32)


def log_of(
    index: int,
    setting: Mapping[str, Any],
    episodes: int,
    count: np.ndarray,
    total: np.ndarray,
    good: np.ndarray,
) -> Log:
    """Return the log of a setting.

    Args:
      index: of the setting.
      setting: itself.
      episodes: where the log ends.
      count: `[P + 1]`, episodes done at the ends of P intervals, after a 0.
      total: `[P + 1]`, the sum of the measure up to there.
      good: `[P]`, the number of good episodes up to there.
    """
    at = log_episodes(episodes)
    at = at if at[-1] == episodes else np.append(at, episodes)
    at = at[at <= count[-1]]
    summed = np.interp(at, count, total)
    end = int(np.searchsorted(count, at[-1])) if len(at) else 0
    return Log(index, setting, at, summed, bool(end and good[end - 1] > 0))


def _key(seed: int, experiment: str, index: int) -> jax.Array:
    number = list(EXPERIMENTS).index(experiment)
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), number), index)


@partial(jax.jit, static_argnames=("make", "env", "put", "mesh"))
def _init(cells, shared, *, make, env, put, mesh):
    def init(cell, shared):
        (own, key), (same, config) = cell, shared
        return make(env, join(own, same, put), config).init(key)

    return over_cells(init, mesh)(cells, shared)


@partial(jax.jit, static_argnames=("make", "env", "put", "mesh", "measure"))
def _advance(cells, shared, *, make, env, put, mesh, measure):
    def advance(cell, shared):
        (state, (own, _)), (same, config, (starts, stops)) = cell, shared
        algorithm = make(env, join(own, same, put), config)

        def interval(state, bounds):
            state, metrics = run_interval(algorithm, state, *bounds)
            episodes = metrics["episodes"]

            def total(name):
                return jnp.where(episodes > 0, metrics[f"episode_{name}"] * episodes, 0.0)

            return state, (episodes, total(measure), total("good_episode"))

        return jax.lax.scan(interval, state, (starts, stops))

    return over_cells(advance, mesh)(cells, shared)
