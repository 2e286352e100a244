"""`python -m experiments.compare.replay [--quick]`: our replay beside flashbax's and rejax's.

One step of ten environments is added and 256 transitions are drawn, in a loop inside one program with the
state donated (`peers/replay_loop.py`); prioritised replay also sets the priorities of what it drew. Every
contestant is a process of its own, in turn, for each round; microseconds are the fastest call of a round, and
the median over rounds. Prints Markdown tables, writes `results/replay.json` at the end of every round.
"""

import argparse
import json
import subprocess
import sys
from typing import Any

from experiments.compare import _report
from experiments.compare.peers import setup
from experiments.compare.throughput import execute

FRAMES = 1_000_000
SEEDS = (1, 8)
KINDS = ("uniform", "prioritized")


def main() -> int:
    """Run the contestants and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: does it run?")
    parser.add_argument("--rounds", type=_report.positive, default=None, help="3 by default; 1 with --quick")
    args = parser.parse_args()
    capacities = (1_000, 10_000) if args.quick else (10_000, 1_000_000)
    commands = {
        "jaxrl": (sys.executable, "-m", "experiments.compare._ours_replay"),
        "flashbax 0.1.3": (str(setup.create("flashbax")), "-m", "experiments.compare.peers.flashbax_replay"),
        "rejax 0.1.3": (
            str(setup.create("rejax")),
            "-m",
            "experiments.compare.peers.rejax_replay",
            "--kinds",
            "uniform",
        ),
    }
    try:
        measure(commands, capacities, args.rounds or (1 if args.quick else 3), args.quick)
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(map(str, error.cmd))} failed:\n{(error.stderr or '')[-3000:]}", file=sys.stderr)
        return 1
    return 0


def measure(
    commands: dict[str, tuple[str, ...]], capacities: tuple[int, int], rounds: int, quick: bool
) -> None:
    """Run every contestant once a round, write their numbers and print the tables."""
    sizes = ("--capacity", *map(str, capacities), "--seeds", *map(str, SEEDS))
    size = (*sizes, "--calls", "2", "--iterations", "20") if quick else sizes
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
    frames = {
        name: _report.last_json(execute((*command, "--frames", str(FRAMES))))
        for name, command in commands.items()
    }
    rows: list[dict[str, Any]] = []
    for i in range(rounds):
        for name, command in commands.items() if i % 2 == 0 else reversed(commands.items()):
            print(f"replay {i + 1}/{rounds}: {name}", file=sys.stderr, flush=True)
            runs[name] += [json.loads(line) for line in execute((*command, *size)).splitlines()]
        rows = summarize(runs, capacities)
        _report.write("replay", {"rounds": i + 1, "rows": rows, "frames": frames, "runs": runs}, quick)

    def ratio(row, name):
        return "" if row[name] is None else f"{row[name]:,.0f} ({row[name] / row['jaxrl']:.1f}x)"

    peers = [name for name in commands if name != "jaxrl"]
    header = ("microseconds of one add and draw", *commands, f"x {capacities[0]:,}", "temporary bytes")
    lines = [
        (
            f"{row['kind']}, {row['seeds']} seed{'s' * (row['seeds'] > 1)}, {row['capacity']:,}",
            f"{row['jaxrl']:,.0f}",
            *(ratio(row, name) for name in peers),
            f"{row['growth']:.2f}",
            f"{row['temporary_bytes']:,.0f}",
        )
        for row in rows
    ]
    print(f"\n{_report.table(header, lines)}\n")
    header = (f"{FRAMES:,} frames of 84 x 84 x 4 bytes", "GiB", "bytes a step")
    lines = [
        (name, f"{f['state_bytes'] / 2**30:.2f}", f"{f['state_bytes'] / FRAMES:,.0f}")
        for name, f in frames.items()
    ]
    print(f"{_report.table(header, lines)}\n", flush=True)


def summarize(runs: dict[str, list[dict[str, Any]]], capacities: tuple[int, int]) -> list[dict[str, Any]]:
    """Return medians over the rounds so far, a row for each kind, number of seeds and capacity."""

    def of(name, key, kind, capacity, seeds):
        wanted = {"kind": kind, "capacity": capacity, "seeds": seeds}
        found = [run[key] for run in runs[name] if wanted.items() <= run.items()]
        return _report.median(found) if found else None

    rows = []
    for kind in KINDS:
        for seeds in SEEDS:
            small = of("jaxrl", "microseconds", kind, capacities[0], seeds)
            for capacity in capacities:
                row = {"kind": kind, "seeds": seeds, "capacity": capacity}
                for name in runs:
                    row[name] = of(name, "microseconds", kind, capacity, seeds)
                row["growth"] = row["jaxrl"] / small
                row["temporary_bytes"] = of("jaxrl", "temporary_bytes", kind, capacity, seeds)
                rows.append(row)
    return rows


if __name__ == "__main__":
    sys.exit(main())
