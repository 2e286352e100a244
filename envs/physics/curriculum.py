"""How fast the world may get wider: automatic domain randomization, and a single level for all quantities.

A `Curriculum` is four pure functions. It lives in the state of the training (`jaxrl.curriculum` puts it
there), so that it is vmapped over seeds, saved and resumed like the rest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer

from envs.checks import as_number
from envs.core import Environment, Params, Step
from envs.physics.randomization import Drawn, Randomized
from envs.physics.variation import checked_variations
from envs.wrappers import WrappedParams, WrappedState

Stats = dict[str, jax.Array]


class Curriculum(NamedTuple):
    """Which params to train with next, given how the last episodes went.

    Attributes:
      init: `(env, params) -> curriculum`, a pytree of arrays.
      apply: `(curriculum, params) -> params` to train with.
      update: `(curriculum, episode_stats) -> curriculum`. The statistics are the metrics of an iteration:
        `episodes` that ended in it, and means over these, `episode_return`, `episode_length` and
        `episode_<metric>` (NaN if none ended).
      report: `curriculum -> {name: [] float32}`, what to log.
    """

    init: Callable[[Environment, Params], Any]
    apply: Callable[[Any, Params], Params]
    update: Callable[[Any, Stats], Any]
    report: Callable[[Any], Stats]


@dataclass(frozen=True)
class Expandable(Randomized):
    """A `Randomized` world whose ranges may grow, with what their growth needs to know.

    With probability `boundary_fraction` an episode is lived at a boundary: one quantity, drawn uniformly, is
    at one end of its range, the others anywhere. Metrics, for each quantity and end: "at_low_<quantity>", 1
    once in an episode that is lived there, and "at_low_<quantity>_return", its rewards (those of the metric
    "performance", if the world reports it); likewise "at_high_...".

    All numbers are traced values of the params.

    Args:
      env: an environment, as for `Randomized`.
      variations: what varies, with the ranges to begin with.
      limits: `(low, high)` of each variation, beyond which its range never grows.
      threshold_low: a mean return below this narrows a range ...
      threshold_high: ... and one above this widens it.
      growth: by how much, as a share of the width of the limits (of their logarithms, where `log`).
      min_episodes: episodes at a boundary before it is judged.
      boundary_fraction: of episodes that are lived at a boundary.

    Raises:
      ValueError: as `Randomized`; or if the limits do not contain the ranges, or the numbers do not fit.

    >>> import envs
    >>> from envs.physics import Variation
    >>> env = Expandable(envs.make("Pendulum-v1")[0], (Variation("mass", 0.9, 1.1),), limits=((0.2, 3.0),))
    >>> env.default_params().values["limit_high"].tolist()
    [3.0]

    Source: OpenAI et al. (2019), https://arxiv.org/abs/1910.07113, algorithm 1.
    """

    limits: tuple[tuple[float, float], ...] = ()
    threshold_low: float = 0.0
    threshold_high: float = 0.0
    growth: float = 0.05
    min_episodes: float = 16.0
    boundary_fraction: float = 0.5

    own: ClassVar[tuple[str, ...]] = (
        *Randomized.own,
        "limit_low",
        "limit_high",
        "threshold_low",
        "threshold_high",
        "growth",
        "min_episodes",
        "boundary_fraction",
    )

    def __post_init__(self):
        object.__setattr__(self, "variations", checked_variations(self.env, self.variations))
        object.__setattr__(self, "limits", _pairs(self.limits, [v.label for v in self.variations]))
        for name in self.own[4:]:
            as_number(f"`{name}`", getattr(self, name))
        for variation, (low, high) in zip(self.variations, self.limits, strict=True):
            variation.check(low, high)
            if not low <= variation.low <= variation.high <= high:
                raise ValueError(
                    f"`limits` of {variation.label!r} must contain its range [{variation.low}, "
                    f"{variation.high}], got [{low}, {high}]"
                )
        super().__post_init__()
        self.check_limits(self.default_params())

    @property
    def limit_low(self) -> tuple[float, ...]:
        """The lower limits."""
        return tuple(low for low, _ in self.limits)

    @property
    def limit_high(self) -> tuple[float, ...]:
        """The upper limits."""
        return tuple(high for _, high in self.limits)

    def check(self, params: WrappedParams) -> None:
        """Check the names, the ranges and the numbers of `params`; traced ones pass.

        Raises:
          ValueError: naming the quantity or the number, and what would be accepted.
        """
        super().check(params)
        _check_number(params, "threshold_low", lambda x, high: x <= high, "at most", "threshold_high")
        _check_number(params, "growth", lambda x: (x > 0) & (x <= 1), "greater than 0 and at most 1")
        _check_number(params, "min_episodes", lambda x: x >= 1, "at least 1")
        _check_number(params, "boundary_fraction", lambda x: (x >= 0) & (x <= 1), "from 0 to 1")

    def check_limits(self, params: WrappedParams) -> None:
        """Check that the limits of `params` contain its ranges, and keep a mass a mass; traced ones pass.

        A curriculum asks for it; an evaluation may be in ranges beyond the limits.

        Raises:
          ValueError: naming the limit or the quantity, and what would be accepted.
        """
        values = params.values
        for end, is_good, rule in (("low", np.less_equal, "at most"), ("high", np.greater_equal, "at least")):
            if (got := np.shape(values[f"limit_{end}"])) != (shape := np.shape(values[end])):
                raise ValueError(
                    f"`limit_{end}` must have the shape of `{end}`, {list(shape)}, got {list(got)}"
                )
            _check_number(params, f"limit_{end}", is_good, rule, end)
        limits = {"low": values["limit_low"], "high": values["limit_high"]}
        self.check(replace(params, values=values | limits))

    def draw(self, key: jax.Array, params: WrappedParams) -> "DrawnAtBoundary":
        """Return a robot drawn from the ranges of `params` or from one of their boundaries."""
        key, key_is, key_which = jax.random.split(key, 3)
        inside = super().draw(key, params).values
        size = len(self.variations)
        which = jax.random.randint(key_which, (), 0, 2 * size)
        is_boundary = jax.random.uniform(key_is) < params.values["boundary_fraction"]
        ends = jnp.concatenate([params.values["low"], params.values["high"]])
        at = is_boundary & (jnp.arange(size) == which % size)
        values = jnp.where(at, ends[which], inside)
        return DrawnAtBoundary(values, jnp.where(is_boundary, which, -1), jnp.bool_(True))

    def step(
        self, key: jax.Array, state: WrappedState, action: Any, params: WrappedParams
    ) -> tuple[WrappedState, Step]:
        """Return the robot's next state and what happened."""
        inner, step = self.env.step(key, state.env, action, self.robot(state, params))
        kept = state.kept
        reward = step.metrics.get("performance", step.reward)
        metrics = {}
        for i, name in enumerate(boundary_names(v.label for v in self.variations)):
            here = (kept.boundary == i).astype(jnp.float32)
            metrics[name] = here * kept.is_first
            metrics[f"{name}_return"] = here * reward
        kept = kept.replace(is_first=jnp.bool_(False))
        return WrappedState(inner, kept), step.replace(metrics=step.metrics | metrics)


