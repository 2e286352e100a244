"""Double DQN believes less than DQN, and is nearer to the truth.

A world where nothing can be gained: five states, ten actions in each, and every reward is normal noise of
mean 0, so that the true value of whatever is done is exactly 0. The largest of ten noisy estimates is above 0
in the mean; DQN's targets are made of such, again and again. With double targets another network, an older
one, says what the chosen action is worth. Left what the greedy policy expects (solid) and what it then earns
without the noise (dotted), discounted, averaged over all steps of its episodes. Right the difference.

The replay is small and the target network's period twice as long, so that its errors are not those of the
online network. Where both learn from the same steps, double targets help less.

Source: van Hasselt et al. (2016), https://arxiv.org/abs/1509.06461, section 3 and figure 3.
"""

from pathlib import Path
from typing import Any

import numpy as np

from experiments import plots
from jaxrl import stats

METHODS = {"DQN": False, "double DQN": True}
STEPS = 32_000
POINTS = 16
SEEDS = 20
CONFIG = {
    "learning_rate": 1e-2,
    "gamma": 0.9,
    "num_envs": 8,
    "batch_size": 64,
    "buffer_size": 800,
    "learning_starts": 800,
    "target_update_period": 1_600,
    "hidden_sizes": (32,),
    "epsilon_end": 0.1,
}


def draw(path: Path, quick: bool = False) -> Path:
    """Train both, measure and draw what they believe and get into the PNG `path`, and return it."""
    steps, num_seeds = (2_048, 2) if quick else (STEPS, SEEDS)
    found = {label: simulate(double, steps, num_seeds) for label, double in METHODS.items()}
    for label, (predicted, realised) in found.items():
        at = stats.mean_interval((predicted - realised)[:, POINTS // 2 :].mean(axis=1))
        print(f"{label}: overestimates by {at.estimate:.2f} [{at.low:.2f}, {at.high:.2f}] in the second half")
    return plots.save(figure(steps, found), path)


def simulate(double: bool, num_steps: int, num_seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean values predicted and realised in the course of training, `[num_seeds, POINTS]` each."""
    import jax
    import jax.numpy as jnp

    import envs
    from envs.wrappers import wrap
    from jaxrl import health
    from jaxrl.agents import dqn
    from jaxrl.train import run_interval

    world, params = envs.make("RandomMDP-v1", num_states=5, num_actions=10)
    params = params.replace(
        R=jnp.zeros_like(params.R), terminal=jnp.zeros_like(params.terminal), max_steps=jnp.int32(60)
    )
    config = dqn.Config(**CONFIG, double=double, total_steps=float(num_steps))
    algorithm = dqn.make(*wrap(world, params, "transform_reward", noise=1.0), config)
    per_point = num_steps // algorithm.steps_per_iteration // POINTS

    def run(key):
        key_init, key_measure = jax.random.split(key)

        def segment(state, at):
            index, key = at
            state, _ = run_interval(algorithm, state, index * per_point, (index + 1) * per_point)
            found = health.beliefs(algorithm.policy(state), world, params, key, 4, config.gamma)
            count = jnp.sum(found.known)
            means = [jnp.sum(x * found.known) / count for x in (found.predicted, found.realised)]
            return state, tuple(means)

        keys = jax.random.split(key_measure, POINTS)
        return jax.lax.scan(segment, algorithm.init(key_init), (jnp.arange(POINTS), keys))[1]

    predicted, realised = jax.jit(jax.vmap(run))(jax.vmap(jax.random.key)(jnp.arange(num_seeds)))
    return np.asarray(predicted), np.asarray(realised)


def figure(num_steps: int, found: dict[str, tuple[np.ndarray, np.ndarray]]) -> Any:
    """Return the matplotlib figure of values and returns, and of their difference."""
    import matplotlib
    from matplotlib.figure import Figure

    steps = np.linspace(0, num_steps, POINTS + 1)[1:]
    with matplotlib.rc_context(plots.STYLE):
        drawn = Figure(figsize=(11.0, 4.4), layout="constrained")
        left, right = drawn.subplots(1, 2)
        for (label, (predicted, realised)), color in zip(found.items(), plots.COLORS, strict=False):
            left.plot(steps, predicted.mean(axis=0), color=color, label=f"{label}: expected")
            left.plot(steps, realised.mean(axis=0), color=color, linestyle=":", label=f"{label}: earned")
            intervals = [stats.mean_interval(column) for column in (predicted - realised).T]
            middle, low, high = np.array([(i.estimate, i.low, i.high) for i in intervals]).T
            right.plot(steps, middle, color=color, marker="o", markersize=5, label=label)
            right.fill_between(steps, low, high, color=color, alpha=0.18, linewidth=0)
        right.axhline(0, color="k", linewidth=1)
        left.set_title("What is expected, and what is earned", loc="left")
        left.set_ylabel("discounted return, mean over steps and seeds")
        right.set_title("Overestimation", loc="left")
        num_seeds = len(next(iter(found.values()))[0])
        right.set_ylabel(f"expected - earned (mean, 95 % interval, {num_seeds} seeds)")
        for axis in (left, right):
            axis.set_xlabel("environment steps")
            axis.set_xlim(0, num_steps)
            axis.legend()
    return drawn
