"""Domain randomization: every episode is lived in a robot of its own, drawn from traced ranges.

What varies is said once, by meaning (`Variation`); which fields that are in which world is said in
`envs.physics.fields`; and `envs.physics.probing` proves that each of them changes what happens. `Randomized`
is an environment like any other, so that every agent and every evaluation takes it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer

from envs.checks import check_env_like, check_params
from envs.core import Obs, Params, Step, unknown
from envs.physics import fields
from envs.wrappers import WrappedParams, WrappedState, Wrapper

How = Literal["scale", "add", "set"]
# Quantities without which there is no physics: they stay greater than 0, where others may vanish.
_POSITIVE = ("mass", "length", "inertia", "time_step", "timestep")
# Quantities that are at least 0, also where the nominal value is 0 and shows no sign.
_NOT_NEGATIVE = ("friction", "damping", "armature", "stiffness")

Range = float | Sequence[float]


@dataclass(frozen=True)
class Variation:
    """One quantity that differs between robots, and its range.

    Args:
      name: "mass", "friction", "damping", "gear", "gravity", ... as `envs.physics.fields` has them for a
        world; the number of a wrapper ("latency", "push", "sensor_noise"); or a path into the params.
      low: the lower end of the range.
      high: the upper end, the same for no variation.
      how: "scale" multiplies the nominal value, "add" adds to it, "set" takes its place. Gravity has the
        sign of its world: "set" it to -9.81 m/s^2 in Brax, and to 9.81 in the native worlds.
      log: draw uniformly in the logarithm, so that half and double are equally likely.
      select: which entries of the first axis vary (links, joints, motors); None for all.

    Raises:
      ValueError: if an argument has the wrong type, or if the range is not finite, not in order, or cannot
        be right for what varies.

    >>> Variation("mass", 0.5, 2.0, log=True).label
    'mass'
    """

    name: str
    low: float
    high: float
    how: How = "scale"
    log: bool = False
    select: tuple[int, ...] | None = None

    def __post_init__(self):
        if not (isinstance(self.name, str) and self.name):
            raise ValueError(f"`name` must name a quantity, for instance 'mass', got {self.name!r}")
        if self.how not in get_args(How):
            raise ValueError(f"`how` must be one of {get_args(How)}, got {self.how!r}")
        if not isinstance(self.log, bool | np.bool_):
            raise ValueError(f"`log` of {self.name!r} must be True or False, got {self.log!r}")
        if self.select is not None:
            object.__setattr__(self, "select", _entries(self.name, self.select))
        object.__setattr__(self, "low", as_number(f"`low` of {self.label!r}", self.low))
        object.__setattr__(self, "high", as_number(f"`high` of {self.label!r}", self.high))
        self.check(self.low, self.high)

    @property
    def label(self) -> str:
        """The name, with the selected entries if there are such."""
        return self.name + ("" if self.select is None else str(list(self.select)))

    def check(self, low: float, high: float) -> None:
        """Check a range of this quantity.

        Raises:
          ValueError: naming the quantity and what is wrong with its range.
        """
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"the range of {self.label!r} must be finite, got [{low}, {high}]")
        if low > high:
            raise ValueError(f"`low` of {self.label!r} must be at most `high`, got [{low}, {high}]")
        if self.log and low <= 0:
            raise ValueError(f"`low` of {self.label!r} must be greater than 0 to draw logarithms, got {low}")
        if self.how == "scale" and low < 0:
            raise ValueError(
                f"`low` of {self.label!r} must be at least 0, for a factor below turns the sign, got {low}"
            )

    def nominal(self, params: Params, where: tuple[str, ...]) -> jax.Array:
        """Return the value `[]` that changes nothing: 1 for a factor, 0 for a summand, else what is there.

        Raises:
          ValueError: if several entries are set to one value that they do not all have, or may not: traced
            ones cannot be compared.
        """
        if self.how != "set":
            return jnp.float32(1.0 if self.how == "scale" else 0.0)
        leaf = jnp.ravel(self._selected(fields.read(params, where[0])))
        if leaf.size > 1 and (isinstance(leaf, Tracer) or np.ptp(leaf) > 0):
            got = (
                "traced (ask outside of jit)"
                if isinstance(leaf, Tracer)
                else np.array2string(np.asarray(leaf), threshold=8)
            )
            raise ValueError(
                f"{self.label!r} must have one nominal value where none is given, but how='set' puts one in "
                f"the place of all entries of {where[0]}, which are {got}; `select` equal ones or use "
                "how='scale'"
            )
        return leaf[0]

    def apply(self, params: Params, where: tuple[str, ...], value: jax.Array) -> Params:
        """Return `params` with this quantity, which lies at the paths `where`, changed by `value` `[]`."""
        first = fields.read(params, where[0])
        changed = {"scale": first * value, "add": first + value, "set": jnp.broadcast_to(value, first.shape)}
        new = self._chosen(changed[self.how], first)
        params = fields.write(params, where[0], new)
        if len(where) > 1:
            ratio = jnp.where(first == 0, 1.0, new / jnp.where(first == 0, 1.0, first))
            if self.how == "scale":  # the same for zeros, and exact
                ratio = self._chosen(jnp.broadcast_to(value, first.shape), jnp.ones_like(first))
            for path in where[1:]:
                leaf = fields.read(params, path)
                factor = ratio.reshape(ratio.shape + (1,) * (leaf.ndim - ratio.ndim))
                params = fields.write(params, path, leaf * factor)
        return params

    def _selected(self, leaf: jax.Array) -> jax.Array:
        return leaf if self.select is None else leaf[np.array(self.select)]

    def _chosen(self, new: jax.Array, old: jax.Array) -> jax.Array:
        if self.select is None:
            return new
        mask = np.zeros(old.shape[:1], bool)
        mask[list(self.select)] = True
        return jnp.where(mask.reshape(mask.shape + (1,) * (old.ndim - 1)), new, old)


@struct.dataclass
class Drawn:
    """What `Randomized` keeps of an episode's robot: `values` `[D]`, one a variation."""

    values: jax.Array


