"""`python -m experiments.compare.tabular [--quick]`: tabular Q-learning beside the loop of tutorials.

FrozenLake 8x8 without slipping, step size 0.8, discount 0.95. The loop is plain Python on Gymnasium, a seed,
2,000 episodes; ours is `jaxrl.sweep` over 1, 16 and 256 seeds on all devices, one host device a core, and on
one. Rounds of both alternate within one process. Prints a Markdown table, writes `results/tabular.json`.
"""

import argparse
import time
from typing import Any

import numpy as np

from experiments.compare import _report
from experiments.startup import prepare_jax

ALPHA, GAMMA = 0.8, 0.95
WANTED = {256: 50.0}


def main() -> int:
    """Measure, print the table and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few steps: does it run?")
    parser.add_argument("--seeds", type=_report.positive, nargs="+", default=[1, 16, 256])
    parser.add_argument(
        "--steps", type=_report.positive, default=None, help="of each seed; 100,000, or 2,000 with --quick"
    )
    parser.add_argument("--episodes", type=int, default=None, help="of the loop; 2,000, or 50 with --quick")
    parser.add_argument("--rounds", type=_report.positive, default=None, help="5, or 1 with --quick")
    args = parser.parse_args()
    num_steps = args.steps or (2_000 if args.quick else 100_000)
    episodes = args.episodes or (50 if args.quick else 2_000)
    rounds = args.rounds or (1 if args.quick else 5)
    prepare_jax()
    np.random.seed(0)

    import jax

    from jaxrl.parallel import cell_mesh

    meshes = {
        f"{n} device{'s' if n > 1 else ''}": cell_mesh(jax.devices()[:n]) for n in {1, jax.device_count()}
    }
    programs = {
        f"{seeds} seed{'s' if seeds > 1 else ''}, {devices}": (seeds, mesh)
        for seeds in args.seeds
        for devices, mesh in meshes.items()
        if seeds >= mesh.size
    }
    loop, ours = [], {name: [] for name in programs}
    compile_seconds = {name: train(*program, num_steps)[0] for name, program in programs.items()}
    for _ in range(rounds):
        loop.append(gymnasium_loop(episodes))
        for name, program in programs.items():
            ours[name].append(train(*program, num_steps))

    speed = _report.median([steps / seconds for seconds, steps, _ in loop])
    won = _report.median([wins for *_, wins in loop])
    rows = [("loop on Gymnasium, 1 seed", "", f"{speed:,.0f}", "1", "", f"{won:.2f}")]
    results: list[dict[str, Any]] = []
    for name, (seeds, mesh) in programs.items():
        seconds = [each for each, _ in ours[name]]
        own = seeds * num_steps / _report.median(seconds)
        ratio = own / speed
        wanted = WANTED.get(seeds) if mesh.size == jax.device_count() else None
        wins = _report.median([share for _, share in ours[name]])
        results.append(
            {
                "seeds": seeds,
                "devices": mesh.size,
                "compile_seconds": max(compile_seconds[name] - _report.median(seconds), 0.0),
                "run_seconds": seconds,
                "steps_per_second": own,
                "ratio": ratio,
                "wanted": wanted,
                "wins": wins,
            }
        )
        cells = (f"{results[-1]['compile_seconds']:.1f}", f"{own:,.0f}", f"{ratio:.0f}")
        rows.append((name, *cells, "" if wanted is None else f"{wanted:.0f}", f"{wins:.2f}"))
    print(_report.table(("Q-learning", "compile s", "steps/s", "x loop", "wanted", "wins"), rows))
    _report.write(
        "tabular",
        {
            "steps": num_steps,
            "loop": [{"run_seconds": s, "steps": n, "wins": w} for s, n, w in loop],
            "loop_steps_per_second": speed,
            "rows": results,
        },
        args.quick,
    )
    return 0


def train(num_seeds: int, mesh: Any, num_steps: int) -> tuple[float, float]:
    """Return the seconds of a sweep over seeds, and the share of its greedy policies that reach the goal."""
    import jax
    import jax.numpy as jnp

    import envs
    import jaxrl
    from jaxrl.tabular.control import q_learning

    env, params = envs.make("FrozenLake8x8-v1")
    params = params.replace(slip=jnp.float32(0.0))
    config = q_learning.Config(
        learning_rate=ALPHA,
        gamma=GAMMA,
        epsilon_start=1.0,
        epsilon_end=0.01,
        epsilon_schedule="exponential",
        exploration_fraction=1.0,
        total_steps=float(num_steps),
        num_steps=250,
    )
    keys = jax.vmap(jax.random.key)(jnp.arange(num_seeds))
    begun = time.perf_counter()
    state, history = jaxrl.sweep(
        q_learning.make,
        env,
        params,
        config,
        keys,
        num_steps,
        mesh=mesh,
        evaluations=1,
        eval_episodes=1,
        log_points=1,
    )
    jax.block_until_ready((state, history))
    seconds = time.perf_counter() - begun
    return seconds, float(history.episode_return[0, :, -1].mean())


def gymnasium_loop(num_episodes: int) -> tuple[float, int, float]:
    """Return the seconds, the steps, and the share of wins in the last tenth, of a plain Python loop.

    Written as tutorials do: `np.argmax` for the best action, a decay of epsilon by 0.999 an episode. Since
    `np.argmax` takes the first of equal actions, it may never find the goal.
    """
    import gymnasium

    env = gymnasium.make("FrozenLake-v1", map_name="8x8", is_slippery=False)
    Q = np.zeros((64, 4))
    epsilon, steps, wins = 1.0, 0, []
    begun = time.perf_counter()
    for _ in range(num_episodes):
        s, _ = env.reset()
        done, r = False, 0.0
        while not done:
            a = env.action_space.sample() if np.random.random() < epsilon else np.argmax(Q[s])
            s_next, r, terminated, truncated, _ = env.step(a)
            done = terminated or truncated
            Q[s, a] += ALPHA * (float(r) + GAMMA * np.max(Q[s_next]) * (1 - terminated) - Q[s, a])
            s = s_next
            steps += 1
        epsilon = max(0.01, epsilon * 0.999)
        wins.append(float(r))
    seconds = time.perf_counter() - begun
    return seconds, steps, float(np.mean(wins[-max(num_episodes // 10, 1) :]))


if __name__ == "__main__":
    raise SystemExit(main())