@struct.dataclass
class DrawnAtBoundary(Drawn):
    """A robot, the boundary it lies at (`[]` int32, -1 for none), and whether its episode just began."""

    boundary: jax.Array
    is_first: jax.Array


def boundary_names(labels: Any) -> list[str]:
    """Return the names of the metrics of the 2 D boundaries: all lower ends, then all upper ones.

    >>> boundary_names(["mass"])
    ['at_low_mass', 'at_high_mass']
    """
    labels = list(labels)
    return [f"at_{side}_{label}" for side in ("low", "high") for label in labels]


def _pairs(limits: Any, labels: list[str]) -> tuple[tuple[float, float], ...]:
    try:
        pairs = [tuple(pair) for pair in limits]
    except TypeError:
        pairs = []
    if isinstance(limits, Mapping) or len(pairs) != len(labels) or any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            f"`limits` must hold one pair a variation, {len(labels)}, (low, high) of each of "
            f"{', '.join(labels)} in turn, got {limits!r}"
        )
    named = zip(labels, pairs, strict=True)
    return tuple(
        (as_number(f"`limits` of {label!r}", low), as_number(f"`limits` of {label!r}", high))
        for label, (low, high) in named
    )


def _check_number(
    params: WrappedParams, name: str, is_good: Callable[..., Any], rule: str, other: str | None = None
) -> None:
    """Check a number of `params`, compared with an `other` of them or alone, unless one is traced."""
    values = [params.values[name]] + ([] if other is None else [params.values[other]])
    if any(isinstance(x, Tracer) for x in values):
        return
    values = np.broadcast_arrays(*(np.asarray(x) for x in values))
    wrong = ~np.asarray(is_good(*values))
    if wrong.any():
        got, *than = (x[wrong][0] for x in values)
        rule += "".join(f" {other} = {x}" for x in than)
        raise ValueError(f"`{name}` must be {rule}, got {got}")


