"""`python -m experiments.compare.throughput [--quick]`: our PPO beside rejax, PureJaxRL's pattern and SB3.

Every contestant is a process of its own; the order alternates from round to round, and a ratio compares
runs of the same round, so that a machine that slows down slows both. Seconds of compilation are cold (no
persistent cache); CPU seconds count all threads. Prints Markdown tables, writes
`results/throughput-<section>.json`.
"""

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.compare import _report
from experiments.compare.peers import setup
from experiments.startup import num_cores

ROOT = Path(__file__).resolve().parents[2]
OURS = (sys.executable, "-m", "experiments.compare._ours")
PEERS = Path("experiments/compare/peers")
SECTIONS = ("cartpole", "breakout", "scaling")


@dataclass(frozen=True)
class Contestant:
    """One row of a table: a program that prints a JSON object, and the ratio wanted of us over it.

    Attributes:
      name: what the row says.
      command: what is run from the repository's root.
      wanted: how many times as fast ours must be, or None.
    """

    name: str
    command: tuple[str, ...]
    wanted: float | None = None


def main() -> int:
    """Run the sections asked for and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: does it run?")
    parser.add_argument("--rounds", type=_report.positive, default=None, help="3 by default; 1 with --quick")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument(
        "--eval-episodes", type=int, default=16, help="of us and of rejax (its own default: 128)"
    )
    args = parser.parse_args()
    rounds = args.rounds or (1 if args.quick else 3)
    try:
        for section in args.sections:
            if section == "scaling":
                results = scaling(rounds, args.quick)
            elif section == "cartpole":
                results = compare(section, cartpole(args.quick, args.eval_episodes), rounds)
            else:
                results = compare(section, breakout(args.quick), rounds)
            _report.write(f"throughput-{section}", results, args.quick)
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(map(str, error.cmd))} failed:\n{(error.stderr or '')[-3000:]}", file=sys.stderr)
        return 1
    return 0


def cartpole(quick: bool, eval_episodes: int) -> tuple[Contestant, ...]:
    """Return the contestants on CartPole: CleanRL's settings, 8 seeds x 524,288 steps, 8 evaluations."""
    size = ("--seeds", "8", "--steps", str(65_536 if quick else 524_288))
    size_and_evaluations = (*size, "--evaluations", "8", "--eval-episodes", str(eval_episodes))
    cores = num_cores()
    rejax = (*peer("rejax", "rejax_learner.py"), "PPO", *size_and_evaluations)
    style = (*peer("rejax", "purejaxrl_style.py"), "--setting", "cartpole", *size)
    sb3 = (*peer("sb3", "sb3_ppo.py"), "--steps", str(5_120 if quick else 51_200))
    return (
        Contestant(f"jaxrl ({cores} host devices)", (*OURS, *size_and_evaluations)),
        Contestant("jaxrl, one device", (*OURS, *size_and_evaluations, "--devices", "1")),
        Contestant("rejax 0.1.3", rejax, wanted=2.0),
        Contestant(f"rejax 0.1.3, sharded by us ({cores})", (*rejax, "--devices", str(cores))),
        Contestant("PureJaxRL-style, our transcription", style),
        Contestant("stable-baselines3 (1 agent)", sb3, wanted=50.0),
    )


def breakout(quick: bool) -> tuple[Contestant, ...]:
    """Return the contestants on MinAtar Breakout: 8 seeds x 64 environments x 128 steps, 8 minibatches."""
    size = ("--setting", "breakout", "--seeds", "8", "--steps", str(16_384 if quick else 131_072))
    ours = (*OURS, *size, "--evaluations", "1", "--eval-episodes", "1", "--log-points", "1")
    return (
        Contestant(f"jaxrl ({num_cores()} host devices)", ours),
        Contestant("jaxrl, one device", (*ours, "--devices", "1")),
        Contestant(
            "PureJaxRL-style, our transcription", (*peer("rejax", "purejaxrl_style.py"), *size), wanted=2.0
        ),
    )


