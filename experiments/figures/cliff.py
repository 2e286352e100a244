"""SARSA against Q-learning along a cliff: example 6.6 of the book, with expected SARSA beside them.

Left the return of each of 500 episodes, averaged over 1,000 runs and ten episodes. Right where the greedy
policies that were learned walk: Q-learning learns the best way, along the edge, and falls off it when it
explores; SARSA, which knows that it explores, learns a way further up.

Source: Sutton and Barto (2018), Reinforcement Learning, 2nd edition, example 6.6.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments import plots

METHODS = {"SARSA": "sarsa", "Q-learning": "q_learning", "expected SARSA": "expected_sarsa"}
DRAWN_MAPS = ("SARSA", "Q-learning")
EPISODES = 500
STEPS = 20_000
LONGEST_WALK = 60


class Runs(NamedTuple):
    """What one method did.

    Attributes:
      returns: `[R, EPISODES]`.
      visited: `[H, W]`, the share of runs whose greedy policy walks over each cell.
    """

    returns: np.ndarray
    visited: np.ndarray


def draw(path: Path, quick: bool = False) -> Path:
    """Train, draw returns and ways into the PNG `path`, and return it."""
    num_runs = 20 if quick else 1_000
    return plots.save(figure({label: simulate(name, num_runs) for label, name in METHODS.items()}), path)


def simulate(name: str, num_runs: int) -> Runs:
    """Return the runs of one method with step size 0.5 and epsilon 0.1, undiscounted."""
    import jax
    import jax.numpy as jnp

    import envs
    import jaxrl
    from envs.tabular import extract
    from jaxrl.tabular.episodes import at_ends, record

    env, params = envs.make("CliffWalking-v1")
    module = jaxrl.algorithm(name)
    config = module.Config(
        learning_rate=0.5, gamma=1.0, epsilon_start=0.1, epsilon_schedule="constant", num_steps=1
    )
    algorithm = module.make(env, params, config)
    mdp = extract(env, params)

    def walk(q):
        def step(state, _):
            following = jnp.argmax(mdp.P[state, jnp.argmax(q[state])])
            return following, following

        first = jnp.argmax(mdp.start)
        _, states = jax.lax.scan(step, first, length=LONGEST_WALK)
        return jnp.zeros(len(q), bool).at[states].set(True).at[first].set(True)

    def run(key):
        state, metrics = record(algorithm, algorithm.init(key), STEPS)
        return at_ends(metrics["episodes"], metrics["episode_return"], EPISODES), walk(state.tables)

    returns, visited = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), num_runs))
    return Runs(np.asarray(returns), np.asarray(visited).mean(axis=0).reshape(params.cells.shape))


def figure(runs: dict[str, Runs]) -> Any:
    """Return the matplotlib figure of the returns and of the ways of the greedy policies."""
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    with matplotlib.rc_context(plots.STYLE):
        drawn = Figure(figsize=(12.0, 4.6), layout="constrained")
        grid = drawn.add_gridspec(2, 2, width_ratios=(1.15, 1.0))
        left = drawn.add_subplot(grid[:, 0])
        for (label, run), color in zip(runs.items(), plots.COLORS, strict=False):
            by_ten = np.nanmean(run.returns, axis=0).reshape(-1, 10).mean(axis=1)
            left.plot(np.arange(5, EPISODES, 10), by_ten, color=color, label=label)
        left.axhline(-13, color="k", linestyle=":", linewidth=1.5, label="best policy, without exploring")
        left.set_title("Return while learning, epsilon 0.1", loc="left")
        left.set_xlabel("episode")
        left.set_ylabel(f"return, mean over ten episodes and {len(runs['SARSA'].returns):,} runs")
        left.set_xlim(0, EPISODES)
        left.set_ylim(-100, 0)
        left.legend(loc="lower right")
        shades = ScalarMappable(Normalize(0, 1), "Blues")
        for row, label in enumerate(DRAWN_MAPS):
            axis = drawn.add_subplot(grid[row, 1])
            axis.imshow(runs[label].visited, cmap="Blues", vmin=0, vmax=1)
            height, width = runs[label].visited.shape
            axis.add_patch(Rectangle((0.5, height - 1.5), width - 2, 1, color="#4d4d4d"))
            axis.text(width / 2 - 0.5, height - 1, "cliff", color="white", ha="center", va="center")
            for column, letter in ((0, "S"), (width - 1, "G")):
                axis.text(column, height - 1, letter, ha="center", va="center", color="white", weight="bold")
            axis.set_xticks(np.arange(width + 1) - 0.5, labels=[])
            axis.set_yticks(np.arange(height + 1) - 0.5, labels=[])
            axis.tick_params(length=0)
            axis.set_title(f"{label}: where its greedy policies walk", loc="left")
        drawn.colorbar(shades, ax=drawn.axes[1:], shrink=0.8, label="share of runs")
    return drawn
