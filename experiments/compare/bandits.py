"""`python -m experiments.compare.bandits [--quick]`: bandit policies beside NumPy loops, and what is true.

Three arms that are clicked 5, 8 and 12 % of the time. First the speed: 1,000 runs of 10,000 pulls of each of
six policies, against the loop over pulls that tutorials show, Beta samples from SciPy, in the same process.
Then the claims that such tutorials make of these arms, with intervals. Prints Markdown tables, writes
`results/bandits.json`.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.compare import _report
from experiments.startup import prepare_jax

RATES = (0.05, 0.08, 0.12)
POLICIES: dict[str, dict[str, Any]] = {
    "epsilon_greedy": {},
    "ucb1": {},
    "kl_ucb": {},
    "moss": {},
    "thompson": {},
    "gradient_bandit": {},
}
# How many times faster than the SciPy loop a policy shall be.
WANTED = {"thompson": 60.0, "ucb1": 300.0, "epsilon_greedy": 300.0}
WANTED_SECONDS = 60.0


@dataclass(frozen=True)
class Curves:
    """Many runs of one policy; R runs, P points in time, A arms.

    Attributes:
      pulls: `[P]` int, pulls done.
      regret: `[R, P]`, summed up to there.
      optimal: `[R, P]`, the share of the best arm since the point before.
      shares: `[R, P, A]`, the share of each arm since the point before.
      identified_after: `[R]` int, pulls after which the best arm was always the one recommended.
      compile_seconds: of the first call, less those of the second.
      run_seconds: of the second call.
    """

    pulls: np.ndarray
    regret: np.ndarray
    optimal: np.ndarray
    shares: np.ndarray
    identified_after: np.ndarray
    compile_seconds: float
    run_seconds: float


def play(name: str, fields: dict[str, Any], num_runs: int, num_steps: int, points: int = 100) -> Curves:
    """Return the runs of one policy with the seeds 0, 1, ... on the three arms."""
    import jax
    import jax.numpy as jnp

    import envs
    import jaxrl
    from jaxrl.bandits.learner import cumulative_regret

    module = jaxrl.algorithm(name)
    env, params = envs.make("BernoulliBandit-v1", num_arms=len(RATES))
    params = params.replace(probabilities=jnp.array(RATES, jnp.float32))
    keys = jax.vmap(jax.random.key)(jnp.arange(num_runs))
    config = module.Config(**fields)
    if hasattr(config, "total_steps"):
        config = config.replace(total_steps=float(num_steps))

    def run():
        begun = time.perf_counter()
        states, history = jaxrl.sweep(
            module.make,
            env,
            params,
            config,
            keys,
            num_steps,
            evaluations=1,
            eval_episodes=1,
            eval_env=(env, params.replace(max_steps=jnp.int32(1))),
            log_points=min(points, num_steps // config.num_steps),
        )
        jax.block_until_ready((states, history))
        return states, history, time.perf_counter() - begun

    *_, first = run()
    states, history, seconds = run()
    states, history = (
        jax.tree.map(lambda x: np.asarray(x)[0], t) for t in ((states.pulls, states.unidentified), history)
    )
    return Curves(
        pulls=history.metric_steps[0],
        regret=np.asarray(cumulative_regret(history)),
        optimal=history.metrics["optimal"],
        shares=np.stack([history.metrics[f"pull_share_{arm}"] for arm in range(len(RATES))], axis=-1),
        identified_after=states[1],
        compile_seconds=max(first - seconds, 0.0),
        run_seconds=seconds,
    )


def thompson_loop(num_steps: int) -> float:
    """Return the regret of one run of Thompson sampling, as tutorials write it, with SciPy's Beta samples."""
    from scipy import stats

    alpha, beta = np.ones(len(RATES)), np.ones(len(RATES))
    regret = 0.0
    for _ in range(num_steps):
        theta = [stats.beta.rvs(alpha[arm], beta[arm]) for arm in range(len(RATES))]
        arm = np.argmax(theta)
        reward = np.random.binomial(1, RATES[arm])
        alpha[arm] += reward
        beta[arm] += 1 - reward
        regret += max(RATES) - RATES[arm]
    return regret


