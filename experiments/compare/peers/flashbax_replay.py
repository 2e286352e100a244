"""flashbax's flat and prioritised flat replay in the loop of `replay_loop`, 1 seed and several under `vmap`.

Runs with the Python of `.cache/peers/flashbax`; prints one JSON object a measurement.
"""

from experiments.compare.peers import replay_loop as loop


def make(kind: str, capacity: int, obs_shape: tuple[int, ...], obs_dtype: str):
    """Return `(init, add_and_draw)` of one seed; see `replay_loop.run`."""
    import flashbax  # pyright: ignore[reportMissingImports]
    import jax.numpy as jnp

    sizes = {
        "max_length": capacity,
        "min_length": loop.BATCH_SIZE,
        "sample_batch_size": loop.BATCH_SIZE,
        "add_batch_size": loop.NUM_ENVS,
    }
    if kind == "uniform":
        buffer = flashbax.make_flat_buffer(**sizes)
    else:
        buffer = flashbax.make_prioritised_flat_buffer(
            **sizes, priority_exponent=loop.PRIORITY_EXPONENT, device="cpu"
        )

    def init():
        state = buffer.init(loop.example(obs_shape, obs_dtype))
        if kind == "prioritized":
            # Every place starts with priority one, through the buffer's own function.
            for start in range(0, capacity, 10_000):
                places = jnp.arange(start, min(start + 10_000, capacity))
                state = buffer.set_priorities(state, places, jnp.ones(places.shape))
        return state.replace(is_full=jnp.array(True))

    def add_and_draw(state, key, steps, t):
        del t
        state = buffer.add(state, steps)
        drawn = buffer.sample(state, key)
        first, second = drawn.experience.first, drawn.experience.second
        used = (first["obs"], first["action"], first["reward"], first["done"], second["obs"])
        if kind == "uniform":
            return state, used
        weight = jnp.power(capacity * drawn.probabilities, -loop.IMPORTANCE_EXPONENT)
        error = jnp.abs(first["reward"]) + jnp.sum(jnp.abs(second["obs"] - first["obs"]), axis=1) + 1e-6
        return buffer.set_priorities(state, drawn.indices, error), (used, weight / jnp.max(weight))

    return init, add_and_draw


if __name__ == "__main__":
    loop.run(loop.arguments(__doc__), make, ("flashbax", "jax"))
