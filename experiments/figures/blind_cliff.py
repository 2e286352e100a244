"""Prioritised against uniform replay where one step in thousands is rewarded: the blind cliff walk.

A walk of n states with a right and a wrong action in each; the wrong one ends the episode, and only the last
right one is rewarded. The memory holds what acting at random 2^n times gives: 2^(n+1) - 2 steps, one of them
with a reward. How many updates of a table until it is right? With uniform replay about as many as there are
steps, again and again; replaying in proportion to the error needs far fewer, and the more so the longer the
walk. The bound is an oracle that always knows which step helps most.

Source: Schaul et al. (2016), "Prioritized Experience Replay", https://arxiv.org/abs/1511.05952, section 3.1,
figure 1 and appendix A: step size 1/4, gamma = 1 - 1/n, a table from N(0, 0.1), a mean squared error of 1e-3.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import plots
from jaxrl import stats

METHODS = {"uniform": "uniform", "prioritised": "prioritized", "oracle": "oracle"}
LENGTHS = tuple(range(2, 13))
RATE = 0.25
TOLERANCE = 1e-3
MOST_UPDATES = 4_000_000
SEEDS = 20


def draw(path: Path, quick: bool = False) -> Path:
    """Count the updates, draw them over the number of steps in the memory into the PNG `path`."""
    lengths, num_seeds = ((2, 3, 4), 3) if quick else (LENGTHS, SEEDS)
    counts = {
        label: np.stack([simulate(length, method, num_seeds) for length in lengths])
        for label, method in METHODS.items()
    }
    for label, found in counts.items():
        at = stats.stratified_bootstrap(found[-1])
        print(f"n = {lengths[-1]}, {label}: {at.estimate:,.0f} updates [{at.low:,.0f}, {at.high:,.0f}]")
    sizes = [2 ** (length + 1) - 2 for length in lengths]
    title = "Blind cliff walk: replay until the table is right"
    return plots.save(figure(title, "steps in the memory, one of them rewarded", sizes, counts), path)


def experience(length: int) -> tuple[np.ndarray, ...]:
    """Return the steps of all 2^n sequences of actions in a row: state, action, reward, terminated.

    Action 1 is right.

    >>> [x.tolist() for x in experience(1)]
    [[0, 0], [0, 1], [0.0, 1.0], [True, True]]
    """
    rows = []
    for sequence in range(2**length):
        for state in range(length):
            right = sequence >> (length - 1 - state) & 1
            last = state == length - 1
            rows.append((state, right, float(right and last), not right or last))
            if not right:
                break
    state, action, reward, terminated = zip(*rows, strict=True)
    return np.array(state), np.array(action), np.array(reward, np.float32), np.array(terminated)


def simulate(length: int, method: str, num_seeds: int) -> np.ndarray:
    """Return how many updates each seed needed, `[num_seeds]`; see `count_updates`."""
    gamma = 1.0 - 1.0 / length
    exact = np.zeros((length, 2), np.float32)
    exact[:, 1] = gamma ** np.arange(length - 1, -1, -1)
    steps = tuple(np.append(x, x[:1]) for x in experience(length))
    return count_updates(steps, exact, gamma, method, num_seeds)


def count_updates(
    steps: tuple[np.ndarray, ...], exact: np.ndarray, gamma: float, method: str, num_seeds: int
) -> np.ndarray:
    """Return how many updates each seed needed until its table was right, at most `MOST_UPDATES`.

    Args:
      steps: what the memory holds, `[T + 1]` each: states, actions, rewards and whether the step terminated.
        Where it did not, the next step begins in the state that it led to. The last one only tells that, and
        is never drawn.
      exact: the right table, `[S, A]`. Only pairs of state and action that the memory holds are looked at;
        others are worth 0.
      gamma: the discount that it is right for.
      method: "uniform" or "prioritized" (alpha 1, and no importance weights, as in the paper), or "oracle".
      num_seeds: tables and orders of replay.
    """
    import jax
    import jax.numpy as jnp

    from jaxrl.replay import Ring, Step, prioritized, uniform

    # The newest row of a ring cannot be drawn, since what follows it is not known.
    ring = Ring(capacity=len(steps[0]), num_envs=1, block=len(steps[0]))
    state, action, reward, terminated = (x[:, None] for x in steps)
    written = jnp.int32(ring.rows)
    step = Step(
        obs=jnp.asarray(state, jnp.int32),
        action=jnp.asarray(action, jnp.int32),
        reward=jnp.asarray(reward),
        terminated=jnp.asarray(terminated),
        truncated=jnp.zeros((ring.rows, 1), bool),
    )
    memory = ring.add(ring.init(jax.tree.map(lambda x: x[0], step)), step, step.obs, jnp.int32(0))
    # Each pair of state and action once, of which the memory may hold many.
    _, first_seen = np.unique((steps[0] * exact.shape[1] + steps[1])[:-1], return_index=True)
    pairs = jnp.asarray(first_seen, jnp.int32), jnp.zeros(len(first_seen), jnp.int32)
    seen = steps[0][first_seen], steps[1][first_seen]
    known = jnp.zeros(exact.shape, bool).at[seen].set(True)
    right = jnp.asarray(exact[seen])

    def error(q):
        return jnp.mean(jnp.square(q[seen] - right))

    def td(q, drawn):
        value = jnp.max(q[drawn.next_obs], axis=-1)
        return drawn.reward + drawn.discount * value - q[drawn.obs, drawn.action]

    def best_pair(q):
        old = q[seen]
        new = old + RATE * td(q, ring.transitions(memory, *pairs, gamma))
        best = jnp.argmax(jnp.square(old - right) - jnp.square(new - right))[None]
        return pairs[0][best], pairs[1][best]

    def choose(key, q, priorities):
        if method == "oracle":
            return best_pair(q)
        if method == "uniform":
            return uniform.sample(key, ring, written, 1)
        return prioritized.sample(key, priorities, ring, written, 1, beta=0.0)[:2]

    def run(key):
        key_table, key = jax.random.split(key)
        q = jnp.where(known, 0.1 * jax.random.normal(key_table, exact.shape), 0.0)
        priorities = prioritized.add(prioritized.init(ring), ring, jnp.int32(0))

        def goes_on(loop):
            q, _, updates, _ = loop
            return (error(q) > TOLERANCE) & (updates < MOST_UPDATES)

        def update(loop):
            q, priorities, updates, key = loop
            key_draw, key = jax.random.split(key)
            row, env = choose(key_draw, q, priorities)
            drawn = ring.transitions(memory, row, env, gamma)
            delta = td(q, drawn)
            if method == "prioritized":
                priorities = prioritized.update(priorities, ring, row, env, delta, 1.0)
            return q.at[drawn.obs, drawn.action].add(RATE * delta), priorities, updates + 1, key

        return jax.lax.while_loop(goes_on, update, (q, priorities, jnp.int32(0), key))[2]

    return np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), num_seeds)))


def figure(title: str, xlabel: str, sizes: Sequence[int], counts: Mapping[str, np.ndarray]) -> Any:
    """Return the matplotlib figure of the updates over the steps in the memory, a line a method."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(plots.STYLE):
        drawn = Figure(figsize=(7.6, 5.0), layout="constrained")
        axis = drawn.subplots()
        for (label, found), color, marker in zip(counts.items(), plots.COLORS, plots.MARKERS, strict=False):
            intervals = [stats.stratified_bootstrap(row) for row in found]
            middle, low, high = np.array([(i.estimate, i.low, i.high) for i in intervals]).T
            axis.plot(sizes, middle, color=color, marker=marker, label=label)
            axis.fill_between(sizes, low, high, color=color, alpha=0.2, linewidth=0)
        axis.set_xscale("log")
        axis.set_yscale("log")
        num_seeds = len(next(iter(counts.values()))[0])
        axis.set_title(title, loc="left")
        axis.set_xlabel(xlabel)
        axis.set_ylabel(f"updates (IQM, 95 % interval, {num_seeds} seeds)")
        axis.legend(loc="upper left")
    return drawn
