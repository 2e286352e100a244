"""Runs as a table: a mean with its interval, seeds, steps and seconds; Markdown, a terminal, or pandas."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.results import Result
from jaxrl import stats

_RETURN = "return: IQM [95 %]"
HEADER: tuple[str, ...] = (
    "algorithm",
    "environment",
    "configuration",
    _RETURN,
    "seeds",
    "steps",
    "run",
    "compile",
    "id",
)
# Columns that a run's rows never share in print, and those whose value does not say what it is.
_NAMED = ("seeds", "steps", "run", "compile", "id")
_RIGHT = (False, False, False, True, True, True, True, True, False)


@dataclass(frozen=True)
class Row:
    """One configuration of one run.

    Attributes:
      algorithm, env, configuration: what was run.
      interval: over the seeds, of what `measure` says; None if all have diverged.
      num_seeds: how many seeds were run, of which `num_diverged` are left out of `interval`.
      steps: environment steps of each seed.
      run_seconds, compile_seconds: of the whole run, which all its configurations share.
      id: the beginning of the run's hash.
      status: "finished", "diverged", "interrupted" or "running".
      measure: what was averaged and how: the return of the last evaluation, or a training metric.
    """

    algorithm: str
    env: str
    configuration: str
    interval: stats.Interval | None
    num_seeds: int
    num_diverged: int
    steps: int
    run_seconds: float
    compile_seconds: float
    id: str
    status: str
    measure: str = _RETURN

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of `HEADER`."""
        seeds = (
            f"{self.num_seeds - self.num_diverged} of {self.num_seeds}"
            if self.num_diverged
            else self.num_seeds
        )
        marks = "*" if self.status in ("running", "interrupted") else ""
        return (
            self.algorithm,
            self.env,
            self.configuration,
            show_interval(self.interval),
            str(seeds),
            f"{self.steps:,}{marks}",
            f"{self.run_seconds:.1f} s",
            f"{self.compile_seconds:.1f} s",
            self.id,
        )


def rows(results: Sequence[Result], metric: str | None = None, total: bool = False) -> list[Row]:
    """Return a row for each configuration of each run, in the order given.

    Args:
      results: the runs.
      metric: a training metric to show at its last log point, by its mean over the seeds; by default the
        interquartile mean of the last evaluation's return.
      total: sum the metric over the steps up to there.

    Raises:
      StoreError: if a run has no such metric.
    """
    return [
        _row(result, index, metric, total)
        for result in results
        for index in range(len(result.spec.configurations()))
    ]


def markdown(table: Sequence[Row]) -> str:
    """Return the rows as a Markdown table with aligned columns, and the notes that they need."""
    header = _header(table)
    lines = [header, *(row.cells for row in table)]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(header))]

    def text(cells: Sequence[str]) -> str:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, _RIGHT, strict=True))
        return "| " + " | ".join(padded) + " |"

    rule = (
        "|" + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(widths, _RIGHT, strict=True)) + "|"
    )
    return (
        "\n".join([text(header), rule, *map(text, lines[1:]), *(f"\n{note}" for note in notes(table))]) + "\n"
    )


def for_terminal(table: Sequence[Row]) -> Any:
    """Return what `rich` prints of the rows: a table a run, under a line that says what its rows share."""
    from rich.console import Group
    from rich.text import Text

    runs = [[row for row in table if row.id == id] for id in dict.fromkeys(row.id for row in table)]
    return Group(*(part for run in runs for part in _run_for_terminal(run)), *map(Text, notes(table)))