def compare(section: str, contestants: tuple[Contestant, ...], rounds: int) -> dict[str, Any]:
    """Run every contestant once a round, print the table and return its numbers."""
    runs: dict[str, list[dict[str, Any]]] = {contestant.name: [] for contestant in contestants}
    for i in range(rounds):
        for contestant in contestants if i % 2 == 0 else reversed(contestants):
            print(f"{section} {i + 1}/{rounds}: {contestant.name}", file=sys.stderr, flush=True)
            runs[contestant.name].append(_report.last_json(execute(contestant.command)))
    ours = [run["steps_per_second"] for run in runs[contestants[0].name]]
    rows, results = [], []
    for contestant in contestants:
        own = runs[contestant.name]
        ratios = [a / b["steps_per_second"] for a, b in zip(ours, own, strict=True)]
        middle = {
            key: _report.median([run[key] for run in own])
            for key in ("compile_seconds", "run_seconds", "cpu_seconds", "steps", "steps_per_second")
        }
        ratio = _report.median(ratios)
        rows.append(
            (
                contestant.name,
                f"{middle['compile_seconds']:.1f}",
                f"{middle['run_seconds']:.1f}",
                f"{middle['cpu_seconds']:.1f}",
                f"{middle['steps']:,.0f}",
                f"{middle['steps_per_second']:,.0f}",
                f"{ratio:.2f}" if rounds == 1 else f"{ratio:.2f} [{min(ratios):.2f}, {max(ratios):.2f}]",
                "" if contestant.wanted is None else f"{contestant.wanted:g}",
            )
        )
        results.append(
            {
                "name": contestant.name,
                "ratio": ratio,
                "ratios": ratios,
                "wanted": contestant.wanted,
                "runs": own,
            }
        )
    header = ("", "compile s", "run s", "CPU s", "steps", "steps/s", "jaxrl is x times", "wanted")
    print(f"\n### {section}\n\n{_report.table(header, rows)}\n", flush=True)
    return {"rounds": rounds, "rows": results}


def scaling(rounds: int, quick: bool) -> dict[str, Any]:
    """Measure ours from 1 to 64 seeds, print the table and return its numbers."""
    sizes = [2**i for i in range(4 if quick else 7)]
    steps = 51_200 if quick else 131_072
    command = (*OURS, "--seeds", *map(str, sizes), "--steps", str(steps), "--evaluations", "2")
    print(f"scaling: {sizes[0]} to {sizes[-1]} seeds", file=sys.stderr, flush=True)
    output = execute((*command, "--repeats", str(rounds)))
    runs = [_report.last_json(line) for line in output.splitlines() if line.startswith("{")]
    rows, results, before = [], [], None
    for size in sizes:
        own = [run for run in runs if run["seeds"] == size]
        speed = _report.median([run["steps_per_second"] for run in own])
        compile_seconds = own[0]["compile_seconds"]
        change = None if before is None else speed / before
        rows.append(
            (
                str(size),
                f"{compile_seconds:.1f}",
                f"{_report.median([run['run_seconds'] for run in own]):.2f}",
                f"{speed:,.0f}",
                "" if change is None else f"{change:.2f}",
            )
        )
        results.append({"seeds": size, "steps_per_second": speed, "change": change, "runs": own})
        before = speed
    header = ("seeds", "compile s", "run s", "steps/s", "x the row above")
    falls = [row["seeds"] for row in results if row["change"] is not None and row["change"] < 1]
    print(f"\n### scaling, CartPole, {steps:,} steps a seed\n\n{_report.table(header, rows)}\n")
    print("steps/s never falls" if not falls else f"steps/s falls at {falls} seeds", flush=True)
    return {"steps_per_seed": steps, "falls_at": falls, "rows": results}


def execute(command: tuple[str, ...]) -> str:
    """Return what a contestant's process printed.

    Raises:
      subprocess.CalledProcessError: if it failed.
    """
    unwanted = ("JAX_", "XLA_", "NPROC", "OMP_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    environment |= {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=3600
    ).stdout


def peer(environment: str, script: str) -> tuple[str, ...]:
    """Return the beginning of a command that runs a peer's script in its own environment."""
    return (str(setup.create(environment)), str(PEERS / script))


if __name__ == "__main__":
    sys.exit(main())