def epsilon_greedy_loop(num_steps: int, epsilon: float = 0.1) -> float:
    """Return the regret of one run of epsilon-greedy, written as a plain NumPy loop."""
    count, total = np.zeros(len(RATES)), np.zeros(len(RATES))
    regret = 0.0
    for _ in range(num_steps):
        if np.random.random() < epsilon:
            arm = np.random.randint(len(RATES))
        else:
            arm = np.argmax(total / np.maximum(count, 1))
        count[arm] += 1
        total[arm] += np.random.binomial(1, RATES[arm])
        regret += max(RATES) - RATES[arm]
    return regret


def ucb1_loop(num_steps: int) -> float:
    """Return the regret of one run of UCB1, written as a plain NumPy loop."""
    count, total = np.zeros(len(RATES)), np.zeros(len(RATES))
    regret = 0.0
    for n in range(num_steps):
        arm = n if n < len(RATES) else np.argmax(total / count + np.sqrt(2 * np.log(n) / count))
        count[arm] += 1
        total[arm] += np.random.binomial(1, RATES[arm])
        regret += max(RATES) - RATES[arm]
    return regret


def thompson_vectorised(num_runs: int, num_steps: int, seed: int = 0) -> np.ndarray:
    """Return the regrets `[R]` of Thompson sampling in NumPy, all runs side by side: an independent check."""
    rng = np.random.default_rng(seed)
    rates, rows = np.array(RATES), np.arange(num_runs)
    alpha, beta = np.ones((num_runs, len(RATES))), np.ones((num_runs, len(RATES)))
    for _ in range(num_steps):
        arm = np.argmax(rng.beta(alpha, beta), axis=1)
        reward = rng.random(num_runs) < rates[arm]
        alpha[rows, arm] += reward
        beta[rows, arm] += ~reward
    pulls = alpha + beta - 2
    return pulls @ (rates.max() - rates)


