"""Domain randomization: every episode is lived in a robot of its own, drawn from traced ranges.

What varies is said once, by meaning (`envs.physics.variation`); which fields that are in which world, in
`envs.physics.fields`; what is possible, in `envs.physics.ranges`; and `envs.physics.probing` proves that each
of them changes what happens. `Randomized` is an environment like any other, so that every agent and every
evaluation takes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer

from envs.checks import is_number
from envs.core import Obs, Params, Step, unknown
from envs.physics import fields, ranges
from envs.physics.variation import Variation, checked_variations
from envs.wrappers import WrappedParams, WrappedState, Wrapper


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
        ranges.check_entries(self.variations, self._paths(params.env), params.env)
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
            if len(pair) != 2 or not all(is_number(x, low.shape[:-1]) for x in pair):
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
        size, labels = len(self.variations), ", ".join(variation.label for variation in self.variations)
        rule = f"`values` must have shape [{size}], one each of {labels}"
        if isinstance(values, Mapping) or np.shape(values)[-1:] != (size,):
            got = "a mapping" if isinstance(values, Mapping) else np.shape(values)
            raise ValueError(f"{rule}, got {got}")
        try:
            values = jnp.asarray(values, jnp.float32)
        except (TypeError, ValueError):
            raise ValueError(f"{rule}, got {values!r}") from None
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
            variation.check_select(places[0], jnp.shape(fields.read(params.env, places[0])))
        low, high = params.values["low"], params.values["high"]
        if any(isinstance(x, Tracer) for x in (low, high, *jax.tree.leaves(params.env))):
            return
        ranges.check_ranges(self.env, self.variations, where, params.env, np.asarray(low), np.asarray(high))

    def check_values(self, params: WrappedParams) -> None:
        """Check the ranges, as `check` does."""
        self.check(params)

    # Robots ----------------------------------------------------------------------------------------------

    def bind(self, params: Params, values: jax.Array) -> Params:
        """Return the inner environment's `params` with the `values` `[D]` of a robot."""
        return ranges.applied(self.variations, self._paths(params), params, values)

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


def check_randomized(env: Any) -> None:
    """Check that `env` is a `Randomized`.

    Raises:
      ValueError: naming what came.
    """
    if not isinstance(env, Randomized):
        got = getattr(env, "id", type(env).__name__)
        raise ValueError(f"`env` must be an envs.physics.Randomized, which says what varies, got {got!r}")


def _check_named(argument: str, named: Any, labels: list[str]) -> None:
    if not isinstance(named, Mapping):
        raise ValueError(f"`{argument}` must be a mapping from {', '.join(labels)}, got {named!r}")
    for label in named:
        if label not in labels:
            raise ValueError(unknown("variation", str(label), labels))
