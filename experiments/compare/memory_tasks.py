"""`python -m experiments.compare.memory_tasks [--quick]`: PPO with and without a memory where one is needed.

CartPole without velocities in its observations (wanted with a memory: 450 of 500), and MemoryChain of length
20, where the bit of the first two observations is asked for at the end (wanted: at least 0.95 of 1; 0 is what
guessing earns). The same settings with a GRU and with no memory, one program each, 10 seeds. The greedy
policy after the last step, 64 episodes a seed, interquartile mean over seeds with a bootstrap interval.
Prints a Markdown table, writes `results/memory_tasks.json`, a task at a time.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

from experiments.compare import _report
from experiments.startup import prepare_jax

MEMORIES = ("gru", "lstm", "none")
# What both tasks and all memories share.
SETTINGS = {"memory_size": 32, "hidden_sizes": (32,)}


@dataclass(frozen=True)
class Task:
    """An environment, numbers of it that differ, steps, settings, and the score wanted with a memory."""

    env: str
    values: tuple[tuple[str, int], ...]
    steps: int
    settings: tuple[tuple[str, Any], ...]
    wanted: float


TASKS = (
    Task(
        "MemoryChain-v1",
        (("length", 20),),
        300_000,
        (("num_envs", 64), ("num_steps", 42), ("gamma", 0.999), ("learning_rate", 3e-3)),
        0.95,
    ),
    Task(
        "MaskedCartPole-v1",
        (),
        300_000,
        (
            ("num_envs", 16),
            ("num_steps", 128),
            ("learning_rate", 1e-3),
            # Values near 100 would fill the clipped gradient, and leave the policy next to nothing.
            ("reward_scale", 0.02),
            ("max_grad_norm", 1.0),
            ("entropy_coefficient", 0.0),
            ("normalize_observations", True),
        ),
        450.0,
    ),
)


def main() -> int:
    """Train, print the table and return the exit code: 1 if a memory falls short, unless `--quick`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 seeds x 1/10 of the steps: does it run?")
    parser.add_argument("--seeds", type=_report.positive, default=None)
    parser.add_argument("--envs", nargs="+", choices=[task.env for task in TASKS], default=None)
    parser.add_argument("--memories", nargs="+", choices=MEMORIES, default=MEMORIES)
    args = parser.parse_args()
    num_seeds = args.seeds or (2 if args.quick else 10)
    prepare_jax()
    stored = {} if args.quick else _stored()
    for task in TASKS:
        if args.envs is None or task.env in args.envs:
            steps = task.steps // 10 if args.quick else task.steps
            results = {result["memory"]: result for result in stored.get(task.env, ())}
            results |= {memory: run(task, memory, num_seeds, steps) for memory in args.memories}
            stored[task.env] = [results[memory] for memory in MEMORIES if memory in results]
            _report.write("memory_tasks", {"tasks": stored}, args.quick)
    rows = [
        (f"{name}, {result['memory']}", f"{result['steps']:,}", str(result["seeds"]), result["text"])
        for name, results in stored.items()
        for result in results
    ]
    print(_report.table(("", "steps", "seeds", "IQM [95 %]"), rows))
    met = all(
        result["estimate"] >= result["wanted"]
        for results in stored.values()
        for result in results
        if result["memory"] != "none"
    )
    return 0 if args.quick or met else 1


def run(task: Task, memory: str, num_seeds: int, num_steps: int) -> dict[str, Any]:
    """Return the score with its interval, the curve over training, and the scores of each seed."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import envs
    import jaxrl
    from jaxrl import stats
    from jaxrl.agents import ppo

    env, params = envs.make(task.env)
    params = params.replace(**{name: jnp.int32(value) for name, value in task.values})
    config = ppo.Config(
        memory=memory, total_steps=float(num_steps), **SETTINGS, **dict[str, Any](task.settings)
    )
    keys = jax.vmap(jax.random.key)(jnp.arange(num_seeds))
    begun = time.perf_counter()
    evaluations = 5 if num_steps < task.steps else 10
    _, history = jaxrl.sweep(
        ppo.make, env, params, config, keys, num_steps, evaluations=evaluations, eval_episodes=64
    )
    scores = np.asarray(history.episode_return[0].mean(axis=-1))
    interval = stats.stratified_bootstrap(scores[:, -1])
    return {
        "memory": memory,
        "steps": num_steps,
        "seeds": num_seeds,
        "wanted": task.wanted,
        "text": str(interval),
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "scores": scores[:, -1].tolist(),
        "curve": {
            "steps": np.asarray(history.steps[0, 0]).tolist(),
            "mean": scores.mean(axis=0).tolist(),
        },
        "seconds": time.perf_counter() - begun,
    }


def _stored() -> dict[str, Any]:
    path = _report.RESULTS / "memory_tasks.json"
    return json.loads(path.read_text())["tasks"] if path.exists() else {}


if __name__ == "__main__":
    sys.exit(main())
