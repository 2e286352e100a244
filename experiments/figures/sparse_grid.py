"""Prioritised against uniform replay on a grid where one step in hundreds is rewarded: four rooms.

The memory holds a random walk of T steps through the four rooms, which never slip here; only the step into
the goal is rewarded, and many pairs of cell and action occur once. How many updates of a table until it is
right for all that the memory holds? Counted as for the blind cliff walk, with gamma = 0.95.
"""

from pathlib import Path

import numpy as np

from experiments import plots
from experiments.figures.blind_cliff import SEEDS, count_updates, figure
from jaxrl import stats

METHODS = {"uniform": "uniform", "prioritised": "prioritized"}
SIZES = (1_000, 2_000, 5_000, 10_000, 20_000)
GAMMA = 0.95


def draw(path: Path, quick: bool = False) -> Path:
    """Count the updates, draw them over the number of steps in the memory into the PNG `path`."""
    sizes, num_seeds = ((500, 1_000), 3) if quick else (SIZES, SEEDS)
    counts = {
        label: np.stack([simulate(size, method, num_seeds) for size in sizes])
        for label, method in METHODS.items()
    }
    for label, found in counts.items():
        for size, row in zip(sizes, found, strict=True):
            at = stats.stratified_bootstrap(row)
            print(f"T = {size:,}, {label}: {at.estimate:,.0f} updates [{at.low:,.0f}, {at.high:,.0f}]")
    title = "Four rooms: replay until the table is right"
    return plots.save(figure(title, "steps of a random walk in the memory", sizes, counts), path)


def experience(size: int) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Return a random walk of `size` steps and one more, as `count_updates` takes it, and its right table."""
    import jax.numpy as jnp

    import envs
    from envs.tabular import extract

    env, params = envs.make("FourRooms-v1")
    model = extract(env, params.replace(slip=jnp.float32(0)))
    follows, rewards = np.argmax(model.P, axis=-1), np.asarray(model.R)
    terminal, start = np.asarray(model.terminal), np.asarray(model.start, np.float64)
    rng = np.random.default_rng(0)

    def begin():
        return rng.choice(len(start), p=start / start.sum())

    rows, state = [], begin()
    for action in rng.integers(rewards.shape[1], size=size + 1):
        after = follows[state, action]
        rows.append((state, action, rewards[state, action], terminal[after]))
        state = begin() if terminal[after] else after
    steps = tuple(np.array(x) for x in zip(*rows, strict=True))
    *seen, reward, terminated = (x[:-1] for x in steps)
    exact, seen, change = np.zeros(rewards.shape), tuple(seen), np.inf
    while change > 1e-9:
        new = reward + GAMMA * np.where(terminated, 0.0, exact.max(axis=1)[steps[0][1:]])
        change = np.abs(new - exact[seen]).max()
        exact[seen] = new
    return steps, exact.astype(np.float32)


def simulate(size: int, method: str, num_seeds: int) -> np.ndarray:
    """Return how many updates each seed needed, `[num_seeds]`; see `count_updates`."""
    return count_updates(*experience(size), GAMMA, method, num_seeds)