def main() -> int:
    """Measure, print the tables and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few runs: does it work?")
    parser.add_argument("--runs", type=int, default=None, help="1,000, or 40 with --quick")
    parser.add_argument("--steps", type=_report.positive, default=None, help="10,000, or 1,000 with --quick")
    parser.add_argument(
        "--loop-rounds", type=int, default=None, help="runs of each loop; 5, or 1 with --quick"
    )
    args = parser.parse_args()
    num_runs, num_steps = (
        args.runs or (40 if args.quick else 1_000),
        args.steps or (1_000 if args.quick else 10_000),
    )
    rounds = args.loop_rounds or (1 if args.quick else 5)
    prepare_jax()
    np.random.seed(0)
    from jaxrl.bandits.ab_test import sample_size

    loops = {
        "thompson": speed(thompson_loop, rounds, num_steps),
        "epsilon_greedy": speed(epsilon_greedy_loop, rounds, num_steps),
        "ucb1": speed(ucb1_loop, rounds, num_steps),
    }
    begun = time.perf_counter()
    check = thompson_vectorised(num_runs, num_steps)
    loops["thompson, NumPy over all runs"] = num_runs * num_steps / (time.perf_counter() - begun)
    curves = {name: play(name, fields, num_runs, num_steps) for name, fields in POLICIES.items()}
    speeds = speed_table(loops, curves, num_runs, num_steps)

    test_steps = float(len(RATES) * sample_size(RATES[0], RATES[1] - RATES[0], num_variants=len(RATES) - 1))
    tested = play("ab_test", {"test_steps": test_steps}, num_runs, num_steps)
    print(
        f"\nthe A/B test has {test_steps:,.0f} visitors: power 0.8 to tell {RATES[1]:.0%} from {RATES[0]:.0%}"
    )
    claims = claims_table(curves | {"ab_test": tested}, check, num_runs, num_steps)
    _report.write(
        "bandits",
        {
            "rates": RATES,
            "runs": num_runs,
            "steps": num_steps,
            "loops": loops,
            "speeds": speeds,
            "ab_test_steps": test_steps,
            "claims": claims,
        },
        args.quick,
    )
    return 0


def speed(loop: Callable[[int], float], rounds: int, num_steps: int) -> float:
    """Return the pulls a second of a loop: the median over the rounds."""
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        loop(num_steps)
        seconds.append(time.perf_counter() - begun)
    return num_steps / _report.median(seconds)


def speed_table(
    loops: dict[str, float], curves: dict[str, Curves], num_runs: int, num_steps: int
) -> list[dict]:
    """Print how fast everything is, and return it."""
    rows = [
        (f"loop: {name}", "", "", f"{own:,.0f}", f"{own / loops['thompson']:.1f}", "")
        for name, own in loops.items()
    ]
    results = []
    for name, curve in curves.items():
        own = num_runs * num_steps / curve.run_seconds
        ratio, wanted = own / loops["thompson"], WANTED.get(name)
        results.append(
            {
                "policy": name,
                "compile_seconds": curve.compile_seconds,
                "run_seconds": curve.run_seconds,
                "pulls_per_second": own,
                "ratio_to_scipy_loop": ratio,
                "ratio_to_own_loop": own / loops[name] if name in loops else None,
                "wanted": wanted,
            }
        )
        rows.append(
            (
                name,
                f"{curve.compile_seconds:.1f}",
                f"{curve.run_seconds:.2f}",
                f"{own:,.0f}",
                f"{ratio:.0f}",
                "" if wanted is None else f"{wanted:.0f}",
            )
        )
    total = sum(curve.run_seconds for curve in curves.values())
    rows.append(("all six", "", f"{total:.2f}", "", "", f"< {WANTED_SECONDS:.0f} s"))
    header = (
        f"{num_runs:,} runs x {num_steps:,} pulls",
        "compile s",
        "run s",
        "pulls/s",
        "x SciPy loop",
        "wanted",
    )
    print(_report.table(header, rows))
    return [*results, {"policy": "all", "run_seconds": total, "wanted_seconds": WANTED_SECONDS}]


def claims_table(
    curves: dict[str, Curves], check: np.ndarray, num_runs: int, num_steps: int
) -> dict[str, dict[str, Any]]:
    """Print what the runs say about the claims, and return it."""
    from jaxrl import stats
    from jaxrl.bandits.bounds import lai_robbins

    def at(name, pulls):
        return curves[name].regret[:, np.searchsorted(curves[name].pulls, pulls)]

    def ratio(resampled, axis):
        means = resampled.mean(axis=1)
        return means[..., 0] / means[..., 1]

    def over_thompson(name, pulls):
        both = np.stack([at(name, pulls), at("thompson", pulls)], axis=1)
        return stats.stratified_bootstrap(both, ratio, reps=2000)

    uniform = max(RATES) - float(np.mean(RATES))
    rows: list[tuple[str, stats.Interval | float]] = []
    for pulls in (num_steps // 2, num_steps):
        for name in curves:
            rows.append((f"regret of {name} after {pulls:,}", stats.mean_interval(at(name, pulls))))
        for name in ("epsilon_greedy", "ab_test"):
            rows.append((f"regret of {name} / of thompson after {pulls:,}", over_thompson(name, pulls)))
        rows.append((f"regret of equal allocation after {pulls:,} (exact)", uniform * pulls))
        rows.append((f"Lai and Robbins' C ln n at {pulls:,}", lai_robbins(RATES) * float(np.log(pulls))))
    rows.append((f"regret of thompson in plain NumPy after {num_steps:,}", stats.mean_interval(check)))
    for name, curve in curves.items():
        after = curve.identified_after
        late = curve.pulls > 0.8 * num_steps
        best = int(np.argmax(RATES))
        share = stats.mean_interval(curve.shares[:, late, best].mean(axis=1))
        rows.append((f"{name}: pulls until it recommends the best arm for good", stats.mean_interval(after)))
        rows.append((f"{name}: the same, median", float(np.median(after))))
        rows.append((f"{name}: runs that have done so by 2,000 pulls", float(np.mean(after <= 2000))))
        rows.append((f"{name}: share of the best arm in the last fifth", share))
    print(
        "\n"
        + _report.table(
            ("claim", "measured [95 %]"),
            [
                (n, v if isinstance(v, str) else f"{v:.2f}" if isinstance(v, float) else str(v))
                for n, v in rows
            ],
        )
    )
    return {
        name: {"value": value}
        if not isinstance(value, stats.Interval)
        else {"value": value.estimate, "low": value.low, "high": value.high, "runs": value.num_runs}
        for name, value in rows
    }


if __name__ == "__main__":
    raise SystemExit(main())
