"""Seeds x hyperparameters x devices in one compiled program."""

import dataclasses
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from envs.checks import check_params
from envs.core import Environment, Params, assume_time_limit, time_limit, unknown
from jaxrl import config as configs_
from jaxrl.algorithm import Algorithm, State
from jaxrl.memory import check_cells
from jaxrl.parallel import cell_mesh, over_cells, pad
from jaxrl.train import History, Plan, check_total_steps, plan, train_to_plan

Make = Callable[[Environment, Params, Any], Algorithm]


def check_make(make: Any) -> None:
    """Check that `make` is a function and not the module it stands in.

    Raises:
      ValueError: saying what came.
    """
    if not callable(make):
        raise ValueError(
            f"`make` must be an algorithm's function, for instance jaxrl.agents.ppo.make, got {make!r}"
        )


def grid(config: Any, **values: Any) -> Any:
    """Return a batched config: every combination of the values, the last field varying fastest.

    Args:
      config: a single config; what is not in `values` is repeated.
      **values: for each traced field, the values it takes.

    Returns:
      The same config with leaves `[C]` float32.

    Raises:
      ValueError: for an unknown or static field, or a value out of its range.

    >>> from jaxrl.agents import ppo
    >>> grid(ppo.Config(), learning_rate=[1e-3, 1e-4], gamma=[0.9, 0.99]).gamma.tolist()
    [0.8999999761581421, 0.9900000095367432, 0.8999999761581421, 0.9900000095367432]
    """
    fields = {field.name: field for field in dataclasses.fields(config)}
    traced = configs_.traced_fields(config)
    for name, column in values.items():
        if name not in fields:
            raise ValueError(unknown("field", name, traced))
        if name not in traced:
            raise ValueError(
                f"`{name}` sets a shape or chooses code, so it cannot vary within one program; run one sweep "
                f"for each value. A grid may vary: {', '.join(traced)}"
            )
        if np.ndim(column) != 1 or len(column) == 0:
            raise ValueError(f"`{name}` must be a list of at least one value, got {column!r}")
        configs_.check(fields[name], np.asarray(column))
    rows = list(itertools.product(*values.values()))
    columns = {name: [row[i] for row in rows] for i, name in enumerate(values)}
    return config.replace(
        **{
            name: jnp.asarray(columns.get(name, [getattr(config, name)] * len(rows)), jnp.float32)
            for name in traced
            if name in values or getattr(config, name) is not None
        }
    )


