"""The compiled programs of a run: start, train for a chunk, evaluate; each over all cells and devices."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from envs.core import assume_time_limit, time_limit
from experiments.experiment import Experiment
from jaxrl.algorithm import Algorithm
from jaxrl.parallel import over_cells
from jaxrl.train import evaluate, evaluation_key, run_interval


def is_finite(state: Any, metrics: Mapping[str, jax.Array]) -> jax.Array:
    """Return whether a cell is sane, `[]` bool: its parameters and its metrics are finite.

    Metrics named `episode_*` are NaN where no episode ended, and do not count. The parameters are the
    state's `params`, or its whole if it has none of that name.
    """
    watched = [value for name, value in metrics.items() if not name.startswith("episode_")]
    watched += jax.tree.leaves(getattr(state, "params", state))
    watched = [x for x in watched if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in watched])) if watched else jnp.bool_(True)


def _algorithm(experiment: Experiment, params: Any, config: Any) -> Algorithm:
    """Return the learner in a program in which `params` are traced, of the shapes it has outside."""
    with assume_time_limit(experiment.env, time_limit(experiment.env, experiment.params)):
        return experiment.module.make(experiment.env, params, config)


def init_program(experiment: Experiment, mesh: Mesh) -> Callable:
    """Return `((configs, keys), params) -> states`, to be jitted."""

    def init(cell, params):
        config, key = cell
        return _algorithm(experiment, params, config).init(key)

    return over_cells(init, mesh)


def chunk_program(experiment: Experiment, mesh: Mesh) -> Any:
    """Return the jitted `(states, configs, (params, start, stop)) -> (states, metrics, finite)`.

    It trains from iteration `start` to `stop` and uses up the states it is given.
    """

    def chunk(cell, shared):
        state, config = cell
        params, start, stop = shared
        algorithm = _algorithm(experiment, params, config)
        state, metrics = run_interval(algorithm, state, start, stop)
        return state, metrics, is_finite(state, metrics)

    batched = over_cells(chunk, mesh)

    @partial(jax.jit, donate_argnums=0)
    def train_chunk(state, configs, shared):
        return batched((state, configs), shared)

    return train_chunk


def evaluation_program(experiment: Experiment, mesh: Mesh) -> Any:
    """Return the jitted `((states, configs, keys), (params, index)) -> (returns, lengths, overestimation)`.

    They are `[cells, eval_episodes]`, the last one None of a learner that does not say what it expects (see
    `jaxrl.train.Episodes`); `index` counts the evaluations, each of which has keys of its own.
    """
    horizon = time_limit(experiment.env, experiment.params)

    def evaluate_cell(cell, shared):
        state, config, key = cell
        params, index = shared
        algorithm = _algorithm(experiment, params, config)
        policy = algorithm.policy(state)
        episodes = evaluate(
            policy, experiment.env, params, evaluation_key(key, index), experiment.spec.eval_episodes, horizon
        )
        return episodes.return_, episodes.length, episodes.overestimation

    return jax.jit(over_cells(evaluate_cell, mesh))
