"""rejax's replay in the loop of `replay_loop`, 1 seed and several under `vmap`.

Runs with the Python of `.cache/peers/rejax`; prints one JSON object a measurement.
"""

from experiments.compare.peers import replay_loop as loop


def make(kind: str, capacity: int, obs_shape: tuple[int, ...], obs_dtype: str):
    """Return `(init, add_and_draw)` of one seed; see `replay_loop.run`. There is no prioritised kind."""
    import jax.numpy as jnp
    from gymnax.environments import spaces  # pyright: ignore[reportMissingImports]
    from rejax.buffers import Minibatch, ReplayBuffer  # pyright: ignore[reportMissingImports]

    if kind != "uniform":
        raise ValueError(f"`kind` must be 'uniform', got {kind!r}")

    def init():
        empty = ReplayBuffer.empty(
            capacity, spaces.Box(0, 1, obs_shape, jnp.dtype(obs_dtype)), spaces.Discrete(2)
        )
        return empty.replace(full=jnp.array(True), index=jnp.int32(0))

    def add_and_draw(state, key, steps, t):
        del t
        batch = Minibatch(**steps, next_obs=steps["obs"])
        state = state.extend(batch)
        return state, tuple(state.sample(loop.BATCH_SIZE, key))

    return init, add_and_draw


if __name__ == "__main__":
    loop.run(loop.arguments(__doc__), make, ("rejax", "jax"))