def sweep(
    make: Make,
    env: Environment,
    params: Params,
    configs: Any,
    keys: jax.Array,
    num_steps: int,
    *,
    mesh: Mesh | None = None,
    evaluations: int = 10,
    eval_episodes: int = 16,
    eval_env: tuple[Environment, Params] | None = None,
    log_points: int | None = None,
    memory_budget: int | None = None,
) -> tuple[State, History]:
    """Return the trained states and histories of every configuration with every seed.

    One program is compiled, however many cells there are and whatever their hyperparameters; it is
    kept, so that another sweep of the same shape compiles nothing.

    Args:
      make: an algorithm's `make`, a top-level function.
      env: the environment.
      params: its parameters, shared by all cells.
      configs: a config with leaves `[C]`, as `grid` returns it, or a single one.
      keys: `[S]` keys, one a seed.
      num_steps: environment steps of each cell.
      mesh: devices to spread the cells over (`jaxrl.parallel.cell_mesh`); all by default.
      evaluations, eval_episodes, eval_env, log_points: see `jaxrl.train`.
      memory_budget: bytes a device may use. If given, the cells run in as few groups as fit, by the
        memory that two small programs predict.

    Returns:
      `(states, histories)` with leading axes `[C, S]`.

    Raises:
      ValueError: before anything is compiled, if an argument is out of range, naming it.
    """
    configs_.validate(configs)
    mesh = cell_mesh() if mesh is None else mesh
    check_make(make)
    is_typed = isinstance(keys, jax.Array) and jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)
    if not is_typed or keys.ndim != 1 or len(keys) == 0:
        got = f"shape {keys.shape} of {keys.dtype}" if isinstance(keys, jax.Array) else repr(keys)
        raise ValueError(
            "`keys` must be at least one typed key in a batch [S], as jax.random.split(key, S) makes, "
            f"got {got}"
        )
    if len(mesh.axis_names) != 1:
        raise ValueError(
            f"`mesh` must have one axis, as jaxrl.parallel.cell_mesh makes, got {mesh.axis_names}"
        )
    configs = jax.tree.map(lambda x: jnp.atleast_1d(jnp.asarray(x, jnp.float32)), configs)
    sizes = {x.shape for x in jax.tree.leaves(configs)}
    if len(sizes) != 1 or len(next(iter(sizes))) != 1:
        raise ValueError(
            f"`configs` must have leaves of one length [C], as jaxrl.grid makes; got shapes {sizes}"
        )
    for world in filter(None, ((env, params), eval_env)):
        check_params(*world)
    num_configs, num_seeds = next(iter(sizes))[0], len(keys)
    algorithm = make(env, params, jax.tree.map(lambda x: x[0], configs))
    if algorithm.total_steps is not None:
        totals = jax.vmap(lambda config: jnp.asarray(make(env, params, config).total_steps))(configs)
        algorithm = algorithm._replace(total_steps=totals.min())
    check_total_steps(algorithm, num_steps)
    # In the program the parameters are traced, so what an environment refuses would not be seen.
    state = jax.eval_shape(algorithm.init, keys[0])
    check_cells("`configs` and `keys`", state, num_configs * num_seeds, mesh.size)
    where, where_params = (env, params) if eval_env is None else eval_env
    program = partial(
        _program,
        make=make,
        env=env,
        limit=time_limit(env, params),
        where=where,
        eval_episodes=eval_episodes,
        horizon=time_limit(where, where_params),
        mesh=mesh,
    )
    shared = (params, where_params, plan(algorithm.steps_per_iteration, num_steps, evaluations, log_points))
    cells = cross(configs, keys)
    total = num_configs * num_seeds
    size = total
    if memory_budget is not None:
        size = cells_within(memory_budget, lambda n: _specs(program, cells, shared, n), total, mesh.size)
    groups = [jax.tree.map(lambda x, i=i: x[i : min(i + size, total)], cells) for i in range(0, total, size)]
    if len(groups) > 1:  # one size for all groups, so that the last compiles nothing new
        groups = [pad(group, size) for group in groups]
    results = [program(pad(group, mesh.size), shared) for group in groups]
    joined = results[0] if len(results) == 1 else jax.tree.map(lambda *xs: jnp.concatenate(xs), *results)
    return jax.tree.map(lambda x: x[:total].reshape((num_configs, num_seeds, *x.shape[1:])), joined)


def cross(configs: Any, keys: jax.Array) -> tuple[Any, jax.Array]:
    """Return `(configs, keys)` of the C * S cells, seeds varying fastest."""
    num_configs, num_seeds = jax.tree.leaves(configs)[0].shape[0], len(keys)
    return (
        jax.tree.map(lambda x: jnp.repeat(x, num_seeds, axis=0), configs),
        keys[jnp.tile(jnp.arange(num_seeds), num_configs)],
    )


def memory_bytes(compiled: Any) -> int:
    """Return what a compiled program needs of each device: arguments, outputs and temporaries, in bytes."""
    analysis = compiled.memory_analysis()
    return (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.temp_size_in_bytes
        - analysis.alias_size_in_bytes
    )


def cells_within(
    budget: int, compile_for: Callable[[int], Any], total: int, num_devices: int, margin: float = 0.95
) -> int:
    """Return how many cells fit into `budget` bytes a device, a multiple of `num_devices`.

    Memory is linear in cells, so two small programs predict it.

    Raises:
      ValueError: if not even one cell a device fits.
    """
    small, large = (memory_bytes(compile_for(n * num_devices)) for n in (1, 2))
    slope = max(large - small, 1)
    fit = int((margin * budget - (small - slope)) // slope)
    if fit < 1:
        raise ValueError(
            f"`memory_budget` must be at least {small / margin:,.0f} bytes, what one cell needs, "
            f"got {budget:,}"
        )
    return min(fit * num_devices, -(-total // num_devices) * num_devices)


@partial(jax.jit, static_argnames=("make", "env", "limit", "where", "eval_episodes", "horizon", "mesh"))
def _program(cells, shared, *, make, env, limit, where, eval_episodes, horizon, mesh):
    def cell(cell, shared):
        config, key = cell
        params, where_params, when = shared
        # All of it, for an algorithm may be made again within its own step, as one with a curriculum is.
        with assume_time_limit(env, limit):
            algorithm = make(env, params, config)
            plan = Plan(when.start, when.stop)
            return train_to_plan(algorithm, key, plan, where, where_params, eval_episodes, horizon)

    return over_cells(cell, mesh)(cells, shared)


def _specs(program, cells, shared, num_cells):
    cells = jax.tree.map(lambda x: jax.ShapeDtypeStruct((num_cells, *x.shape[1:]), x.dtype), cells)
    return _program.lower(cells, shared, **program.keywords).compile()