@dataclass(frozen=True)
class Randomized(Wrapper):
    """A world whose physics are drawn anew at the start of every episode.

        value = low + u (high - low),   u ~ U(0, 1)         (of the logarithms where `log`)

    The ranges are two traced arrays `[D]` in the params, so that seeds, configurations, a curriculum and a
    held-out evaluation have ranges of their own in one compiled program. The state keeps the `[D]` values
    and not the params that follow from them, so that thousands of robots need no copies of their world.

    `VecEnv(..., params_dist=...)` draws whole params, for worlds that are one draw, such as mazes. What
    varies in a world is here, where agents, which make their own `VecEnv`, and evaluations find it.

    Args:
      env: an environment, or a wrapper such as `DelayedAction`, whose numbers can vary, too.
      variations: what varies.

    Raises:
      ValueError: if `env` or a variation is none, if a quantity is unknown (the closest is named) or there
        twice, or if its range is impossible.

    >>> import envs
    >>> pendulum, _ = envs.make("Pendulum-v1")
    >>> env = Randomized(pendulum, (Variation("mass", 0.5, 2.0), Variation("length", 0.8, 1.2)))
    >>> params = env.with_ranges(env.default_params(), {"mass": (2.0, 3.0)})
    >>> state, obs = env.reset(jax.random.key(0), params)
    >>> 2.0 <= float(env.robot(state, params).mass) <= 3.0
    True

    Source: Tobin et al. (2017), https://arxiv.org/abs/1703.06907; Peng et al. (2018),
    https://arxiv.org/abs/1710.06537, for dynamics.
    """

    variations: tuple[Variation, ...] = ()

    own: ClassVar[tuple[str, ...]] = ("low", "high")
    has_state: ClassVar[bool] = True
    keeps_model: ClassVar[bool] = False

    def __post_init__(self):
        object.__setattr__(self, "variations", checked_variations(self.env, self.variations))
        labels = [variation.label for variation in self.variations]
        if twice := {label for label in labels if labels.count(label) > 1}:
            raise ValueError(
                f"`variations` must name each quantity once, got {', '.join(sorted(twice))} twice"
            )
        params = self.default_params()
        self._check_entries(params.env)
        self.check(params)

    @property
    def id(self) -> str:
        """The wrapper's name around the inner id, with what varies."""
        return f"{type(self).__name__}({self.env.id}, {', '.join(v.label for v in self.variations)})"

    @property
    def low(self) -> tuple[float, ...]:
        """The lower ends, as the variations were made with them."""
        return tuple(variation.low for variation in self.variations)

    @property
    def high(self) -> tuple[float, ...]:
        """The upper ends, likewise."""
        return tuple(variation.high for variation in self.variations)

    # Ranges ----------------------------------------------------------------------------------------------

    def with_ranges(self, params: WrappedParams, ranges: Mapping[str, Any]) -> WrappedParams:
        """Return `params` with other ranges: held-out ones for an evaluation, or points.

        Args:
          params: of this environment.
          ranges: `(low, high)` of each quantity to change, or one number for both. A number may be a tracer
            or, if the ranges of `params` are `[..., D]`, an array `[...]`; an array is never a pair.

        Raises:
          ValueError: for an unknown quantity or an impossible range.
        """
        self._check_wrapped(params)
        labels = [variation.label for variation in self.variations]
        low, high = params.values["low"], params.values["high"]
        _check_named("ranges", ranges, labels)
        for label, ends in ranges.items():
            pair = ends if isinstance(ends, tuple | list) else (ends, ends)
            if len(pair) != 2 or not all(_is_number(x, low.shape[:-1]) for x in pair):
                raise ValueError(f"the range of {label!r} must be (low, high) or one number, got {ends!r}")
            i = labels.index(label)
            low, high = low.at[..., i].set(pair[0]), high.at[..., i].set(pair[1])
        params = replace(params, values=params.values | {"low": low, "high": high})
        self.check(params)
        return params

    def at(self, params: WrappedParams, values: jax.Array) -> WrappedParams:
        """Return `params` whose robots are all the one of `values` `[D]`.

        Raises:
          ValueError: if there is not one value a variation.
        """
        values, size = jnp.asarray(values, jnp.float32), len(self.variations)
        if values.shape[-1:] != (size,):
            labels = ", ".join(variation.label for variation in self.variations)
            raise ValueError(f"`values` must have shape [{size}], one each of {labels}, got {values.shape}")
        return replace(params, values=params.values | {"low": values, "high": values})

    def grid(self, params: WrappedParams, axes: Mapping[str, Sequence[float]]) -> WrappedParams:
        """Return params of G robots, every leaf `[G, ...]`: every combination, the last quantity fastest.

        Quantities that `axes` does not name are nominal. See `jaxrl.robustness.evaluate_grid`.

        Raises:
          ValueError: for an unknown quantity or an impossible value, or if a quantity that `axes` does not
            name has no nominal value; see `Variation.nominal`.
        """
        self._check_wrapped(params)
        _check_named("axes", axes, [variation.label for variation in self.variations])
        if not axes:
            raise ValueError("`axes` must name at least one quantity, got none")
        for label, axis in axes.items():
            if np.ndim(axis) != 1 or not np.size(axis) or np.asarray(axis).dtype.kind not in "iuf":
                raise ValueError(f"`axes` of {label!r} must hold at least one number, got {axis!r}")
        points = [x.ravel() for x in np.meshgrid(*axes.values(), indexing="ij")]
        column, size = dict(zip(axes, points, strict=True)), len(points[0])
        where = self._paths(params.env)
        columns = [
            jnp.asarray(column[variation.label], jnp.float32)
            if variation.label in column
            else jnp.full(size, variation.nominal(params.env, places), jnp.float32)
            for variation, places in zip(self.variations, where, strict=True)
        ]
        params = self.at(params, jnp.stack(columns, axis=-1))
        self.check(params)
        wide = jax.tree.map(lambda x: jnp.broadcast_to(x, (size, *jnp.shape(x))), params.env)
        values = {
            name: value if name in ("low", "high") else jnp.broadcast_to(value, (size, *value.shape))
            for name, value in params.values.items()
        }
        return WrappedParams(wide, values)

    def nominal(self, params: WrappedParams) -> jax.Array:
        """Return the values `[D]` that change nothing.

        Raises:
          ValueError: if a quantity has none; see `Variation.nominal`.
        """
        pairs = zip(self.variations, self._paths(params.env), strict=True)
        return jnp.stack([v.nominal(params.env, where) for v, where in pairs]).astype(jnp.float32)

    def check(self, params: WrappedParams) -> None:
        """Check the names and the ranges of `params`; traced ranges pass.

        The robots at the ends of the ranges must be such as the inner environment's `check_params` accepts.

        Raises:
          ValueError: naming the quantity, its range, and what would be accepted.
        """
        self._check_wrapped(params)
        where, shape = self._paths(params.env), (len(self.variations),)
        for name in ("low", "high"):
            if (got := np.shape(params.values[name]))[-1:] != shape:
                raise ValueError(f"`{name}` must have one entry a variation, {list(shape)}, got {list(got)}")
        for variation, places in zip(self.variations, where, strict=True):
            _check_select(variation, places[0], jnp.shape(fields.read(params.env, places[0])))
        low, high = params.values["low"], params.values["high"]
        if any(isinstance(x, Tracer) for x in (low, high, *jax.tree.leaves(params.env))):
            return
        low, high = np.asarray(low), np.asarray(high)
        for i, (variation, places) in enumerate(zip(self.variations, where, strict=True)):
            ends = np.ravel(low[..., i]), np.ravel(high[..., i])
            wrong = ~(ends[0] <= ends[1])  # true for NaN, too
            at = int(np.argmax(wrong) if wrong.any() else np.argmin(ends[0]))
            variation.check(float(ends[0][at]), float(ends[1][at]))
            variation.check(float(ends[0].min()), float(ends[1].max()))
            self._check_bounds(variation, places, params.env, "low", ends[0].min())
            self._check_bounds(variation, places, params.env, "high", ends[1].max())
        size = len(self.variations)
        self._check_robots(params.env, low.reshape(-1, size).min(axis=0), high.reshape(-1, size).max(axis=0))

    def check_values(self, params: WrappedParams) -> None:
        """Check the ranges, as `check` does."""
        self.check(params)

    def _check_entries(self, params: Params) -> None:
        """Check that a quantity's entries are there, and not twice under two names or indices."""
        seen: dict[Any, Variation] = {}
        for variation, places in zip(self.variations, self._paths(params), strict=True):
            shape = jnp.shape(fields.read(params, places[0]))
            _check_select(variation, places[0], shape)
            chosen = None if variation.select is None else frozenset(i % shape[0] for i in variation.select)
            other = seen.setdefault((fields.canonical(params, places), chosen), variation)
            if other is not variation:
                raise ValueError(
                    f"`variations` must name each quantity once, got {other.label} and {variation.label}, "
                    "the same"
                )

    def _check_robots(self, params: Params, low: np.ndarray, high: np.ndarray) -> None:
        """Ask the inner environment whether it accepts the robots at both ends `[D]` of the ranges."""
        if not hasattr(self.env, "check_params"):
            return
        where, nominal = self._paths(params), _refusal(self.env, params)
        places = [{path.partition(":")[0] for path in paths} for paths in where]
        size = len(places)
        alone = [(i, end, values[i]) for end, values in (("low", low), ("high", high)) for i in range(size)]

        def refused(robot: Params) -> str | None:
            # What is wrong without any variation, is not the variations' fault.
            return None if (message := _refusal(self.env, robot)) == nominal else message

        def check_alone(chosen: Any) -> None:
            for i, end, value in alone:
                variation = self.variations[i]
                if not chosen(i):
                    continue
                with jax.ensure_compile_time_eval():
                    robot = variation.apply(params, where[i], jnp.float32(value))
                if (message := refused(robot)) is not None:
                    raise ValueError(
                        f"`{end}` of {variation.label!r} must make a robot that {self.env.id} accepts, but "
                        f"{value:.6g} ({variation.how}) does not: {message}"
                    )

        # Fields that several variations change may be right where all are at an end, and wrong where one is.
        shared = [i for i in range(size) if any(places[i] & places[j] for j in range(size) if j != i)]
        check_alone(lambda i: i in shared)
        for end, values in (("low", low), ("high", high)):
            with jax.ensure_compile_time_eval():
                robot = self.bind(params, jnp.asarray(values))
            if (message := refused(robot)) is not None:
                check_alone(lambda i: True)
                blamed = shared or range(size)
                labels = ", ".join(repr(self.variations[i].label) for i in blamed)
                raise ValueError(
                    f"`{end}` of {labels} must together make a robot that {self.env.id} accepts, but "
                    f"{', '.join(f'{values[i]:.6g}' for i in blamed)} do not: {message}"
                )

    def _check_bounds(
        self, variation: Variation, where: tuple[str, ...], params: Params, end: str, value: float
    ) -> None:
        nominal, field = np.asarray(fields.read(params, where[0])), where[0].rpartition(".")[2]
        with jax.ensure_compile_time_eval():
            changed = variation.apply(params, where, jnp.float32(value))
            new = np.asarray(fields.read(changed, where[0]))
        least, most = fields.bounds(self.env, variation.name)
        strict = any(word in field for word in _POSITIVE)
        signed = (nominal > 0) | ((nominal == 0) & any(word in field for word in _NOT_NEGATIVE))
        outside = (new < least) | (new > most)
        bad = outside | (signed & (new <= 0 if strict else new < 0))
        if bad.any():
            # A nominal value of 0 shows no sign, and where the world has a rule, that holds and not a name's.
            has_rule = hasattr(fields.core(self.env), "check_params") and not (nominal[bad] > 0).any()
            if has_rule and not outside.any() and _refusal(self.env, changed) is None:
                return
            rule = "greater than 0" if strict else "at least 0"
            rule = rule if most == math.inf else f"from {least:g} to {most:g}"
            raise ValueError(
                f"`{end}` of {variation.label!r} must keep {where[0]} {rule}, but {value:.6g} "
                f"({variation.how}) makes it {float(new[bad][0]):.6g}"
            )

    # Robots ----------------------------------------------------------------------------------------------

    def bind(self, params: Params, values: jax.Array) -> Params:
        """Return the inner environment's `params` with the `values` `[D]` of a robot."""
        for i, (variation, where) in enumerate(zip(self.variations, self._paths(params), strict=True)):
            params = variation.apply(params, where, values[i])
        return params

    def robot(self, state: WrappedState, params: WrappedParams) -> Params:
        """Return the inner params of the robot that `state` belongs to."""
        return self.bind(params.env, state.kept.values)

    def from_unit(self, unit: jax.Array, params: WrappedParams) -> jax.Array:
        """Return the values `[D]` at a point of the unit cube `[D]`: 0 is the low end, 1 the high one."""
        low, high = params.values["low"], params.values["high"]
        log = np.array([variation.log for variation in self.variations])
        a, b = (jnp.where(log, jnp.log(jnp.where(log, x, 1.0)), x) for x in (low, high))
        values = a + unit * (b - a)
        return jnp.where(log, jnp.exp(jnp.where(log, values, 0.0)), values)

    def draw(self, key: jax.Array, params: WrappedParams) -> Drawn:
        """Return a robot drawn from the ranges of `params`."""
        return Drawn(self.from_unit(jax.random.uniform(key, (len(self.variations),)), params))

    def reset(self, key: jax.Array, params: WrappedParams) -> tuple[WrappedState, Obs]:
        """Return a first state of a new robot, and its observation."""
        self.check(params)
        key, key_draw = jax.random.split(key)
        drawn = self.draw(key_draw, params)
        state, obs = self.env.reset(key, self.bind(params.env, drawn.values))
        return WrappedState(state, drawn), obs

    def step(
        self, key: jax.Array, state: WrappedState, action: Any, params: WrappedParams
    ) -> tuple[WrappedState, Step]:
        """Return the robot's next state and what happened."""
        inner, step = self.env.step(key, state.env, action, self.robot(state, params))
        return WrappedState(inner, state.kept), step

    def __getattr__(self, name: str) -> Any:
        member = super().__getattr__(name)
        if name not in ("action_mask", "ascii", "frame"):
            return member
        shown = getattr(self.env, name)

        def of_robot(state: WrappedState | None, params: WrappedParams, *args: Any, **options: Any) -> Any:
            if state is None:
                return shown(None, params.env, *args, **options)
            return shown(state.env, self.robot(state, params), *args, **options)

        return of_robot

    def _paths(self, params: Params) -> list[tuple[str, ...]]:
        return [fields.paths(self.env, params, variation.name) for variation in self.variations]


