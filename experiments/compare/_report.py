"""What the comparisons share: arguments, a Markdown table, a JSON file of results, and the machine."""

import argparse
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import manifest
from experiments.startup import num_cores
from experiments.store import write_json

RESULTS = Path(__file__).parent / "results"
QUICK_RESULTS = Path(__file__).resolve().parents[2] / ".cache" / "compare"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers.

    >>> print(table(("", "steps/s"), [("ours", "2")]))
    |      | steps/s |
    |:-----|--------:|
    | ours |       2 |
    """
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]

    def text(cells):
        first, *rest = (
            cell.rjust(w) if i else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join((first, *rest)) + " |"

    rule = "|:" + "-" * (widths[0] + 1) + "|" + "".join("-" * (w + 1) + ":|" for w in widths[1:])
    return "\n".join([text(lines[0]), rule, *map(text, lines[1:])])


def positive(text: str) -> int:
    """Return the number that an argument of a command is, for `argparse`.

    Raises:
      argparse.ArgumentTypeError: if it is no integer, or below 1.

    >>> positive("3")
    3
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, got {text!r}")
    return number


def write(name: str, results: Mapping[str, Any], quick: bool) -> Path:
    """Write `results/<name>.json`, with where the numbers come from, and return its path.

    Quick results go to `.cache/compare`, so that a trial never replaces a measurement.
    """
    folder = QUICK_RESULTS if quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    write_json(path, {"machine": machine(), "quick": quick, **results})
    print(f"\nwritten: {path.relative_to(QUICK_RESULTS.parents[1])}\n", flush=True)
    return path


def machine() -> dict[str, Any]:
    """Return the processor, the cores, how busy they are, the versions and the commit."""
    return {
        "time": manifest.now(),
        "processor": _processor(),
        "cores": num_cores(),
        "load_average": [round(x, 2) for x in os.getloadavg()],
        "versions": manifest.versions(),
        "git": manifest.git(),
    }


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return float(statistics.median(values))


def last_json(text: str) -> dict[str, Any]:
    r"""Return the JSON object on the last line of a process's output.

    >>> last_json('a warning\n{"run_seconds": 1.0}\n')
    {'run_seconds': 1.0}
    """
    return json.loads(text.strip().splitlines()[-1])


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
