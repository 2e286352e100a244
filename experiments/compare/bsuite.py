"""`python -m experiments.compare.bsuite [--quick]`: PPO on bsuite's quick profile, and the time it takes.

The learning rate is that of bsuite's own actor-critic, 3e-3, all else is PPO's default; it learns from one
environment at a time. `--quick` takes two of the 23 experiments. Trains from nothing, prints the tables,
writes `results/bsuite.json`.
"""

import argparse
import json
import shutil

from experiments.compare import _report
from experiments.startup import prepare_jax

AGENT = "ppo"
CONFIG = {"learning_rate": 0.003}
FEW = ("bandit", "memory_size")
# The whole profile, compiles included, on two cores.
WANTED_SECONDS = 600.0


def main() -> int:
    """Train, print, write, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    prepare_jax()
    from experiments.bsuite import session

    folder = _report.QUICK_RESULTS / "bsuite"
    shutil.rmtree(folder, ignore_errors=True)
    names = FEW if args.quick else ()
    print(session.run(AGENT, folder, profile="quick", names=names, source="none", values=CONFIG))
    results = json.loads((folder / "bsuite.json").read_text())
    total = results["run_seconds"] + results["compile_seconds"]
    print(f"{total:.0f} s in all; wanted: at most {WANTED_SECONDS:.0f} s")
    _report.write("bsuite", results, args.quick)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