def as_number(name: str, value: Any) -> float:
    """Return `value`, one number that is known before the compile, as a float.

    Raises:
      ValueError: naming it and what came.

    >>> as_number("`low`", "a")
    Traceback (most recent call last):
    ...
    ValueError: `low` must be a number, got 'a'
    """
    if isinstance(value, Tracer) or not _is_number(value, ()):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return float(value)


def checked_variations(env: Any, variations: Any) -> tuple[Variation, ...]:
    """Return `variations` of `env` as a tuple.

    Raises:
      ValueError: if `env` is no environment, or `variations` are none.
    """
    check_env_like(env)
    example = 'for instance (Variation("mass", 0.5, 2.0),)'
    if not isinstance(variations, Sequence) or any(not isinstance(x, Variation) for x in variations):
        raise ValueError(f"`variations` must be a sequence of Variations, {example}, got {variations!r}")
    if not variations:
        raise ValueError(f"`variations` must hold at least one Variation, {example}, got none")
    return tuple(variations)


def check_randomized(env: Any) -> None:
    """Check that `env` is a `Randomized`.

    Raises:
      ValueError: naming what came.
    """
    if not isinstance(env, Randomized):
        got = getattr(env, "id", type(env).__name__)
        raise ValueError(f"`env` must be an envs.physics.Randomized, which says what varies, got {got!r}")


