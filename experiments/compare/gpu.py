"""`python -m experiments.compare.gpu [--quick]`: 1 to 2,048 PPO agents, on CartPole and MinAtar Breakout.

Made for a GPU, runs on any backend; on a CPU the sizes of `--quick` are the default. Every row is one
compiled program over all devices, run once to warm up and once for the clock. A row whose compiled program
needs more than the device has is not run. Prints Markdown tables, writes `results/gpu-<setting>.json`.
"""

import argparse
import sys
import time
from typing import Any

from experiments.compare import _ours, _report
from experiments.startup import prepare_jax

AGENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
QUICK_AGENTS = (1, 4)
STEPS = {"cartpole": 131_072, "breakout": 524_288}
QUICK_STEPS = {"cartpole": 10_240, "breakout": 16_384}


def main() -> int:
    """Measure, print the tables and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1 and 4 agents, few steps")
    parser.add_argument("--full", action="store_true", help="the large sizes, also on a CPU")
    parser.add_argument("--settings", nargs="+", choices=tuple(STEPS), default=tuple(STEPS))
    parser.add_argument("--agents", type=int, nargs="+", default=None)
    parser.add_argument(
        "--steps", type=_report.positive, default=None, help="environment steps of each agent"
    )
    args = parser.parse_args()
    prepare_jax()
    import jax

    from experiments.manifest import devices

    # A cached program would hide the seconds of compilation.
    jax.config.update("jax_enable_compilation_cache", False)
    on_cpu = jax.default_backend() == "cpu"
    quick = args.quick or (on_cpu and not args.full)
    agents = args.agents or (QUICK_AGENTS if quick else AGENTS)
    where = devices(jax.devices())
    print(f"{where['count']} x {where['kind']} ({where['platform']})")
    if on_cpu and quick and not args.quick:
        print("no accelerator: small sizes (--full for all of them)")
    for setting in args.settings:
        steps = args.steps or (QUICK_STEPS if quick else STEPS)[setting]
        rows = []
        for count in agents:
            rows.append(measure(setting, count, steps))
            print(f"{setting}: {count} agents done", file=sys.stderr, flush=True)
        header = ("agents", "compile s", "run s", "steps/s", "bytes a device", "peak bytes", "return")
        print(f"\n### {setting}, {steps:,} steps an agent\n")
        print(_report.table(header, [cells(row) for row in rows]), flush=True)
        _report.write(f"gpu-{setting}", {"devices": where, "steps_per_agent": steps, "rows": rows}, quick)
    return 0


def measure(setting: str, num_agents: int, num_steps: int) -> dict[str, Any]:
    """Return seconds, steps/s and bytes of one number of agents; without seconds if it does not fit."""
    import jax

    from jaxrl.sweep import memory_bytes

    program, arguments = _ours.training_program(setting, num_agents, num_steps, 1, 16)
    begun = time.perf_counter()
    compiled = program.lower(*arguments).compile()
    result = {
        "agents": num_agents,
        "compile_seconds": time.perf_counter() - begun,
        "bytes": memory_bytes(compiled),
    }
    limit = memory("bytes_limit")
    if limit is not None and result["bytes"] > limit:
        return result | {"too_large_for": limit}
    jax.block_until_ready(compiled(*arguments))
    begun = time.perf_counter()
    _, history = jax.block_until_ready(compiled(*arguments))
    seconds = time.perf_counter() - begun
    steps = num_agents * int(history.steps[0, -1])
    return result | {
        "run_seconds": seconds,
        "steps_per_second": steps / seconds,
        "peak_bytes": memory("peak_bytes_in_use"),
        "final_return": float(history.episode_return[:num_agents, -1].mean()),
    }


def memory(what: str) -> int | None:
    """Return one of the first device's memory statistics, or None where the backend keeps none."""
    import jax

    return (jax.devices()[0].memory_stats() or {}).get(what)


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return a result as the cells of its row."""
    head = (str(row["agents"]), f"{row['compile_seconds']:.1f}")
    if "too_large_for" in row:
        return (*head, "does not fit", "", f"{row['bytes']:,}", "", "")
    peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes']:,}"
    return (
        *head,
        f"{row['run_seconds']:.2f}",
        f"{row['steps_per_second']:,.0f}",
        f"{row['bytes']:,}",
        peak,
        f"{row['final_return']:.1f}",
    )


if __name__ == "__main__":
    sys.exit(main())
