"""Networks in flax.linen: encoders of observations, torsos, heads and their initialisers."""

from jaxrl.nets.cnn import CNN
from jaxrl.nets.encoder import encode, encoded_shape
from jaxrl.nets.heads import ActorCritic, Head
from jaxrl.nets.initializers import orthogonal
from jaxrl.nets.mlp import MLP, activation_function

__all__ = [
    "CNN",
    "MLP",
    "ActorCritic",
    "Head",
    "activation_function",
    "encode",
    "encoded_shape",
    "orthogonal",
]
