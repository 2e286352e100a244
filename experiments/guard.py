"""What went wrong in a run, by seed: values not finite, values exploded, simulations that diverged."""

from collections.abc import Callable, Mapping

import numpy as np

from experiments.spec import RunSpec, show

# Action values this many times as large as any return, and as 1, have exploded: a discounted return is hardly
# ever larger than the largest undiscounted one.
FACTOR = 100.0
NAMED = 2


def describe_divergence(
    spec: RunSpec, finite: np.ndarray, steps: np.ndarray, metrics: Mapping[str, np.ndarray] | None = None
) -> tuple[str, ...]:
    """Return a line for each configuration that has seeds with values that are not finite.

    Each seed is named with the first log point, and the metrics that were not finite there ("parameters" if
    all metrics still were).

    Args:
      spec: whose grid and seeds name the cells.
      finite: `[C * S, P]` bool.
      steps: `[P]` environment steps at each log point.
      metrics: by name, `[C * S, P]`; those named `episode_*` do not count. None names no metric.

    >>> spec = RunSpec("ppo", "CartPole-v1", 10, seeds=(3, 5), grid={"learning_rate": (0.1, 9.0)})
    >>> finite = np.array([[True], [True], [True], [False]])
    >>> describe_divergence(spec, finite, np.array([10]))
    ('learning_rate=9: seed 5 (by step 10)',)
    >>> describe_divergence(spec, finite, np.array([10]), {"loss": np.array([[1.0], [1.0], [1.0], [np.nan]])})
    ('learning_rate=9: seed 5 (by step 10: loss)',)
    """

    def describe(cell: int) -> str | None:
        if finite[cell].all():
            return None
        at = int(np.argmin(finite[cell]))
        return f"(by step {steps[at]:,}{_culprits(metrics, cell, at)})"

    return _lines(spec, describe)


def describe_explosions(
    spec: RunSpec, q_max: np.ndarray, returns: np.ndarray, steps: np.ndarray
) -> tuple[str, ...]:
    """Return a line for each configuration that has seeds whose action values are beyond all returns.

    Each seed is named with the first log point at which `|q_max| > 100 max(1, |returns|)`.

    Args:
      spec: whose grid and seeds name the cells.
      q_max: `[C * S, P]`, the largest action value at each log point.
      returns: `[C * S, ...]`, all returns there were; NaN does not count.
      steps: `[P]` environment steps at each log point.

    >>> spec = RunSpec("dqn", "CartPole-v1", 20, seeds=(3, 5))
    >>> describe_explosions(spec, np.array([[9, 9], [9, 1e6]]), np.array([[9], [12]]), np.array([10, 20]))
    ('the configuration: seed 5 (q_max 1e+06 by step 20, no return beyond 12)',)
    """
    largest = np.nanmax(np.abs(returns), initial=0.0, where=np.isfinite(returns))
    exploded = np.abs(q_max) > FACTOR * max(1.0, largest)

    def describe(cell: int) -> str | None:
        if not exploded[cell].any():
            return None
        at = int(np.argmax(exploded[cell]))
        return f"(q_max {q_max[cell, at]:.3g} by step {steps[at]:,}, no return beyond {largest:.3g})"

    return _lines(spec, describe)


def describe_contained(
    spec: RunSpec, episodes: np.ndarray, share: np.ndarray, steps: np.ndarray
) -> tuple[str, ...]:
    """Return a line for each configuration that has seeds with episodes in which the simulation diverged.

    Such an episode was truncated where it was last sound, so that the seed goes on.

    Args:
      spec: whose grid and seeds name the cells.
      episodes: `[C * S, P]`, how many ended up to each log point since the last.
      share: `[C * S, P]`, which share of them diverged; NaN where none ended.
      steps: `[P]` environment steps at each log point.

    >>> spec = RunSpec("ppo", "PointRobot-v1", 20, seeds=(3, 5))
    >>> counts, share = np.array([[4.0, 4.0], [0.0, 4.0]]), np.array([[0.0, 0.0], [np.nan, 0.5]])
    >>> describe_contained(spec, counts, share, np.array([10, 20]))
    ('the configuration: seed 5 (2 of 4 episodes, from step 20)',)
    """
    lost = np.where(np.isfinite(share), share, 0.0) * episodes

    def describe(cell: int) -> str | None:
        if not lost[cell].any():
            return None
        at = int(np.argmax(lost[cell] > 0))
        return f"({lost[cell].sum():,.0f} of {episodes[cell].sum():,.0f} episodes, from step {steps[at]:,})"

    return _lines(spec, describe)


def _culprits(metrics: Mapping[str, np.ndarray] | None, cell: int, at: int) -> str:
    if metrics is None:
        return ""
    names = [
        name
        for name, values in metrics.items()
        if not name.startswith("episode_") and not np.isfinite(values[cell, at])
    ]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f": {', '.join(names[:NAMED]) or 'parameters'}{more}"


def _lines(spec: RunSpec, describe: Callable[[int], str | None]) -> tuple[str, ...]:
    """Return a line for each configuration with seeds of which there is something to say."""
    lines = []
    for row, configuration in enumerate(spec.configurations()):
        found = [
            f"{seed} {said}"
            for column, seed in enumerate(spec.seeds)
            if (said := describe(row * len(spec.seeds) + column)) is not None
        ]
        if found:
            label = ", ".join(f"{name}={show(value)}" for name, value in configuration.items())
            lines.append(f"{label or 'the configuration'}: seed{'s' * (len(found) > 1)} {', '.join(found)}")
    return tuple(lines)
