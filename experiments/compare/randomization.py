"""`python -m experiments.compare.randomization [--quick]`: nominal, randomised and automatically randomised.

PPO with the same settings and steps is trained in the nominal world, in fixed ranges, and in ranges that
automatic domain randomization grows. All of them, with all seeds, are one program: only the ranges differ,
and these are traced. Each policy is then evaluated in a grid of fixed robots from limit to limit, beyond the
fixed ranges, and judged by the worst of them. Prints Markdown tables, writes `results/randomization.json`.
"""

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from experiments.compare import _report
from experiments.startup import prepare_jax

ARMS = ("nominal", "fixed", "ADR")
# Of the curve of the ranges; each takes an iteration at least.
LOG_POINTS = 50


@dataclass(frozen=True)
class Task:
    """A world, what varies in it, and how PPO is trained there.

    Attributes:
      env: id of the world.
      latency: most steps that an action may be late, 0 for none.
      varied: `(fixed range, limits, how, log)` of each quantity.
      nominal: the value of each quantity in the nominal world.
      thresholds: of automatic randomization: the returns below and above which a range moves.
      config: PPO's settings.
      steps: environment steps of each seed.
    """

    env: str
    latency: int
    varied: Mapping[str, tuple[tuple[float, float], tuple[float, float], str, bool]]
    nominal: Mapping[str, float]
    thresholds: tuple[float, float]
    config: Mapping[str, Any]
    steps: int


_CONFIG = {
    "learning_rate": 1e-3,
    "gamma": 0.97,
    "entropy_coefficient": 0.0,
    "num_envs": 32,
    "num_steps": 64,
    "num_epochs": 4,
    "num_minibatches": 8,
    "clip_value": False,
    "normalize_observations": True,
}
TASKS = {
    "point_robot": Task(
        env="PointRobot-v1",
        latency=4,
        varied={
            "latency": ((0.0, 2.0), (0.0, 4.0), "add", False),
            "mass": ((0.6, 1.6), (0.3, 3.0), "scale", True),
        },
        nominal={"latency": 0.0, "mass": 1.0},
        thresholds=(-35.0, -26.0),
        config=_CONFIG | {"hidden_sizes": (32, 32)},
        steps=204_800,
    ),
    "reacher": Task(
        env="Reacher-v1",
        latency=4,
        varied={
            "latency": ((0.0, 2.0), (0.0, 4.0), "add", False),
            "damping": ((0.5, 2.0), (0.25, 4.0), "scale", True),
        },
        nominal={"latency": 0.0, "damping": 1.0},
        thresholds=(-45.0, -32.0),
        config=_CONFIG
        | {"gamma": 0.9, "num_envs": 16, "num_steps": 128, "num_epochs": 10, "num_minibatches": 32},
        steps=307_200,
    ),
    # Heavier or on ice, a point is driven alike: here randomization has little to gain.
    "point_robot_friction": Task(
        env="PointRobot-v1",
        latency=0,
        varied={
            "mass": ((0.6, 1.6), (0.25, 2.5), "scale", True),
            "friction": ((0.5, 1.25), (0.0, 1.5), "scale", False),
        },
        nominal={"mass": 1.0, "friction": 1.0},
        thresholds=(-32.0, -24.0),
        config=_CONFIG | {"hidden_sizes": (32, 32)},
        steps=204_800,
    ),
}


def make_worlds(task: Task) -> tuple[Any, Any, Any]:
    """Return the world to train in, its params for each arm `[arms, ...]`, and the world to evaluate in."""
    import jax
    import jax.numpy as jnp

    import envs
    from envs.physics import DelayedAction, Expandable, Randomized, Variation

    inner, _ = envs.make(task.env)
    if task.latency:
        inner = DelayedAction(inner, max_latency=task.latency)
    variations = tuple(
        Variation(name, *limits, how=how, log=log)  # type: ignore[arg-type]
        for name, (_, limits, how, log) in task.varied.items()
    )
    low, high = task.thresholds
    limits = tuple(limits for _, limits, _, _ in task.varied.values())
    env = Expandable(inner, variations, limits, threshold_low=low, threshold_high=high, min_episodes=10.0)
    params = env.default_params()
    ranges = {
        "nominal": {name: (value, value) for name, value in task.nominal.items()},
        "fixed": {name: fixed for name, (fixed, *_) in task.varied.items()},
    }
    ranges["ADR"] = ranges["nominal"]
    rows = []
    for arm in ARMS:
        row = env.with_ranges(params, ranges[arm])
        if arm != "ADR":  # a range that is its own limit does not move
            own = {"limit_low": row.values["low"], "limit_high": row.values["high"]}
            row = replace(row, values=row.values | own | {"boundary_fraction": jnp.float32(0.0)})
        rows.append(row)
    return env, jax.tree.map(lambda *xs: jnp.stack(xs), *rows), Randomized(inner, variations)


def grid_of(task: Task, size: int) -> dict[str, np.ndarray]:
    """Return the values of each quantity in the grid, from limit to limit."""
    space = {True: np.geomspace, False: np.linspace}
    return {name: space[log](*limits, size) for name, (_, limits, _, log) in task.varied.items()}


