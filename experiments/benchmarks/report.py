"""A table's results on disk: JSON that is tracked in git, and the Markdown table that is made of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.benchmarks.score import Row
from experiments.benchmarks.spec import FOLDER, Benchmark
from experiments.spec import show
from experiments.store import StoreError, make_folder, write_text
from experiments.tables import show_interval
from jaxrl import stats

RESULTS = FOLDER / "results"


def read(benchmark: Benchmark, folder: Path = RESULTS) -> list[Row]:
    """Return the stored rows of a table in its order; those of specs that it no longer has are left out.

    Raises:
      StoreError: if the file is damaged.
    """
    path = folder / f"{benchmark.name}.json"
    if not path.exists():
        return []
    try:
        rows = {row["id"]: row for row in json.loads(path.read_text())["rows"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error!r}); remove it to start over") from error
    ids = [entry.spec.hash() for entry in benchmark.entries]
    return [rows[id] for id in ids if id in rows]


def write(benchmark: Benchmark, rows: Sequence[Row], machine: dict[str, Any], folder: Path = RESULTS) -> None:
    """Write `<name>.json`, one line a row, and `<name>.md`; rows that are given replace stored ones.

    Args:
      benchmark: the table.
      rows: what was scored.
      machine: what it was run on.
      folder: where to; made if need be.

    Raises:
      StoreError: if the system refuses.
    """
    new = {row["id"]: row | {"machine": machine} for row in rows}
    stored = {row["id"]: row for row in read(benchmark, folder)} | new
    ordered = [stored[id] for entry in benchmark.entries if (id := entry.spec.hash()) in stored]
    lines = ",\n".join(json.dumps(row) for row in ordered)
    make_folder(folder)
    title = json.dumps(benchmark.title)
    write_text(folder / f"{benchmark.name}.json", f'{{"title": {title}, "rows": [\n{lines}\n]}}\n')
    write_text(folder / f"{benchmark.name}.md", markdown(benchmark, ordered))


def markdown(benchmark: Benchmark, rows: Sequence[Row]) -> str:
    """Return the table with its intervals, what stands beside it, and what a reader must know."""
    reference = benchmark.reference
    wanted = any(row["wanted"] is not None for row in rows)
    header = ["environment", "algorithm", "training: mean [95 %]", "training: IQM [95 %]"]
    header += ["evaluation: IQM [95 %]"]
    header += ([reference.title] if reference else []) + ["wanted", "met"] * wanted
    header += ["seeds", "steps", "run", "compile"]
    lines = [header, *(_cells(row, bool(reference), wanted) for row in sorted(rows, key=_order(rows)))]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(header))]

    def text(cells: Sequence[str]) -> str:
        padded = [
            c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + ("-" if i < 2 else ":") for i, w in enumerate(widths)) + "|"
    table = "\n".join([text(lines[0]), rule, *map(text, lines[1:])])
    return (
        "\n\n".join([f"# {benchmark.title}", table, "\n".join(f"- {n}" for n in _notes(benchmark, rows))])
        + "\n"
    )


def _cells(row: Row, has_reference: bool, has_wanted: bool) -> list[str]:
    figures = [show_interval(_interval(row[name])) for name in ("training", "training_iqm", "evaluation")]
    cells = [row["env"], row["algorithm"], *figures]
    if has_reference:
        cells.append("{:.2f} ± {:.2f}".format(*row["published"]) if row["published"] else "")
    if has_wanted:
        cells.append("" if row["wanted"] is None else f"{row['wanted']:g}")
        cells.append({None: "", "yes": "yes", "IQM": "IQM only", "no": "NO"}[row["met"]])
    alive = row["seeds"] - row["diverged"]
    cells.append(f"{alive} of {row['seeds']}" if row["diverged"] else str(alive))
    return [*cells, f"{row['steps']:,}", f"{row['run_seconds']:.0f} s", f"{row['compile_seconds']:.0f} s"]


def _notes(benchmark: Benchmark, rows: Sequence[Row]) -> list[str]:
    found = [
        f"Training: the return of the exploring policy over the last {benchmark.training_episodes} or more "
        "episodes of each seed. Evaluation: the greedy policy after the last step. Means over seeds have "
        "Student's t interval, interquartile means (IQM) a bootstrap interval.",
    ]
    if any(row["diverged"] for row in rows):
        found.append("Diverged seeds (values that are not finite) are left out of both.")
    if any(row["evaluation"] and row["evaluation"]["warning"] for row in rows):
        found.append(f"† fewer than {stats.MIN_RUNS} seeds: the interval is too narrow.")
    if benchmark.reference:
        found.append(
            f"{benchmark.reference.title}: {benchmark.reference.protocol}. {benchmark.reference.source}."
        )
    found.extend(benchmark.notes)
    for algorithm in dict.fromkeys(row["algorithm"] for row in rows):
        for config in _distinct(row["config"] for row in rows if row["algorithm"] == algorithm):
            values = ", ".join(f"{name} {show(_tuple(value))}" for name, value in config.items())
            found.append(f"`{algorithm}`: {values or 'the defaults'}.")
    found.extend(_machines(rows))
    missing = len(benchmark.entries) - len(rows)
    if missing:
        found.append(f"{missing} of {len(benchmark.entries)} rows have not been run yet.")
    return found


def _machines(rows: Sequence[Row]) -> list[str]:
    """Return a line for each kind of machine that rows were run on."""
    kinds: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        machine = row["machine"]
        kind = (row["devices"], machine["processor"], str(machine["cores"]))
        kinds.setdefault(kind, []).append(machine["load_average"][0])
    return [
        f"Seconds are of all seeds of a row in one program on {devices} ({processor}, {cores} cores "
        f"allowed), with a load of {min(loads):.1f} to {max(loads):.1f} when it was scored."
        for (devices, processor, cores), loads in kinds.items()
    ]


def _interval(figure: dict[str, Any] | None) -> stats.Interval | None:
    if figure is None:
        return None
    return stats.Interval(**figure)


def _order(rows: Sequence[Row]):
    """Return a key that puts rows of one environment together, in the order they first appear."""
    envs = list(dict.fromkeys(row["env"] for row in rows))
    return lambda row: envs.index(row["env"])


def _distinct(values) -> list[Any]:
    return [json.loads(text) for text in dict.fromkeys(json.dumps(value) for value in values)]


def _tuple(value: Any) -> Any:
    return (tuple(value),) if isinstance(value, list) else value