def _is_number(value: Any, shape: tuple[int, ...]) -> bool:
    """Return whether `value` is a real number, or an array of `shape` of them; tracers are."""
    if not isinstance(value, jax.Array):
        if isinstance(value, str | bytes | Mapping | Sequence) or value is None:
            return False
        value = np.asarray(value)
    is_real = jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer)
    return is_real and value.shape in ((), shape)


def _entries(name: str, select: Any) -> tuple[int, ...]:
    indices = np.asarray(select if isinstance(select, Sequence | np.ndarray) else None)
    if indices.ndim != 1 or not indices.size or indices.dtype.kind not in "iu":
        raise ValueError(f"`select` of {name!r} must hold at least one index, as (0,) does, got {select!r}")
    if len(set(indices.tolist())) < len(indices):
        raise ValueError(f"`select` of {name!r} must hold each index once, got {select!r}")
    return tuple(int(i) for i in indices)


def _refusal(env: Any, params: Params) -> str | None:
    """Return why `env` refuses `params`, or None if it accepts them or has no opinion."""
    try:
        with jax.ensure_compile_time_eval():
            check_params(env, params)
    except ValueError as error:
        return str(error)
    return None


def _check_select(variation: Variation, path: str, shape: tuple[int, ...]) -> None:
    if variation.select is None:
        return
    if not shape:
        raise ValueError(
            f"`select` of {variation.name!r} must be None, for {path} is one number, got {variation.select}"
        )
    if not all(-shape[0] <= i < shape[0] for i in variation.select):
        raise ValueError(
            f"`select` of {variation.name!r} must hold entries of {path} {list(shape)}, "
            f"got {variation.select}"
        )
    if len({i % shape[0] for i in variation.select}) < len(variation.select):
        raise ValueError(
            f"`select` of {variation.name!r} must hold each entry of {path} {list(shape)} once, "
            f"got {variation.select}"
        )


def _check_named(argument: str, named: Any, labels: list[str]) -> None:
    if not isinstance(named, Mapping):
        raise ValueError(f"`{argument}` must be a mapping from {', '.join(labels)}, got {named!r}")
    for label in named:
        if label not in labels:
            raise ValueError(unknown("variation", str(label), labels))
