"""Temporal differences against Monte Carlo on a random walk of five states: example 6.2 of the book.

Left what TD(0) believes after 0, 1, 10 and 100 episodes of one run, beside the truth. Right the error, the
root of the mean square over the states, averaged over 1,000 runs: the curves of TD end below those of Monte
Carlo, and a large step size learns fast and stops early.

Source: Sutton and Barto (2018), Reinforcement Learning, 2nd edition, example 6.2.
"""

from pathlib import Path
from typing import Any

import numpy as np

from experiments import plots

EPISODES = 100
STEPS = 1_800
TD_RATES = (0.05, 0.1, 0.15)
MONTE_CARLO_RATES = (0.01, 0.02, 0.03, 0.04)
SHOWN = (1, 10, 100)


def draw(path: Path, quick: bool = False) -> Path:
    """Simulate, draw beliefs and errors into the PNG `path`, and return it."""
    return plots.save(figure(*simulate(20 if quick else 1_000)), path)


def simulate(num_runs: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return the exact values `[5]`, what TD believed in one run, and the mean errors by method.

    The beliefs are `[1 + EPISODES, 5]`, the errors `[step sizes, 1 + EPISODES]`; both begin before the first
    episode.
    """
    import jax
    import jax.numpy as jnp

    import envs
    from envs.tabular import extract
    from jaxrl.tabular import planning, prediction
    from jaxrl.tabular.episodes import at_ends

    env, params = envs.make("RandomWalk-v1")
    policy = jnp.ones((7, 1))
    exact = planning.evaluate(extract(env, params), policy, 1.0)[1:-1]
    start = jnp.zeros(7).at[1:-1].set(0.5)
    methods = {"TD": (prediction.td, TD_RATES), "Monte Carlo": (prediction.monte_carlo, MONTE_CARLO_RATES)}

    def error(value):
        return jnp.sqrt(jnp.mean((value - exact) ** 2))

    def run(key):
        steps = prediction.sample(env, params, policy, key, STEPS)

        def errors(method, rate):
            _, measured = method(start, steps, rate, 1.0, measure=lambda value: error(value[1:-1]))
            return jnp.concatenate([error(start[1:-1])[None], at_ends(steps.done, measured, EPISODES)])

        _, beliefs = prediction.td(start, steps, 0.1, 1.0, measure=lambda value: value[1:-1])
        beliefs = jnp.concatenate([start[None, 1:-1], at_ends(steps.done, beliefs, EPISODES)])
        by_rate = {
            name: jax.vmap(lambda rate, method=method: errors(method, rate))(jnp.array(rates))
            for name, (method, rates) in methods.items()
        }
        return beliefs, by_rate

    beliefs, errors = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), num_runs))
    return (
        np.asarray(exact),
        np.asarray(beliefs[0]),
        {k: np.asarray(v).mean(axis=0) for k, v in errors.items()},
    )


def figure(exact: np.ndarray, beliefs: np.ndarray, errors: dict[str, np.ndarray]) -> Any:
    """Return the matplotlib figure of one run's beliefs and of all runs' errors."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(plots.STYLE):
        drawn = Figure(figsize=(11.0, 4.4), layout="constrained")
        left, right = drawn.subplots(1, 2)
        states = np.arange(1, 6)
        left.plot(states, exact, "k--", marker="o", label="exact")
        left.plot(states, beliefs[0], color=plots.COLORS[6], marker="o", label="at first")
        for color, episode in zip(plots.COLORS, SHOWN, strict=False):
            label = f"after {episode} episode{'s' if episode > 1 else ''}"
            left.plot(states, beliefs[episode], color=color, marker="o", label=label)
        left.set_xticks(states, ["A", "B", "C", "D", "E"])
        left.set_title("One run of TD(0), step size 0.1", loc="left")
        left.set_xlabel("state")
        left.set_ylabel("value")
        left.set_ylim(0, 1)
        left.legend()
        methods = {"TD": (plots.COLORS[0], TD_RATES), "Monte Carlo": (plots.COLORS[1], MONTE_CARLO_RATES)}
        for name, (color, rates) in methods.items():
            for curve, rate, line in zip(errors[name], rates, ("-", "--", "-.", ":"), strict=False):
                right.plot(curve, color=color, linestyle=line, label=f"{name}, {rate:g}")
            if len(rates) == 3:  # fill the column of the legend
                right.plot([], [], " ", label=" ")
        right.set_title("Error by step size", loc="left")
        right.set_xlabel("episodes")
        right.set_ylabel("RMS error, mean over the runs")
        right.set_xlim(0, EPISODES)
        right.set_ylim(0, 0.25)
        right.legend(ncols=2, loc="upper right")
    return drawn
