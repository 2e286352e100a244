"""Schedules: pure functions of the counter that all seeds share.

Each factory returns `count -> value`, float32. Its numbers may be traced, so a sweep over them is a
`vmap` and changing them compiles nothing; `make` picks a factory by name. Every schedule starts at
`start` for count 0, is at `end` from count `steps` on (`harmonic` falls further), and accepts counts
of any shape.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from envs.core import unknown

Scalar = float | jax.Array
Schedule = Callable[[Scalar], jax.Array]


def constant(value: Scalar) -> Schedule:
    """Return the schedule that is `value` for ever.

    >>> float(constant(0.5)(10))
    0.5
    """
    return lambda count: jnp.broadcast_to(jnp.asarray(value, jnp.float32), jnp.shape(count))


def linear(start: Scalar, end: Scalar, steps: Scalar) -> Schedule:
    """Return the schedule `start + (end - start) * min(count / steps, 1)`.

    Raises:
      ValueError: if `steps` is not positive.

    >>> [float(linear(1.0, 0.0, 10)(count)) for count in (0, 5, 20)]
    [1.0, 0.5, 0.0]
    """
    _check(steps=steps)
    return lambda count: start + (end - start) * _fraction(count, steps)


def exponential(start: Scalar, end: Scalar, steps: Scalar) -> Schedule:
    """Return the schedule `start * (end / start) ** min(count / steps, 1)`: a constant factor a step.

    Raises:
      ValueError: if `start`, `end` or `steps` is not positive.

    >>> [round(float(exponential(1.0, 0.01, 10)(count)), 4) for count in (0, 5, 20)]
    [1.0, 0.1, 0.01]
    """
    _check(start=start, end=end, steps=steps)
    return lambda count: start * (end / start) ** _fraction(count, steps)


def cosine(start: Scalar, end: Scalar, steps: Scalar) -> Schedule:
    """Return the schedule `end + (start - end) * (1 + cos(pi * min(count / steps, 1))) / 2`.

    Raises:
      ValueError: if `steps` is not positive.

    >>> [round(float(cosine(1.0, 0.0, 10)(count)), 4) for count in (0, 5, 20)]
    [1.0, 0.5, 0.0]

    Source: Loshchilov and Hutter (2017), "SGDR", https://arxiv.org/abs/1608.03983, equation 5.
    """
    _check(steps=steps)
    return lambda count: end + (start - end) * 0.5 * (1.0 + jnp.cos(jnp.pi * _fraction(count, steps)))


def harmonic(start: Scalar, end: Scalar, steps: Scalar) -> Schedule:
    """Return the schedule `start / (1 + (start / end - 1) * count / steps)`; it falls on after `steps`.

    It is `end` at `steps` and falls like 1 / count in the long run: its sum diverges and that of its squares
    does not, which is what stochastic approximation asks of a step size.

    Raises:
      ValueError: if `start`, `end` or `steps` is not positive, or `end` is above `start`.

    >>> [round(float(harmonic(1.0, 0.1, 9)(count)), 4) for count in (0, 1, 9, 99)]
    [1.0, 0.5, 0.1, 0.01]

    Source: Robbins and Monro (1951), "A Stochastic Approximation Method", conditions on the step size.
    """
    _check(start=start, end=end, steps=steps)
    check("harmonic", start=start, end=end)
    return lambda count: start / (1.0 + (start / end - 1.0) * jnp.asarray(count, jnp.float32) / steps)


def with_restarts(schedule: Schedule, period: Scalar, factor: Scalar = 1.0) -> Schedule:
    """Return `schedule` begun anew after `period` counts, then after `factor` times as many each time.

    Args:
      schedule: made for `steps = period`; in later rounds it is stretched.
      period: counts of the first round.
      factor: by which each round is longer than the one before.

    Raises:
      ValueError: if `period` is not positive or `factor` below 1.

    >>> warm = with_restarts(linear(1.0, 0.0, 4), period=4, factor=2)
    >>> [float(warm(count)) for count in (0, 2, 4, 8, 12)]
    [1.0, 0.5, 1.0, 0.5, 1.0]

    Source: Loshchilov and Hutter (2017), "SGDR", https://arxiv.org/abs/1608.03983, section 3.
    """
    _check(period=period)
    if not isinstance(factor, Tracer) and not np.all(np.asarray(factor) >= 1):
        raise ValueError(f"`factor` must be at least 1, got {factor}")

    def restarted(count):
        rounds = jnp.asarray(count, jnp.float32) / period
        growth = jnp.asarray(factor, jnp.float32)
        equal = growth == 1.0
        safe = jnp.where(equal, 2.0, growth)

        def begin(index):
            return jnp.where(equal, index, (safe**index - 1.0) / (safe - 1.0))

        index = jnp.floor(jnp.where(equal, rounds, jnp.log1p(rounds * (safe - 1.0)) / jnp.log(safe)))
        # The logarithm may fall on either side of a round's first count.
        index = jnp.where(rounds >= begin(index + 1.0), index + 1.0, index)
        index = jnp.where(rounds < begin(index), index - 1.0, index)
        return schedule((rounds - begin(index)) * period / growth**index)

    return restarted


_KINDS = {"linear": linear, "exponential": exponential, "cosine": cosine, "harmonic": harmonic}
KINDS = ("constant", *_KINDS)


def make(kind: str, start: Scalar, end: Scalar, steps: Scalar) -> Schedule:
    """Return the schedule called `kind`, one of `KINDS`; a "constant" one stays at `start`.

    Raises:
      ValueError: for an unknown kind (the closest is named), or numbers that this kind does not take.

    >>> float(make("cosine", 1.0, 0.0, 10)(10))
    0.0
    """
    if kind == "constant":
        return constant(start)
    if kind not in _KINDS:
        raise ValueError(unknown("schedule", kind, list(KINDS)))
    return _KINDS[kind](start, end, steps)


def check(kind: str, **numbers: Scalar) -> None:
    """Check a `Config`'s first and last value of a schedule, by their fields' names; tracers pass.

    Raises:
      ValueError: naming the field, the value, and what would be accepted.

    >>> check("exponential", epsilon_start=1.0, epsilon_end=0.0)
    Traceback (most recent call last):
    ...
    ValueError: `epsilon_end` must be greater than 0 with a schedule that is exponential, got 0.0
    """
    if kind not in ("exponential", "harmonic") or any(isinstance(x, Tracer) for x in numbers.values()):
        return
    for name, value in numbers.items():
        if not np.all(np.asarray(value) > 0):
            raise ValueError(
                f"`{name}` must be greater than 0 with a schedule that is {kind}, got {np.min(value)}"
            )
    (first, start), (last, end) = numbers.items()
    if kind == "harmonic" and not np.all(np.asarray(end) <= np.asarray(start)):
        raise ValueError(f"`{last}` must be at most `{first}` with a schedule that is harmonic, got {end}")


def _fraction(count: Scalar, steps: Scalar) -> jax.Array:
    return jnp.clip(jnp.asarray(count, jnp.float32) / steps, 0.0, 1.0)


def _check(**positive: Scalar) -> None:
    for name, value in positive.items():
        if not isinstance(value, Tracer) and not np.all(np.asarray(value) > 0):
            raise ValueError(f"`{name}` must be greater than 0, got {value}")