# Automatic domain randomization -------------------------------------------------------------------------


@struct.dataclass
class AdrState:
    """Ranges that grow, and how the robots at their ends did since they were judged last.

    Attributes:
      low, high: `[D]` the ranges.
      returns: `[2 D]` sum of the returns at each boundary, lower ends first.
      episodes: `[2 D]` how many there were.
      values: the numbers of `Expandable`, with the first ranges as "low" and "high".
      labels: the quantities' labels, and which of them grow by factors.
    """

    low: jax.Array
    high: jax.Array
    returns: jax.Array
    episodes: jax.Array
    values: dict[str, jax.Array]
    labels: tuple[str, ...] = struct.field(pytree_node=False)
    log: tuple[bool, ...] = struct.field(pytree_node=False)


def _adr_init(env: Environment, params: WrappedParams) -> AdrState:
    variations = _expandable(env, params).variations
    zeros = jnp.zeros(2 * len(variations), jnp.float32)
    return AdrState(
        low=params.values["low"],
        high=params.values["high"],
        returns=zeros,
        episodes=zeros,
        values=params.values,
        labels=tuple(variation.label for variation in variations),
        log=tuple(variation.log for variation in variations),
    )


def _adr_apply(state: AdrState, params: WrappedParams) -> WrappedParams:
    return replace(params, values=params.values | {"low": state.low, "high": state.high})


def _adr_update(state: AdrState, stats: Stats) -> AdrState:
    """Judge the boundaries that enough episodes were lived at.

    mean return > threshold_high:  the range grows there by delta, up to its limit
    mean return < threshold_low:   it shrinks by delta, down to where it began
    """
    names, values, size = boundary_names(state.labels), state.values, len(state.labels)
    ended = stats["episodes"] > 0

    def total(name):
        return jnp.where(ended, stats["episodes"] * stats[f"episode_{name}"], 0.0)

    episodes = state.episodes + jnp.stack([total(name) for name in names])
    returns = state.returns + jnp.stack([total(f"{name}_return") for name in names])
    # A boundary's episodes are counts that came as means: half an episode is rounding.
    judged = episodes > values["min_episodes"] - 0.5
    mean = returns / jnp.maximum(episodes, 1.0)
    grows, shrinks = judged & (mean > values["threshold_high"]), judged & (mean < values["threshold_low"])
    move = grows.astype(jnp.float32) - shrinks.astype(jnp.float32)
    log = np.array(state.log)

    def scale(x):
        return jnp.where(log, jnp.log(jnp.where(log, x, 1.0)), x)

    def unscale(x):
        return jnp.where(log, jnp.exp(jnp.where(log, x, 0.0)), x)

    delta = values["growth"] * (scale(values["limit_high"]) - scale(values["limit_low"]))
    # Traced ranges may begin beyond their limits; then they stay.
    least = jnp.minimum(values["limit_low"], values["low"])
    most = jnp.maximum(values["limit_high"], values["high"])
    low = jnp.clip(unscale(scale(state.low) - move[:size] * delta), least, values["low"])
    high = jnp.clip(unscale(scale(state.high) + move[size:] * delta), values["high"], most)
    return replace(
        state,
        low=jnp.where(move[:size] == 0, state.low, low),
        high=jnp.where(move[size:] == 0, state.high, high),
        returns=jnp.where(judged, 0.0, returns),
        episodes=jnp.where(judged, 0.0, episodes),
    )


