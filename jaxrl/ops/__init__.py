"""Returns, advantages and losses: arrays in, arrays out, each with its equation and paper."""

from jaxrl.ops.conjugate_gradient import conjugate_gradient
from jaxrl.ops.losses import (
    approximate_kl,
    categorical_entropy,
    clip_fraction,
    clipped_surrogate,
    clipped_value_loss,
    explained_variance,
    gaussian_entropy,
    policy_gradient_loss,
    standardize,
    value_loss,
)
from jaxrl.ops.map_where import map_where
from jaxrl.ops.returns import discounted_returns, gae, lambda_returns, n_step_returns, vtrace
from jaxrl.ops.shuffle import permutation, shuffled_minibatches

__all__ = [
    "approximate_kl",
    "categorical_entropy",
    "clip_fraction",
    "clipped_surrogate",
    "clipped_value_loss",
    "conjugate_gradient",
    "discounted_returns",
    "explained_variance",
    "gae",
    "gaussian_entropy",
    "lambda_returns",
    "map_where",
    "n_step_returns",
    "permutation",
    "policy_gradient_loss",
    "shuffled_minibatches",
    "standardize",
    "value_loss",
    "vtrace",
]
