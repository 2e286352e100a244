"""Planning with a learned model in mazes: figures 8.2 and 8.4 of the book.

Left the steps of each of 50 episodes of Dyna-Q in a maze whose shortest way takes 14, with 0, 5 and 50
imagined steps after each real one, averaged over 30 runs: with 50 the way is found within three episodes.
Right the rewards in a maze whose only passage closes after 1,000 steps while one opens at its other end:
Dyna-Q+, which doubts what it has not tried for long, finds it sooner than Dyna-Q.

Source: Sutton and Barto (2018), Reinforcement Learning, 2nd edition, examples 8.1 and 8.2.
"""

from pathlib import Path
from typing import Any

import numpy as np

from experiments import plots

PLANNING_STEPS = (0, 5, 50)
EPISODES = 50
# Enough for 50 episodes without planning.
STEPS = 16_000
CHANGE, LENGTH = 1_000, 3_000


def draw(path: Path, quick: bool = False) -> Path:
    """Train, draw episode lengths and rewards into the PNG `path`, and return it."""
    runs = 4 if quick else 30
    lengths = {n: simulate_maze(n, runs) for n in PLANNING_STEPS}
    rewards = {name: simulate_change(name, runs) for name in ("dyna_q", "dyna_q_plus")}
    return plots.save(figure(lengths, rewards), path)


def simulate_maze(planning_steps: int, num_runs: int) -> np.ndarray:
    """Return the lengths of Dyna-Q's episodes `[R, EPISODES]`, with the book's settings."""
    import jax
    import jax.numpy as jnp

    import envs
    from jaxrl.tabular.control import dyna_q
    from jaxrl.tabular.episodes import at_ends, record

    env, params = envs.make("DynaMaze-v1")
    config = dyna_q.Config(
        planning_steps=planning_steps,
        learning_rate=0.1,
        gamma=0.95,
        epsilon_start=0.1,
        epsilon_schedule="constant",
        num_steps=1,
    )
    algorithm = dyna_q.make(env, params.replace(max_steps=jnp.int32(1_000_000)), config)
    num_steps = STEPS if planning_steps == 0 else STEPS // 4

    def run(key):
        _, metrics = record(algorithm, algorithm.init(key), num_steps)
        return at_ends(metrics["episodes"], metrics["episode_length"], EPISODES)

    return np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), num_runs)))


def simulate_change(name: str, num_runs: int) -> np.ndarray:
    """Return the rewards summed up to each step `[R, LENGTH]` in the maze whose passage moves."""
    import jax
    import jax.numpy as jnp

    import envs
    import jaxrl
    from envs.gridworlds.grid import parse_map
    from envs.gridworlds.maze import BLOCKING_MAZE
    from jaxrl.tabular.episodes import record

    module = jaxrl.algorithm(name)
    config = module.Config(
        planning_steps=10,
        learning_rate=1.0,
        gamma=0.95,
        epsilon_start=0.1,
        epsilon_schedule="constant",
        num_steps=1,
    )
    if hasattr(config, "kappa"):
        config = config.replace(kappa=1e-3)
    env, params = envs.make("DynaMaze-v1", map=BLOCKING_MAZE[0])
    params = params.replace(max_steps=jnp.int32(1_000_000))
    before, after = (
        module.make(env, params.replace(cells=parse_map(map)[0]), config) for map in BLOCKING_MAZE
    )

    def run(key):
        state, first = record(before, before.init(key), CHANGE)
        _, second = record(after, state, LENGTH - CHANGE, start=CHANGE)
        # The goal pays 1 and ends the episode.
        return jnp.cumsum(jnp.concatenate([first["episodes"], second["episodes"]]))

    return np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(1), num_runs)))


def figure(lengths: dict[int, np.ndarray], rewards: dict[str, np.ndarray]) -> Any:
    """Return the matplotlib figure of episode lengths and of summed rewards."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(plots.STYLE):
        drawn = Figure(figsize=(11.0, 4.4), layout="constrained")
        left, right = drawn.subplots(1, 2)
        for (n, steps), color in zip(lengths.items(), plots.COLORS, strict=False):
            label = f"{n} planning steps" if n else "none: Q-learning"
            left.plot(np.arange(1, EPISODES + 1), np.nanmean(steps, axis=0), color=color, label=label)
        left.axhline(14, color="k", linestyle=":", linewidth=1.5, label="shortest way")
        left.set_title("Dyna-Q in a maze", loc="left")
        left.set_xlabel("episode")
        left.set_ylabel(f"steps, mean over {len(lengths[0])} runs")
        left.set_xlim(1, EPISODES)
        left.set_yscale("log")
        left.set_ylim(10, 2_000)
        left.legend()
        labels = {"dyna_q": "Dyna-Q", "dyna_q_plus": "Dyna-Q+"}
        for (name, sums), color in zip(rewards.items(), plots.COLORS[3:], strict=False):
            mean, deviation = sums.mean(axis=0), sums.std(axis=0, ddof=1)
            width = 1.96 * deviation / np.sqrt(len(sums))
            right.plot(np.arange(1, LENGTH + 1), mean, color=color, label=labels[name])
            right.fill_between(
                np.arange(1, LENGTH + 1), mean - width, mean + width, color=color, alpha=0.2, linewidth=0
            )
        right.axvline(CHANGE, color="k", linestyle=":", linewidth=1.5)
        right.annotate(
            "the passage moves",
            (CHANGE, 0.95),
            xycoords=("data", "axes fraction"),
            xytext=(6, 0),
            textcoords="offset points",
            va="top",
        )
        right.set_title("Dyna-Q and Dyna-Q+ in a changing maze", loc="left")
        right.set_xlabel("step")
        right.set_ylabel("summed reward, mean and 95 % interval")
        right.set_xlim(0, LENGTH)
        right.set_ylim(bottom=0)
        right.legend(loc="center left")
    return drawn
