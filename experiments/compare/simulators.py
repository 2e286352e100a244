"""`python -m experiments.compare.simulators [--quick]`: from a simulator to its numbers, and to others.

First system identification: robots with unknown numbers, ten recorded trajectories each, recovered by the
cross-entropy method and by gradients through the simulator, with the error of each number. Then transfer:
PPO trained on each of Brax's engines and evaluated on all of them, the gap between simulation and simulation
as the one between simulation and reality that can be measured. Prints Markdown tables, writes
`results/simulators.json`.
"""

import argparse
import json
import time
from typing import Any

import numpy as np

from experiments.compare import _report
from experiments.startup import prepare_jax

# World, engine, what is unknown: (low, high, whether logarithmic); steps of a trajectory.
UNKNOWN: dict[str, tuple[str, str | None, dict[str, tuple[float, float, bool]], int]] = {
    "pendulum": ("Pendulum-v1", None, {"mass": (0.3, 3.0, True), "length": (0.5, 2.0, False)}, 40),
    "halfcheetah, spring": (
        "brax/halfcheetah",
        "spring",
        {"mass": (0.5, 2.0, True), "friction": (0.3, 1.5, False)},
        30,
    ),
    "halfcheetah, mjx": (
        "brax/halfcheetah",
        "mjx",
        {"mass": (0.5, 2.0, True), "friction": (0.3, 1.5, False)},
        30,
    ),
}
METHODS = ("cross_entropy", "gauss_newton")
WANTED_ERROR = 0.05
ENGINES = ("spring", "positional", "generalized", "mjx")


def identify(name: str, num_robots: int, methods: list[str], quick: bool) -> dict[str, Any]:
    """Return the true numbers of some robots, and what each method says they are."""
    import jax

    import envs
    from envs.physics import Randomized, Variation
    from jaxrl import identify as identification

    id, engine, unknown, length = UNKNOWN[name]
    world, params = envs.make(id, **({} if engine is None else {"backend": engine}))
    env = Randomized(world, tuple(Variation(n, a, b, log=log) for n, (a, b, log) in unknown.items()))
    ranges = env.default_params()
    # Away from the ends and from the middle, where the search begins.
    units = jax.random.uniform(jax.random.key(1), (num_robots, len(unknown)), minval=0.15, maxval=0.85)
    true = jax.vmap(lambda unit: env.from_unit(unit, ranges))(units)
    keys = jax.random.split(jax.random.key(2), num_robots)
    fits_of = {
        "cross_entropy": lambda data, key: identification.cross_entropy(
            env, ranges, data, key, iterations=4 if quick else 18, population=32
        ),
        "gauss_newton": lambda data, key: identification.gauss_newton(
            env, ranges, data, key, iterations=4 if quick else 12, starts=6
        ),
    }
    found: dict[str, Any] = {}
    record = jax.jit(
        lambda values, key: identification.record(world, env.bind(params, values), key, 10, length)
    )
    for method in methods:
        begun = time.perf_counter()
        run = jax.jit(fits_of[method])
        fits = [run(record(values, key), key) for values, key in zip(true, keys, strict=True)]
        error = np.abs(np.array([fit.values for fit in fits]) / np.asarray(true) - 1)
        found[method] = {
            "values": np.array([fit.values for fit in fits]).tolist(),
            "relative_error": error.tolist(),
            "spread": np.array([fit.spread for fit in fits]).tolist(),
            "prediction_error": [float(fit.error) for fit in fits],
            "seconds": time.perf_counter() - begun,
        }
    return {"unknown": list(unknown), "trajectories": 10, "steps": length, "true": true.tolist(), **found}


