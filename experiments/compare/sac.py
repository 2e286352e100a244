"""`python -m experiments.compare.sac [--quick]`: our SAC on Pendulum beside rejax's and stable-baselines3's.

One configuration for all: one environment, an update a step, networks of 64 x 64, batches of 256, a replay of
20,000 that 1,000 steps fill before the first update. Ours and rejax's train 4 agents at once, for as many
steps; an agent of stable-baselines3 is trained alone, and its steps/s are those of one. Every contestant is a
process of its own; the order alternates. Prints a Markdown table, writes `results/sac.json`.
"""

import argparse
import subprocess
import sys

from experiments.compare import _report, throughput
from experiments.compare.throughput import Contestant
from experiments.startup import num_cores


def main() -> int:
    """Run the contestants and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few steps, one round: does it run?")
    parser.add_argument("--rounds", type=_report.positive, default=None, help="3 by default; 1 with --quick")
    parser.add_argument("--peers", nargs="*", choices=("rejax", "sb3"), default=("rejax", "sb3"))
    args = parser.parse_args()
    try:
        results = throughput.compare(
            "sac", contestants(args.quick, args.peers), args.rounds or (1 if args.quick else 3)
        )
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(map(str, error.cmd))} failed:\n{(error.stderr or '')[-3000:]}", file=sys.stderr)
        return 1
    _report.write("sac", results, args.quick)
    return 0


def contestants(quick: bool, peers: tuple[str, ...]) -> tuple[Contestant, ...]:
    """Return ours, on one host device a core and on one device, and those of `peers`."""
    size = ("--seeds", "4", "--steps", "2000" if quick else "10000", "--evaluations", "1")
    ours = (*throughput.OURS, "--setting", "sac", *size)
    rows = [
        Contestant(f"jaxrl ({num_cores()} host devices)", ours),
        Contestant("jaxrl, one device", (*ours, "--devices", "1")),
    ]
    if "rejax" in peers:
        rejax = (*throughput.peer("rejax", "rejax_learner.py"), "SAC", *size)
        rows.append(Contestant("rejax 0.1.3", rejax, wanted=1.5))
    if "sb3" in peers:
        sb3 = (*throughput.peer("sb3", "sb3_sac.py"), "--steps", "1500" if quick else "5000")
        rows.append(Contestant("stable-baselines3 (1 agent)", sb3, wanted=8.0))
    return tuple(rows)


if __name__ == "__main__":
    sys.exit(main())
