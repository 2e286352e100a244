"""`python -m experiments.compare.scores [--quick]`: what PPO with CleanRL's settings scores beside CleanRL.

CartPole and Acrobot, 500,000 steps, 30 seeds, one program each. Evaluation: the greedy policy after the last
step, 16 episodes a seed, interquartile mean over seeds with a bootstrap interval. Training: the returns of
the sampling policy over the last stretch, which is what CleanRL publishes, mean over seeds with Student's t
interval. Prints a Markdown table, writes `results/scores-<environment>.json`.

Source: CleanRL's documentation, docs/benchmark/ppo.md (3 seeds, training returns, mean ± standard deviation).
"""

import argparse
import sys
from dataclasses import dataclass
from typing import Any

from experiments.compare import _report
from experiments.startup import prepare_jax

# Log points that make the last stretch: 2 of 100, the last 2 % of the training.
LAST_POINTS = 2


@dataclass(frozen=True)
class Task:
    """An environment, what CleanRL publishes, and the figure ("evaluation" or "training") that we want."""

    env: str
    published: str
    figure: str
    wanted: float


TASKS = (
    Task("CartPole-v1", "490.04 ± 6.12", "evaluation", 490.0),
    Task("gymnax/Acrobot-v1", "-86.36 ± 1.32", "training", -86.4),
)


def main() -> int:
    """Train, print the table and return the exit code: 1 if a figure falls short, unless `--quick`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 seeds x 51,200 steps: does it run?")
    parser.add_argument("--seeds", type=int, default=None)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--envs", nargs="+", choices=[task.env for task in TASKS], default=None)
    args = parser.parse_args()
    num_seeds = args.seeds or (2 if args.quick else 30)
    num_steps = args.steps or (51_200 if args.quick else 500_000)
    prepare_jax()
    rows, results = [], []
    for task in TASKS:
        if args.envs is not None and task.env not in args.envs:
            continue
        result = run(task, num_seeds, num_steps)
        rows.append(
            (
                task.env,
                result["evaluation"]["text"],
                result["training"]["text"],
                task.published,
                f"{task.figure} >= {task.wanted}",
                "yes" if result["met"] else "NO",
            )
        )
        results.append(result)
    header = ("", "evaluation: IQM [95 %]", "training: mean [95 %]", "CleanRL, training", "wanted", "met")
    print(f"PPO, CleanRL's settings, {num_steps:,} steps\n\n{_report.table(header, rows)}")
    for result in results:
        _report.write(f"scores-{result['env'].split('/')[-1]}", result, args.quick)
    return 0 if args.quick or all(result["met"] for result in results) else 1


def run(task: Task, num_seeds: int, num_steps: int) -> dict[str, Any]:
    """Return both figures of a task with their intervals, and the scores of each seed."""
    import jax
    import numpy as np

    import envs
    import jaxrl
    from jaxrl import stats
    from jaxrl.agents import ppo

    env, params = envs.make(task.env)
    keys = jax.vmap(jax.random.key)(jax.numpy.arange(num_seeds))
    config = ppo.Config(total_steps=float(num_steps))
    _, history = jaxrl.sweep(ppo.make, env, params, config, keys, num_steps, evaluations=10, eval_episodes=16)
    evaluation = np.asarray(history.episode_return[0, :, -1].mean(axis=-1))
    count = np.asarray(history.metrics["episodes"][0, :, -LAST_POINTS:])
    returns = np.asarray(history.metrics["episode_return"][0, :, -LAST_POINTS:])
    training = np.where(count > 0, returns * count, 0.0).sum(axis=1) / count.sum(axis=1)
    figures = {
        "evaluation": (stats.stratified_bootstrap(evaluation), evaluation),
        "training": (stats.mean_interval(training), training),
    }
    described = {
        name: {
            "text": str(interval),
            "estimate": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "scores": scores.tolist(),
        }
        for name, (interval, scores) in figures.items()
    }
    first = int(history.metric_steps[0, 0, -LAST_POINTS - 1])
    return {
        "env": task.env,
        "steps": num_steps,
        "seeds": num_seeds,
        **described,
        "training_from_step": first,
        "training_episodes_per_seed": float(count.sum(axis=1).mean()),
        "published": task.published,
        "figure": task.figure,
        "wanted": task.wanted,
        "met": described[task.figure]["estimate"] >= task.wanted,
    }


if __name__ == "__main__":
    sys.exit(main())
