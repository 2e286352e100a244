"""What the ranges of a `Randomized` must keep: entries named once, sound quantities and robots.

Everything here runs before a compile, on concrete numbers. `where` has the paths of each variation, as
`envs.physics.fields` finds them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.checks import check_params
from envs.core import Params
from envs.physics import fields
from envs.physics.variation import Variation

# Quantities without which there is no physics: they stay greater than 0, where others may vanish.
_POSITIVE = ("mass", "length", "inertia", "time_step", "timestep")
# Quantities that are at least 0, also where the nominal value is 0 and shows no sign.
_NOT_NEGATIVE = ("friction", "damping", "armature", "stiffness")


def check_entries(variations: Sequence[Variation], where: Sequence[tuple[str, ...]], params: Params) -> None:
    """Check that the entries of each quantity are there, and not twice under two names or indices.

    Raises:
      ValueError: naming the variation.
    """
    seen: dict[Any, Variation] = {}
    for variation, places in zip(variations, where, strict=True):
        shape = jnp.shape(fields.read(params, places[0]))
        variation.check_select(places[0], shape)
        chosen = None if variation.select is None else frozenset(i % shape[0] for i in variation.select)
        other = seen.setdefault((fields.canonical(params, places), chosen), variation)
        if other is not variation:
            raise ValueError(
                f"`variations` must name each quantity once, got {other.label} and {variation.label}, "
                "the same"
            )


def check_ranges(
    env: Any,
    variations: Sequence[Variation],
    where: Sequence[tuple[str, ...]],
    params: Params,
    low: np.ndarray,
    high: np.ndarray,
) -> None:
    """Check ranges `[..., D]` of the variations of `env`.

    Raises:
      ValueError: naming the quantity, its range, and what would be accepted.
    """
    for i, (variation, places) in enumerate(zip(variations, where, strict=True)):
        ends = np.ravel(low[..., i]), np.ravel(high[..., i])
        wrong = ~(ends[0] <= ends[1])  # true for NaN, too
        at = int(np.argmax(wrong) if wrong.any() else np.argmin(ends[0]))
        variation.check(float(ends[0][at]), float(ends[1][at]))
        variation.check(float(ends[0].min()), float(ends[1].max()))
        _check_bounds(env, variation, places, params, "low", ends[0].min())
        _check_bounds(env, variation, places, params, "high", ends[1].max())
    size = len(variations)
    lowest, highest = low.reshape(-1, size).min(axis=0), high.reshape(-1, size).max(axis=0)
    if hasattr(env, "check_params"):
        _check_robots(env, variations, where, params, lowest, highest)


def applied(
    variations: Sequence[Variation], where: Sequence[tuple[str, ...]], params: Params, values: jax.Array
) -> Params:
    """Return `params` with the `values` `[D]` of the variations."""
    for i, (variation, places) in enumerate(zip(variations, where, strict=True)):
        params = variation.apply(params, places, values[i])
    return params


def _check_robots(
    env: Any,
    variations: Sequence[Variation],
    where: Sequence[tuple[str, ...]],
    params: Params,
    low: np.ndarray,
    high: np.ndarray,
) -> None:
    """Ask `env` whether it accepts the robots at both ends `[D]` of the ranges."""
    nominal, size = _refusal(env, params), len(variations)
    places = [{path.partition(":")[0] for path in paths} for paths in where]
    alone = [(i, end, values[i]) for end, values in (("low", low), ("high", high)) for i in range(size)]

    def refused(robot: Params) -> str | None:
        # What is wrong without any variation, is not the variations' fault.
        return None if (message := _refusal(env, robot)) == nominal else message

    def check_alone(chosen: Callable[[int], bool]) -> None:
        for i, end, value in alone:
            variation = variations[i]
            if not chosen(i):
                continue
            with jax.ensure_compile_time_eval():
                robot = variation.apply(params, where[i], jnp.float32(value))
            if (message := refused(robot)) is not None:
                raise ValueError(
                    f"`{end}` of {variation.label!r} must make a robot that {env.id} accepts, but "
                    f"{value:.6g} ({variation.how}) does not: {message}"
                )

    # Fields that several variations change may be right where all are at an end, and wrong where one is.
    shared = [i for i in range(size) if any(places[i] & places[j] for j in range(size) if j != i)]
    check_alone(lambda i: i in shared)
    for end, values in (("low", low), ("high", high)):
        with jax.ensure_compile_time_eval():
            robot = applied(variations, where, params, jnp.asarray(values))
        if (message := refused(robot)) is not None:
            check_alone(lambda i: True)
            blamed = shared or range(size)
            labels = ", ".join(repr(variations[i].label) for i in blamed)
            raise ValueError(
                f"`{end}` of {labels} must together make a robot that {env.id} accepts, but "
                f"{', '.join(f'{values[i]:.6g}' for i in blamed)} do not: {message}"
            )


def _check_bounds(
    env: Any, variation: Variation, where: tuple[str, ...], params: Params, end: str, value: float
) -> None:
    nominal, field = np.asarray(fields.read(params, where[0])), where[0].rpartition(".")[2]
    with jax.ensure_compile_time_eval():
        changed = variation.apply(params, where, jnp.float32(value))
        new = np.asarray(fields.read(changed, where[0]))
    least, most = fields.bounds(env, variation.name)
    strict = any(word in field for word in _POSITIVE)
    signed = (nominal > 0) | ((nominal == 0) & any(word in field for word in _NOT_NEGATIVE))
    outside = (new < least) | (new > most)
    bad = outside | (signed & (new <= 0 if strict else new < 0))
    if bad.any():
        # A nominal value of 0 shows no sign, and where the world has a rule, that holds and not a name's.
        has_rule = hasattr(fields.core(env), "check_params") and not (nominal[bad] > 0).any()
        if has_rule and not outside.any() and _refusal(env, changed) is None:
            return
        rule = "greater than 0" if strict else "at least 0"
        rule = rule if most == math.inf else f"from {least:g} to {most:g}"
        raise ValueError(
            f"`{end}` of {variation.label!r} must keep {where[0]} {rule}, but {value:.6g} "
            f"({variation.how}) makes it {float(new[bad][0]):.6g}"
        )


def _refusal(env: Any, params: Params) -> str | None:
    """Return why `env` refuses `params`, or None if it accepts them or has no opinion."""
    try:
        with jax.ensure_compile_time_eval():
            check_params(env, params)
    except ValueError as error:
        return str(error)
    return None
