"""Networks in flax.linen: encoders of observations, torsos, heads and their initialisers."""

from jaxrl.nets.cnn import CNN
from jaxrl.nets.encoder import encode, encoded_shape
from jaxrl.nets.heads import ActorCritic, Head, RecurrentActorCritic
from jaxrl.nets.implicit_quantile import ImplicitQuantileNetwork
from jaxrl.nets.initializers import orthogonal
from jaxrl.nets.mlp import MLP, activation_function
from jaxrl.nets.noisy import NoisyDense
from jaxrl.nets.q_network import QNetwork
from jaxrl.nets.recurrent import Recurrent
from jaxrl.nets.recurrent_q_network import RecurrentQNetwork

__all__ = [
    "CNN",
    "MLP",
    "ActorCritic",
    "Head",
    "ImplicitQuantileNetwork",
    "NoisyDense",
    "QNetwork",
    "Recurrent",
    "RecurrentActorCritic",
    "RecurrentQNetwork",
    "activation_function",
    "encode",
    "encoded_shape",
    "orthogonal",
]