def transfer(num_seeds: int, num_steps: int, engines: tuple[str, ...]) -> dict[str, Any]:
    """Return `[engine trained on][engine evaluated on][seed]` mean returns of PPO on inverted_pendulum."""
    import jax
    import jax.numpy as jnp

    import envs
    import jaxrl
    from jaxrl.agents import ppo
    from jaxrl.robustness import transfer_matrix

    config = ppo.Config(
        learning_rate=1e-3,
        num_envs=16,
        num_steps=128,
        num_epochs=4,
        num_minibatches=8,
        entropy_coefficient=0.0,
        total_steps=float(num_steps),
    )
    worlds = [envs.make("brax/inverted_pendulum", backend=engine) for engine in engines]
    keys = jax.vmap(jax.random.key)(jnp.arange(num_seeds))
    learners = []
    for world in worlds:
        algorithm = ppo.make(*world, config)

        def train(key, algorithm=algorithm):
            state, _ = jaxrl.train(algorithm, key, num_steps, evaluations=1, eval_episodes=1, log_points=1)
            return state.replace(vec_state=None, obs=None)

        learners.append(jax.jit(jax.vmap(train))(keys))
    stacked = jax.tree.map(lambda *xs: jnp.concatenate(xs), *learners)
    policy = ppo.make(*worlds[0], config).policy
    returns = [
        jax.jit(
            lambda learners, world=world: transfer_matrix(policy, learners, [world], jax.random.key(9), 16)
        )(stacked)
        for world in worlds
    ]
    matrix = np.asarray(jnp.concatenate(returns, axis=1)).mean(axis=-1)
    matrix = matrix.reshape(len(engines), num_seeds, len(engines)).transpose(0, 2, 1)
    return {"engines": list(engines), "seeds": num_seeds, "steps": num_steps, "returns": matrix.tolist()}


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a size that only shows that it works")
    parser.add_argument("--robots", type=int, default=3, help="robots to identify in each world")
    parser.add_argument("--only", choices=UNKNOWN, nargs="*", default=list(UNKNOWN), help="keeps the others")
    parser.add_argument(
        "--methods", choices=METHODS, nargs="+", default=list(METHODS), help="through mjx gradients take long"
    )
    parser.add_argument("--seeds", type=_report.positive, default=4, help="seeds of each engine's policies")
    parser.add_argument(
        "--steps", type=_report.positive, default=204_800, help="environment steps of each policy"
    )
    parser.add_argument("--engines", choices=ENGINES, nargs="*", default=list(ENGINES))
    args = parser.parse_args()
    prepare_jax()
    from jaxrl import stats

    folder = _report.QUICK_RESULTS if args.quick else _report.RESULTS
    path = folder / "simulators.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    results = {name: results[name] for name in ("identification", "transfer") if name in results}
    found, rows = results.setdefault("identification", {}), []
    for name in args.only:
        result = found[name] = identify(name, 1 if args.quick else args.robots, args.methods, args.quick)
        _report.write("simulators", results, args.quick)  # a long run that is stopped keeps what it has
        for method in args.methods:
            errors = np.array(result[method]["relative_error"])
            worst = (f"{x:.2%}" for x in errors.max(axis=0))
            within = f"{np.mean(errors.max(axis=1) < WANTED_ERROR):.0%}"
            named = ", ".join(result["unknown"])
            rows.append((f"{name}: {named}", method, *worst, within, f"{result[method]['seconds']:.0f}"))
    if rows:
        header = ("world: unknown", "method", "worst error", "and", "robots within 5 %", "seconds")
        print(_report.table(header, rows), flush=True)
    if args.engines:
        engines = tuple(args.engines[:1] if args.quick else args.engines)
        moved = transfer(2 if args.quick else args.seeds, 8_192 if args.quick else args.steps, engines)
        intervals = [[stats.mean_interval(np.array(cell)) for cell in row] for row in moved["returns"]]
        print(f"\nPPO on inverted_pendulum, {moved['seeds']} seeds x {moved['steps']:,} steps of each engine")
        cells = [(a, *map(str, row)) for a, row in zip(engines, intervals, strict=True)]
        print(_report.table(("trained on", *engines), cells))
        results["transfer"] = moved
    _report.write("simulators", results, args.quick)


if __name__ == "__main__":
    main()