def run(task: Task, num_seeds: int, num_steps: int, size: int, episodes: int) -> dict[str, Any]:
    """Return what every arm and seed of a task earned, nominally and over the grid, and its ranges."""
    import jax
    import jax.numpy as jnp

    import jaxrl
    from envs.physics import ADR
    from jaxrl.agents import ppo
    from jaxrl.curriculum import WithCurriculum
    from jaxrl.robustness import evaluate_grid

    env, arms, where = make_worlds(task)
    axes = grid_of(task, size)
    robots = where.grid(where.default_params(), {name: x.tolist() for name, x in axes.items()})
    nominal = where.with_ranges(where.default_params(), task.nominal)
    config = ppo.Config(**task.config, total_steps=float(num_steps))
    make = WithCurriculum(ppo.make, ADR)

    traces = []

    @jax.jit
    def train(arms, keys, robots, nominal):  # ranges, thresholds and grid are traced, too
        traces.append(None)

        def one(params, key):
            key_train, key_nominal, key_grid = jax.random.split(key, 3)
            algorithm = make(env, params, config)
            state, history = jaxrl.train(
                algorithm, key_train, num_steps, evaluations=1, eval_episodes=1, log_points=LOG_POINTS
            )
            policy = algorithm.policy(state)
            at_nominal = jaxrl.evaluate(policy, where, nominal, key_nominal, 64).return_
            over_grid = evaluate_grid(policy, where, robots, key_grid, episodes).return_
            adr = state.curriculum
            ranges = jnp.stack([adr.low, adr.high])
            return at_nominal.mean(), over_grid.mean(axis=-1), ranges, history.metrics["range_entropy"]

        return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(arms, keys)

    begun = time.perf_counter()
    keys = jax.vmap(jax.random.key)(jnp.arange(num_seeds))
    at_nominal, over_grid, ranges, entropy = (np.asarray(x) for x in train(arms, keys, robots, nominal))
    return {
        "seconds": time.perf_counter() - begun,
        "programs": len(traces),
        "steps": num_steps,
        "seeds": num_seeds,
        "axes": {name: x.tolist() for name, x in axes.items()},
        "nominal": dict(zip(ARMS, at_nominal.tolist(), strict=True)),
        "grid": dict(zip(ARMS, over_grid.tolist(), strict=True)),
        "ranges": dict(zip(ARMS, ranges.tolist(), strict=True)),
        "range_entropy": dict(zip(ARMS, entropy.tolist(), strict=True)),
    }


def summary(task: Task, result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the intervals of each arm, and of its differences to the nominal one, seed by seed."""
    from jaxrl import stats

    log = np.array([log for *_, log in task.varied.values()])
    limits = np.array([limits for _, limits, _, _ in task.varied.values()])

    def width(ranges):
        scaled = np.where(log[:, None], np.log(np.where(log[:, None], ranges.T, 1.0)), ranges.T)
        whole = np.where(
            log,
            np.log(np.where(log, limits[:, 1] / np.where(log, limits[:, 0], 1), 1)),
            np.ptp(limits, axis=1),
        )
        return np.mean((scaled[:, 1] - scaled[:, 0]) / whole)

    worst = {arm: np.min(result["grid"][arm], axis=-1) for arm in ARMS}
    rows = {}
    for arm in ARMS:
        scores = {
            "nominal": np.array(result["nominal"][arm]),
            "worst": worst[arm],
            "worst_gain": worst[arm] - worst["nominal"],
            "grid_mean": np.mean(result["grid"][arm], axis=-1),
            "width": np.array([width(np.array(r)) for r in result["ranges"][arm]]),
        }
        rows[arm] = {name: stats.mean_interval(x) for name, x in scores.items()}
    return rows


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a size that only shows that it works")
    parser.add_argument("--only", choices=TASKS, nargs="+", default=list(TASKS), help="keeps other results")
    parser.add_argument("--seeds", type=_report.positive, default=None)
    parser.add_argument("--steps", type=_report.positive, default=None)
    args = parser.parse_args()
    prepare_jax()
    folder = _report.QUICK_RESULTS if args.quick else _report.RESULTS
    path = folder / "randomization.json"
    results = json.loads(path.read_text())["tasks"] if path.exists() else {}
    for name in args.only:
        task = TASKS[name]
        seeds = args.seeds or (2 if args.quick else 10)
        steps = args.steps or (102_400 if args.quick else task.steps)
        least = LOG_POINTS * task.config["num_envs"] * task.config["num_steps"]
        if steps < least:
            parser.error(f"argument --steps: must be at least {least} for {name}, got {steps}")
        result = run(task, seeds, steps, 3 if args.quick else 9, 4 if args.quick else 8)
        rows = summary(task, result)
        print(f"\n{task.env}, {', '.join(task.varied)}: {seeds} seeds x {steps:,} steps, ", end="")
        print(f"{result['seconds']:.0f} s, {result['programs']} program")
        header = ("PPO trained in", "nominal world", "worst of the grid", "gain", "mean of the grid", "width")
        columns = ("nominal", "worst", "worst_gain", "grid_mean", "width")
        print(
            _report.table(header, [(arm, *(str(rows[arm][c]) for c in columns)) for arm in ARMS]), flush=True
        )
        intervals = {a: {c: vars(x) for c, x in row.items()} for a, row in rows.items()}
        results[name] = {"summary": intervals, **result}
        _report.write("randomization", {"tasks": results}, args.quick)


if __name__ == "__main__":
    main()
