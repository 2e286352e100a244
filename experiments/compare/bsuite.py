"""`python -m experiments.compare.bsuite [--quick] [--full [--minutes M]]`: PPO on bsuite, and for how long.

The learning rate is that of bsuite's own actor-critic, 3e-3, all else is PPO's default; it learns from one
environment at a time. Without options it trains the quick profile from nothing, prints the tables and writes
`results/bsuite.json`; `--quick` takes two of the 23 experiments.

`--full` trains all settings for their published numbers of episodes, as a script for the background: one
program after the other, those of fewer steps first. What is trained is kept under `.cache/compare`, so an
interrupted run goes on, and after each program the table of seconds is printed and `results/bsuite-full.json`
is written anew, with what is missing. `--minutes` starts no further program after so many.
"""

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

from experiments.compare import _report
from experiments.startup import prepare_jax

AGENT = "ppo"
CONFIG = {"learning_rate": 0.003}
FEW = ("bandit", "memory_size")
# The whole quick profile, compiles included, on two cores.
WANTED_SECONDS = 600.0


def main() -> int:
    """Train, print, write, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true", help="all settings, resumed where it was left")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="of --full, see above")
    parser.add_argument(
        "--images", default="none", help="MNIST's folder for --full, see `jaxrl bsuite --help`"
    )
    args = parser.parse_args()
    prepare_jax()
    from experiments.bsuite import session

    if args.full:
        return full(args.minutes, args.images)
    folder = _report.QUICK_RESULTS / "bsuite"
    shutil.rmtree(folder, ignore_errors=True)
    names = FEW if args.quick else ()
    print(session.run(AGENT, folder, profile="quick", names=names, source="none", values=CONFIG))
    results = json.loads((folder / "bsuite.json").read_text())
    total = results["run_seconds"] + results["compile_seconds"]
    print(f"{total:.0f} s in all; wanted: at most {WANTED_SECONDS:.0f} s")
    _report.write("bsuite", results, args.quick)
    return 0


def full(minutes: float, images: str) -> int:
    """Train what is missing of the full profile, report after each program, and return the exit code."""
    from experiments.bsuite import runner, session, suite

    folder = _report.QUICK_RESULTS / "bsuite-full"
    groups = suite.groups(list(suite.EXPERIMENTS), "full", suite.images(images))
    groups.sort(key=lambda group: runner.budget(group, 1) * len(group.cells))
    begun = time.perf_counter()
    for group in groups:
        names = list(dict.fromkeys(cell.experiment.name for cell in group.cells))
        if all((folder / "logs" / f"{name}.json").exists() for name in names):
            continue
        if time.perf_counter() - begun > 60 * minutes:
            print(f"{minutes:g} minutes are over; {', '.join(names)} would be next")
            break
        session.run(AGENT, folder, profile="full", names=names, source=images, values=CONFIG)
        print(write_full(folder), flush=True)
    return 0


def write_full(folder: Path) -> str:
    """Write `results/bsuite-full.json` from what a folder holds, and return the table of seconds."""
    results = json.loads((folder / "bsuite.json").read_text())
    results["missing"] = [name for name, row in results["experiments"].items() if row["score"] is None]
    _report.write("bsuite-full", results, quick=False)
    return seconds_table(results)


def seconds_table(results: dict[str, Any]) -> str:
    """Return a Markdown table of the programs that were run, with their sum."""
    lines = [
        (", ".join(p["group"]), f"{p['steps']:,}", f"{p['run_seconds']:.0f}", f"{p['compile_seconds']:.0f}")
        for p in results["by_program"]
    ]
    missing = len(results["missing"])
    total = f"all of these; {missing} experiments are missing" if missing else "all 23 experiments"
    sums = (f"{results[name]:,.0f}" for name in ("steps", "run_seconds", "compile_seconds"))
    return _report.table(("one program", "steps", "seconds", "compile"), [*lines, (total, *sums)])


if __name__ == "__main__":
    raise SystemExit(main())
