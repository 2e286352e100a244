"""`python -m experiments.compare.memory [--quick]`: device bytes of PPO on CartPole at two training lengths.

64 seeds at 100,000 and at 10,000,000 steps, read off the compiled programs; nothing is run. The exit code is
1 if they differ. Prints a Markdown table, writes `results/memory.json`.
"""

import argparse
import sys

from experiments.compare import _ours, _report
from experiments.startup import prepare_jax

LENGTHS = (100_000, 10_000_000)


def main() -> int:
    """Compile at both lengths, print the table and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 seeds")
    parser.add_argument("--seeds", type=_report.positive, default=None, help="64, or 2 with --quick")
    args = parser.parse_args()
    num_seeds = args.seeds or (2 if args.quick else 64)
    prepare_jax()
    import jax

    from jaxrl.sweep import memory_bytes

    rows, results = [], []
    for length in LENGTHS:
        program, arguments = _ours.training_program("cartpole", num_seeds, length, 10, 16)
        compiled = program.lower(*arguments).compile()
        analysis = compiled.memory_analysis()
        sizes = {
            "arguments": analysis.argument_size_in_bytes,
            "outputs": analysis.output_size_in_bytes,
            "temporaries": analysis.temp_size_in_bytes,
            "total": memory_bytes(compiled),
        }
        rows.append((f"{length:,}", *(f"{size:,}" for size in sizes.values())))
        results.append({"steps": length, **sizes})
    devices = len(jax.devices())
    print(f"{num_seeds} seeds, bytes on each of {devices} device(s)\n")
    print(_report.table(("steps", *list(results[0])[1:]), rows))
    same = len({result["total"] for result in results}) == 1
    print(f"\nbytes {'do not change' if same else 'CHANGE'} with the training length")
    content = {"seeds": num_seeds, "devices": devices, "same": same, "rows": results}
    _report.write("memory", content, args.quick)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
