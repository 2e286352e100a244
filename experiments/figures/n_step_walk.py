"""n-step TD on a random walk of 19 states, over n and the step size: figure 7.2 of the book.

The error, the root of the mean square over the states, averaged over the first 10 episodes and 100 runs. An n
between one step and whole episodes is best, here 4, and each n has its own best step size.

Source: Sutton and Barto (2018), Reinforcement Learning, 2nd edition, example 7.1.
"""

from pathlib import Path
from typing import Any

import numpy as np

from experiments import plots

EPISODES = 10
NS = tuple(2**i for i in range(10))
RATES = np.concatenate([np.linspace(0, 0.1, 11), np.linspace(0.15, 1.0, 18)])
SHOWN_UP_TO = 0.55


def draw(path: Path, quick: bool = False) -> Path:
    """Simulate, draw the errors into the PNG `path`, and return it."""
    return plots.save(figure(simulate(4 if quick else 100)), path)


def simulate(num_runs: int) -> np.ndarray:
    """Return the mean errors `[n, step size]`."""
    import jax
    import jax.numpy as jnp

    import envs
    from envs.tabular import extract
    from jaxrl.tabular import planning, prediction
    from jaxrl.tabular.episodes import at_ends

    env, params = envs.make("RandomWalk19-v1")
    policy = jnp.ones((21, 1))
    exact = planning.evaluate(extract(env, params), policy, 1.0)[1:-1]
    # Ten episodes take 1,000 steps in the mean with a deviation of 257.
    num_steps = 2_500
    draw_steps = jax.vmap(lambda key: prediction.sample(env, params, policy, key, num_steps))
    steps = jax.jit(draw_steps)(jax.random.split(jax.random.key(0), num_runs))

    def error(value):
        return jnp.sqrt(jnp.mean((value[1:-1] - exact) ** 2))

    def score(steps, n, rate):
        _, errors = prediction.n_step_td(jnp.zeros(21), steps, rate, 1.0, n, measure=error)
        return jnp.mean(at_ends(steps.done, errors, EPISODES))

    over_rates = jax.vmap(score, in_axes=(None, None, 0))
    over_runs = jax.jit(jax.vmap(over_rates, in_axes=(0, None, None)))
    rates = jnp.asarray(RATES, jnp.float32)
    return np.stack([np.asarray(over_runs(steps, jnp.int32(n), rates)).mean(axis=0) for n in NS])


def figure(errors: np.ndarray) -> Any:
    """Return the matplotlib figure of the errors over the step size, a curve an n."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(plots.STYLE):
        drawn = Figure(figsize=(8.0, 5.0), layout="constrained")
        axis = drawn.subplots()
        colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.92, len(NS)))
        for n, curve, color in zip(NS, errors, colors, strict=True):
            axis.plot(RATES, np.where(curve < 2, curve, np.nan), color=color, label=f"n = {n}")
        best = np.unravel_index(np.nanargmin(errors), errors.shape)
        axis.plot(RATES[best[1]], errors[best], "k*", markersize=11)
        axis.annotate(
            f"least: {errors[best]:.3f}, n = {NS[best[0]]}",
            (RATES[best[1]], errors[best]),
            xytext=(0, -16),
            textcoords="offset points",
            ha="center",
        )
        axis.set_title("Random walk of 19 states, first 10 episodes", loc="left")
        axis.set_xlabel("step size")
        axis.set_ylabel("RMS error, mean over episodes and runs")
        axis.set_xlim(0, 1)
        axis.set_ylim(0.2, SHOWN_UP_TO)
        axis.legend(ncols=2, loc="lower right")
    return drawn
