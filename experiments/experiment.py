"""What a `RunSpec` means: the environment, the algorithm and the batch of configurations it names.

Everything that can be wrong with a spec is found here, before anything is compiled.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

import envs
import jaxrl
import jaxrl.config
from envs.checks import check_params
from envs.core import Environment, Params
from envs.physics.fields import read, write
from experiments.spec import RunSpec, SpecError, Table, closest, show
from jaxrl.algorithm import Algorithm
from jaxrl.memory import check_cells
from jaxrl.train import Plan, evaluate, num_iterations, plan

NONE = "none"
"""How a spec writes a hyperparameter that is switched off, since TOML has no null."""


@dataclass(frozen=True)
class Experiment:
    """A resolved spec and what it names.

    Attributes:
      spec: the spec with every hyperparameter filled in.
      module: the algorithm's module.
      env: the environment, and `params`, its parameters.
      configs: the algorithm's config with leaves `[C]`.
      algorithm: the first configuration's algorithm, for what all of them share.
      plan: when to log and to evaluate.
    """

    spec: RunSpec
    module: ModuleType
    env: Environment
    params: Params
    configs: Any
    algorithm: Algorithm
    plan: Plan

    @property
    def steps_per_cell(self) -> int:
        """Environment steps that each seed of each configuration does: whole iterations."""
        per = max(self.algorithm.steps_per_iteration, 1)
        return per * num_iterations(self.algorithm.steps_per_iteration, self.spec.total_steps)


def resolve(spec: RunSpec) -> Experiment:
    """Return the experiment that `spec` describes, checked as a whole. Nothing is compiled.

    Raises:
      SpecError: for an unknown algorithm, environment, option or hyperparameter (the closest names are
        told), a value out of range, sizes that do not divide, or an environment that the algorithm
        cannot serve.
      ImportError: if the environment needs a package that is not installed.

    >>> experiment = resolve(RunSpec("ppo", "CartPole-v1", 10_000, seeds=(0, 1)))
    >>> experiment.spec.config["learning_rate"]
    0.00025
    """
    try:
        module = jaxrl.algorithm(spec.algorithm)
        env, params = envs.make(spec.env, **spec.env_options)
        params = _with_params(spec, params)
        check_params(env, params)
        config = _config(spec, module.Config)
        if "total_steps" in spec.grid:
            raise SpecError(
                "`total_steps` must be the same for all configurations; run one sweep for each value"
            )
        jaxrl.config.validate(config)
        grid = {
            name: _grid_column(spec.algorithm, module.Config, name, values)
            for name, values in spec.grid.items()
        }
        configs = jaxrl.grid(config, **grid)
        algorithm = module.make(env, params, jax.tree.map(lambda x: x[0], configs))
        when = plan(algorithm.steps_per_iteration, spec.total_steps, spec.evaluations, spec.log_points)
        limit = envs.time_limit(env, params)
        if limit < 1:
            raise SpecError(f"the time limit of {spec.env} must be at least 1 step, got {limit}")
        # Traced, not compiled: what does not fit together shows here, before anything is written.
        state = jax.eval_shape(algorithm.init, jax.random.key(0))
        check_cells("`seeds` and `grid`", state, spec.num_cells, jax.device_count())
        jax.eval_shape(algorithm.step, state, jnp.int32(0))
        jax.eval_shape(
            lambda state, key: (
                evaluate(algorithm.policy(state), env, params, key, spec.eval_episodes, limit).return_
            ),
            state,
            jax.random.key(0),
        )
    except SpecError:
        raise
    except (TypeError, ValueError) as error:
        raise SpecError(str(error)) from error
    values = {
        field.name: NONE if getattr(config, field.name) is None else getattr(config, field.name)
        for field in hyperparameters(module.Config).values()
        if field.name not in grid
    }
    resolved = dataclasses.replace(
        spec, config=Table(values), grid=Table(grid), log_points=int(when.start.size)
    )
    return Experiment(resolved, module, env, params, configs, algorithm, when)


def hyperparameters(Config: type) -> dict[str, dataclasses.Field]:
    """Return the fields of an algorithm's `Config` that a spec may set, by name.

    All but `total_steps`, which the spec has for itself, and `axis_name`, which is for code that maps an
    algorithm over devices on its own.
    """
    return {f.name: f for f in dataclasses.fields(Config) if f.name not in ("total_steps", "axis_name")}


def parse(text: str) -> bool | int | float | str | tuple:
    """Return the value that a person typed: true/false, a number, a list "1,2", or else the text itself.

    >>> parse("1e-3"), parse("8"), parse("true"), parse("64,64"), parse("tanh")
    (0.001, 8, True, (64, 64), 'tanh')
    """
    if "," in text:
        return tuple(parse(part.strip()) for part in text.split(",") if part.strip())
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


def _config(spec: RunSpec, Config: type) -> Any:
    fields = hyperparameters(Config)
    values = {}
    for name, value in spec.config.items():
        if name not in fields:
            raise SpecError(
                closest(f"hyperparameter of {spec.algorithm}", name, sorted(hyperparameters(Config)))
            )
        values[name] = _coerce(fields[name], value)
    if any(field.name == "total_steps" for field in dataclasses.fields(Config)):
        values["total_steps"] = float(spec.total_steps)
    return Config(**values)


def _coerce(field: dataclasses.Field, value: Any) -> Any:
    """Return a typed or stored value in the type that the field declares."""
    if value == NONE and (field.default is None or "None" in str(field.type)):
        return None
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if jaxrl.config.is_traced(field):
        if not number:
            raise SpecError(f"`{field.name}` must be a number, got {show(value)!r}")
        return float(value)
    default = field.default
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise SpecError(f"`{field.name}` must be true or false, got {show(value)!r}")
        return value
    if isinstance(default, int):
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise SpecError(f"`{field.name}` must be a whole number, got {show(value)!r}")
        return int(value)
    if isinstance(default, tuple):
        values = value if isinstance(value, tuple) else (value,)
        if default and not all(isinstance(v, type(default[0])) and not isinstance(v, bool) for v in values):
            kind = type(default[0]).__name__
            raise SpecError(
                f"`{field.name}` must be a list of {kind}, for instance {show(default)}, got {show(value)}"
            )
        return values
    if isinstance(default, str) and not isinstance(value, str):
        raise SpecError(f"`{field.name}` must be a name, for instance {default!r}, got {show(value)!r}")
    return value


def _grid_column(algorithm: str, Config: type, name: str, values: tuple) -> tuple:
    fields = hyperparameters(Config)
    may_vary = [field.name for field in fields.values() if jaxrl.config.is_traced(field)]
    if name not in fields:
        raise SpecError(closest(f"hyperparameter of {algorithm}", name, may_vary))
    if name not in may_vary:
        raise SpecError(
            f"`{name}` sets a shape or chooses code, so it cannot vary within one program; run one sweep "
            f"for each value. A grid may vary: {', '.join(may_vary)}"
        )
    return tuple(_coerce(fields[name], value) for value in values)


def _with_params(spec: RunSpec, params: Params) -> Params:
    """Return the environment's parameters with those that the spec names replaced."""
    if not spec.env_params:
        return params
    if not dataclasses.is_dataclass(params) or isinstance(params, type):
        raise SpecError(f"`env_params` must be empty: {spec.env} has no named parameters")
    known = list(_names(params))
    for name, value in spec.env_params.items():
        if name not in known:
            raise SpecError(closest(f"parameter of {spec.env}", name, known))
        leaf = jnp.asarray(read(params, name))
        try:
            new = jnp.asarray(value)
        except TypeError as error:
            raise SpecError(f"`{name}` must be a number or a list of numbers, got {show(value)!r}") from error
        if new.shape != leaf.shape:
            raise SpecError(f"`{name}` must have shape {leaf.shape}, got {show(value)} of shape {new.shape}")
        if jnp.issubdtype(leaf.dtype, jnp.integer) and not jnp.all(new == jnp.floor(new)):
            raise SpecError(f"`{name}` must be a whole number, got {show(value)}")
        params = write(params, name, new.astype(leaf.dtype))
    return params


def _names(params: Params) -> Iterator[str]:
    """Yield what the parameters are called, the entries of a dictionary with a dot: "sys.opt.timestep"."""
    for field in dataclasses.fields(params):
        value = getattr(params, field.name)
        yield from (f"{field.name}.{name}" for name in value) if isinstance(value, dict) else (field.name,)
