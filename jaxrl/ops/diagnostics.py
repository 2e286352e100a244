"""Figures of a learner's health: of its network, and of what it learns from."""

import jax
import jax.numpy as jnp


def dead_units(hidden: list[jax.Array], threshold: float = 0.025) -> jax.Array:
    """Return the share of hidden units that hardly ever respond, `[]` float32.

    A unit is dead if the mean of its absolute activation over the batch is at most `threshold` times the
    mean over its layer.

    Args:
      hidden: activations of each layer, `[B, H]`.
      threshold: 0.025 as in the paper.

    >>> float(dead_units([jnp.array([[1.0, 0.0], [3.0, 0.0]])]))
    0.5

    Source: Sokar et al. (2023), https://arxiv.org/abs/2302.12902, definition 3.1.
    """
    dead = []
    for layer in hidden:
        response = jnp.mean(jnp.abs(layer.reshape(-1, layer.shape[-1])), axis=0)
        dead.append(response <= threshold * jnp.mean(response))
    return jnp.mean(jnp.concatenate(dead), dtype=jnp.float32) if dead else jnp.float32(0)


def diversity(x: jax.Array) -> jax.Array:
    """Return the share of the observations `[B, ...]` of a batch that are distinct, `[]` float32.

    A replay that has become homogeneous draws the same few over and over; of observations with continuous
    parts all are distinct.

    >>> float(diversity(jnp.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [2.0, 2.0]])))
    0.75
    """
    flat = x.reshape(len(x), -1)
    # Equal rows have equal projections, and others hardly ever.
    projected = jnp.sort(flat @ jnp.sin(1.0 + jnp.arange(flat.shape[1], dtype=jnp.float32) ** 2))
    return (1.0 + jnp.sum(projected[1:] != projected[:-1])) / len(x)
