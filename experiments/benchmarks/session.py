"""Compute a table: run what the run store lacks, score it, and store each row as soon as it is done."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from experiments import results, runner
from experiments.benchmarks import report, score
from experiments.benchmarks.spec import Benchmark, Entry
from experiments.compare import _report
from experiments.progress import Progress

Say = Callable[[str], None]
# Sizes that only show that it works.
QUICK = {"total_steps": 20_480, "seeds": (0, 1), "evaluations": 2, "eval_episodes": 2, "log_points": None}


def run(
    benchmark: Benchmark,
    root: Path,
    *,
    only: Sequence[str] = (),
    output: Path = report.RESULTS,
    say: Say = print,
    progress: Callable[[], Progress] = lambda: Progress(None),
) -> tuple[list[score.Row], str]:
    """Run the rows of a table that are not finished in `root`, and return its rows and how it ended.

    An interrupted table goes on where it was: its runs are those of `experiments.runner.run`, which does not
    repeat what was done. Each row is written as soon as it is scored.

    Args:
      benchmark: the table.
      root: where runs are stored.
      only: see `Benchmark.select`; rows that are left out remain as they were.
      output: where results are written.
      say: takes each line of progress.
      progress: makes what shows how a run goes.

    Returns:
      `(rows, status)`, status "finished" or "interrupted".

    Raises:
      SpecError: if a row cannot be run; those before it have been.
      StoreError: if something cannot be written or trusted.
    """
    chosen = benchmark.select(only)
    for number, entry in enumerate(chosen, 1):
        say(f"{number} of {len(chosen)}: {entry.spec.algorithm} on {entry.spec.env}")
        outcome = runner.run(entry.spec, root, progress=progress())
        if outcome.status == runner.INTERRUPTED:
            return report.read(benchmark, output), outcome.status
        row = score.row(entry, results.load(outcome.path), benchmark.training_episodes)
        report.write(benchmark, [row], _report.machine(), output)
    return report.read(benchmark, output), runner.FINISHED


def quick(benchmark: Benchmark) -> Benchmark:
    """Return a table of the same rows at sizes that only show that it works, with nothing wanted."""

    def small(entry: Entry) -> Entry:
        return replace(entry, spec=replace(entry.spec, **QUICK), wanted=None)

    return replace(benchmark, entries=tuple(small(entry) for entry in benchmark.entries))