def _run_for_terminal(table: Sequence[Row]) -> tuple[Any, Any]:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    header = _header(table)
    lines = [dict(zip(header, row.cells, strict=True)) for row in table]
    own = ("configuration", table[0].measure)
    shared = [name for name in header if name not in own and len({line[name] for line in lines}) == 1]
    said = [f"{name} {lines[0][name]}" if name in _NAMED else lines[0][name] for name in shared]
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    kept = [name for name in header if name not in shared and any(line[name] for line in lines)]
    for name in kept:
        right = _RIGHT[header.index(name)]
        drawn.add_column(name, justify="right" if right else "left", overflow="fold")
    for line in lines:
        drawn.add_row(*(line[name] for name in kept))
    return Text(" · ".join(said), style="bold"), drawn


def notes(table: Sequence[Row]) -> list[str]:
    """Return what a reader must know to read the marks in the rows."""
    found = []
    if any(row.interval is not None and row.interval.warning for row in table):
        found.append(f"† fewer than {stats.MIN_RUNS} seeds: the interval is too narrow.")
    if any(row.num_diverged for row in table):
        found.append("Diverged seeds (values that are not finite) are left out of the mean.")
    if any(row.status in ("running", "interrupted") for row in table):
        found.append("* not finished yet.")
    return found


def show_interval(interval: stats.Interval | None) -> str:
    """Return "IQM [low, high]" with as many decimals as the interval's width deserves.

    >>> show_interval(stats.Interval(491.234, 480.1, 499.9, 0.95, 30, "bootstrap"))
    '491.2 [480.1, 499.9]'
    """
    if interval is None:
        return "diverged"
    mark = "†" if interval.warning else ""
    if not np.isfinite(interval.low):
        return f"{interval.estimate:.4g}{mark}"
    scale = max(abs(interval.estimate), interval.high - interval.low) or 1.0
    decimals = int(np.clip(3 - np.floor(np.log10(scale)) - 1 + (scale >= 100), 0, 6))
    return (
        f"{interval.estimate:.{decimals}f} [{interval.low:.{decimals}f}, {interval.high:.{decimals}f}]{mark}"
    )


def frame(results: Sequence[Result]) -> Any:
    """Return every seed's learning curve as one long `pandas.DataFrame`, a row for each evaluation.

    Columns: algorithm, env, the swept hyperparameters, seed, steps, episode_return, episode_length, id.
    """
    import pandas as pd

    parts = []
    for result in results:
        lengths = result.arrays["episode_length"].mean(axis=-1)
        for c, configuration in enumerate(result.spec.configurations()):
            for s, seed in enumerate(result.spec.seeds):
                columns = {
                    "algorithm": result.spec.algorithm,
                    "env": result.spec.env,
                    **configuration,
                    "seed": seed,
                }
                columns |= {"steps": result.steps, "episode_return": result.returns[c, s]}
                parts.append(
                    pd.DataFrame(columns | {"episode_length": lengths[c, s], "id": result.spec.hash()})
                )
    return pd.concat(parts, ignore_index=True)


def _header(table: Sequence[Row]) -> tuple[str, ...]:
    return tuple(table[0].measure if name == _RETURN else name for name in HEADER) if table else HEADER


def _row(result: Result, index: int, metric: str | None, total: bool) -> Row:
    final, average, measure = result.final_returns[index], stats.stratified_bootstrap, _RETURN
    if metric is not None:
        final = np.where(result.finite[index], result.metric(metric, total)[index, :, -1], np.nan)
        average, measure = stats.mean_interval, f"{'total ' if total else ''}{metric}: mean [95 %]"
    finite = final[np.isfinite(final)]
    manifest = result.manifest
    return Row(
        algorithm=result.spec.algorithm,
        env=result.spec.env,
        configuration="" if not result.spec.grid else result.label(index),
        interval=average(finite) if finite.size else None,
        num_seeds=len(final),
        num_diverged=len(final) - len(finite),
        steps=int(result.steps[-1]),
        run_seconds=manifest.get("run_seconds", 0.0),
        compile_seconds=manifest.get("trace_seconds", 0.0) + manifest.get("compile_seconds", 0.0),
        id=result.spec.hash()[:6],
        status=manifest["status"],
        measure=measure,
    )