def _adr_report(state: AdrState) -> Stats:
    ends = [("range_low", state.low), ("range_high", state.high)]
    named = {f"{end}_{label}": x[i] for end, x in ends for i, label in enumerate(state.labels)}
    return named | {"range_entropy": range_entropy(state.low, state.high)}


def range_entropy(low: jax.Array, high: jax.Array) -> jax.Array:
    """Return the entropy of uniform ranges `[D]` in nats a dimension: mean(log(high - low)).

    Widths below 1e-3 count as 1e-3.

    Source: OpenAI et al. (2019), https://arxiv.org/abs/1910.07113, section 5.2.
    """
    return jnp.mean(jnp.log(jnp.maximum(high - low, 1e-3)))


ADR = Curriculum(_adr_init, _adr_apply, _adr_update, _adr_report)


# One level for all --------------------------------------------------------------------------------------


@struct.dataclass
class LevelState:
    """How far the ranges are on their way from the first ones to the limits.

    Attributes:
      level: `[]` from 0, the first ranges, to 1, the limits.
      returns: `[]` sum of the returns since the level was judged last.
      episodes: `[]` how many there were.
      values: the numbers of `Expandable`.
    """

    level: jax.Array
    returns: jax.Array
    episodes: jax.Array
    values: dict[str, jax.Array]


def _level_init(env: Environment, params: WrappedParams) -> LevelState:
    _expandable(env, params)
    zero = jnp.zeros((), jnp.float32)
    return LevelState(zero, zero, zero, params.values)


def _level_apply(state: LevelState, params: WrappedParams) -> WrappedParams:
    values = state.values
    low = values["low"] + state.level * (values["limit_low"] - values["low"])
    high = values["high"] + state.level * (values["limit_high"] - values["high"])
    return replace(params, values=params.values | {"low": low, "high": high})


def _level_update(state: LevelState, stats: Stats) -> LevelState:
    values, ended = state.values, stats["episodes"] > 0
    episodes = state.episodes + stats["episodes"]
    name = "episode_performance" if "episode_performance" in stats else "episode_return"
    returns = state.returns + jnp.where(ended, stats["episodes"] * stats[name], 0.0)
    judged, mean = episodes >= values["min_episodes"], returns / jnp.maximum(episodes, 1.0)
    grows, shrinks = judged & (mean > values["threshold_high"]), judged & (mean < values["threshold_low"])
    move = values["growth"] * (grows.astype(jnp.float32) - shrinks.astype(jnp.float32))
    return replace(
        state,
        level=jnp.clip(state.level + move, 0.0, 1.0),
        returns=jnp.where(judged, 0.0, returns),
        episodes=jnp.where(judged, 0.0, episodes),
    )


def _level_report(state: LevelState) -> Stats:
    return {"level": state.level}


LEVEL = Curriculum(_level_init, _level_apply, _level_update, _level_report)


def _expandable(env: Environment, params: WrappedParams) -> Expandable:
    if not isinstance(env, Expandable):
        raise ValueError(
            f"`env` must be an envs.physics.Expandable, whose ranges have limits, got {env.id!r}"
        )
    env.check_limits(params)
    env.check(params)
    return env
