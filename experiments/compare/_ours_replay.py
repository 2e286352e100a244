"""Our replay in the loop of `peers/replay_loop.py`, as a process of its own; prints a JSON object a size."""

from experiments.compare.peers import replay_loop as loop


def make(kind: str, capacity: int, obs_shape: tuple[int, ...], obs_dtype: str):
    """Return `(init, add_and_draw)` of one seed; see `replay_loop.run`."""
    import jax
    import jax.numpy as jnp

    from jaxrl.replay import Ring, Step, prioritized, uniform

    ring = Ring(capacity, loop.NUM_ENVS, num_finals=capacity // loop.NUM_ENVS // 500 + 2)

    def to_step(steps):
        return Step(
            **{k: v for k, v in steps.items() if k != "done"},
            terminated=steps["done"],
            truncated=steps["done"],
        )

    def init():
        example = jax.tree.map(
            lambda x: jnp.zeros((loop.NUM_ENVS, *x.shape), x.dtype),
            to_step(loop.example(obs_shape, obs_dtype)),
        )
        memory = ring.init(example)
        if kind == "uniform":
            return memory, ()
        places = jnp.arange(capacity)
        row, env = places // loop.NUM_ENVS, places % loop.NUM_ENVS
        error = jnp.where(row < ring.rows - 1, 1.0, 0.0)
        return memory, prioritized.update(
            prioritized.init(ring), ring, row, env, error, loop.PRIORITY_EXPONENT
        )

    def add_and_draw(state, key, steps, t):
        memory, priorities = state
        step = jax.tree.map(lambda x: x[None], to_step(steps))
        memory = ring.add(memory, step, step.obs, t)
        if kind == "uniform":
            row, env = uniform.sample(key, ring, t + 1, loop.BATCH_SIZE)
            return (memory, ()), ring.transitions(memory, row, env, 0.99)
        priorities = prioritized.add(priorities, ring, t)
        row, env, weight = prioritized.sample(
            key, priorities, ring, t + 1, loop.BATCH_SIZE, loop.IMPORTANCE_EXPONENT
        )
        drawn = ring.transitions(memory, row, env, 0.99)
        error = jnp.abs(drawn.reward) + jnp.sum(jnp.abs(drawn.next_obs - drawn.obs), axis=1)
        priorities = prioritized.update(priorities, ring, row, env, error, loop.PRIORITY_EXPONENT)
        return (memory, priorities), (drawn, weight)

    return init, add_and_draw


if __name__ == "__main__":
    loop.run(loop.arguments(__doc__), make, ("jax",))
