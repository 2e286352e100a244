"""`python -m experiments.compare.dqn [--quick]`: our DQN on CartPole beside rejax's, with its settings.

8 seeds x 100,000 steps of 10 environments, a replay of 10,000, 5 gradient steps of 128 an iteration, double
targets, 4 evaluations. Rounds and ratios are those of `experiments.compare.throughput`. Prints a Markdown
table, writes `results/throughput-dqn.json`.
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
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: does it run?")
    parser.add_argument("--rounds", type=_report.positive, default=None, help="3 by default; 1 with --quick")
    args = parser.parse_args()
    try:
        rounds = args.rounds or (1 if args.quick else 3)
        results = throughput.compare("dqn", contestants(4_000 if args.quick else 100_000), rounds)
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(map(str, error.cmd))} failed:\n{(error.stderr or '')[-3000:]}", file=sys.stderr)
        return 1
    _report.write("throughput-dqn", results, args.quick)
    return 0


def contestants(steps: int) -> tuple[Contestant, ...]:
    """Return ours, and rejax's as its README runs it and sharded over the cores by us."""
    cores = num_cores()
    size = ("--seeds", "8", "--steps", str(steps), "--evaluations", "4")
    ours = (*throughput.OURS, "--setting", "dqn", *size)
    rejax = (*throughput.peer("rejax", "rejax_learner.py"), "DQN", *size)
    return (
        Contestant(f"jaxrl ({cores} host devices)", ours),
        Contestant("jaxrl, one device", (*ours, "--devices", "1")),
        Contestant("rejax 0.1.3", rejax, wanted=2.5),
        Contestant(f"rejax 0.1.3, sharded by us ({cores})", (*rejax, "--devices", str(cores))),
    )


if __name__ == "__main__":
    sys.exit(main())
