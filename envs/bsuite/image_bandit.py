"""`ImageBandit`: name what a picture shows, one guess an episode; and pictures from local files."""

import gzip
import struct as binary
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.core import Step, require
from envs.spaces import Box, Discrete, as_action

_MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")


@struct.dataclass
class ImageBanditParams:
    """The pictures, `[N, H, W]` of any dtype, seen over 255; their labels, `[N]` int32."""

    images: jax.Array
    labels: jax.Array


@struct.dataclass
class ImageBanditState:
    """`shown`, `[]` int32: which picture; `over`, `[]` bool: whether the guess was made."""

    shown: jax.Array
    over: jax.Array


@dataclass(frozen=True)
class ImageBandit:
    """Classification as a bandit: see a random picture, guess its label, get 1 if right and -1 if not.

    Every guess terminates. The observation is `[height, width]` float32, the picture over 255, and zeros at
    the end. The pictures are parameters: nothing is downloaded. With MNIST (`load_mnist`) it is bsuite's
    `mnist`. Metric: `regret`, 2 for a wrong guess.

    Args:
      height: of the pictures.
      width: of the pictures.
      num_labels: how many labels there are.

    >>> env = ImageBandit(height=2, width=3)
    >>> params = env.with_images(np.zeros((4, 2, 3), np.uint8), np.array([0, 1, 2, 9]))
    >>> env.reset(jax.random.key(0), params)[1].shape
    (2, 3)

    Source: Osband et al. (2020), Behaviour suite for reinforcement learning, `environments/mnist.py`.
    """

    id: str = "ImageBandit"
    height: int = 28
    width: int = 28
    num_labels: int = 10

    def default_params(self) -> ImageBanditParams:
        """Return one black picture for each label; `with_images` takes real ones."""
        blank = np.zeros((self.num_labels, self.height, self.width), np.uint8)
        return self.with_images(blank, np.arange(self.num_labels))

    def with_images(self, images: Any, labels: Any) -> ImageBanditParams:
        """Return params that hold `images` `[N, H, W]` and `labels` `[N]`.

        Raises:
          ValueError: if there is no picture, the shapes do not fit, or a label is out of range.
        """
        shape, known = np.shape(images), np.asarray(labels)
        if shape[1:] != (self.height, self.width) or shape[0] == 0:
            raise ValueError(f"`images` must be [N, {self.height}, {self.width}], got {shape}")
        if known.shape != shape[:1] or known.min() < 0 or known.max() >= self.num_labels:
            raise ValueError(
                f"`labels` must be {shape[0]} integers from 0 to {self.num_labels - 1}, one a picture"
            )
        return ImageBanditParams(images=jnp.asarray(images), labels=jnp.asarray(labels, jnp.int32))

    def time_limit(self, params: ImageBanditParams) -> jax.Array:
        """Return 1, the length of every episode."""
        return jnp.int32(1)

    def observation_space(self, params: ImageBanditParams) -> Box:
        """Return numbers from -1 to 1 (bsuite's MNIST is partly negative, see `load_mnist`)."""
        return Box(-1.0, 1.0, (self.height, self.width))

    def action_space(self, params: ImageBanditParams) -> Discrete:
        """Return the labels."""
        return Discrete(self.num_labels)

    def reset(self, key: jax.Array, params: ImageBanditParams) -> tuple[ImageBanditState, jax.Array]:
        """Return a random picture."""
        shown = jax.random.randint(key, (), 0, params.labels.shape[0], jnp.int32)
        state = ImageBanditState(shown=shown, over=jnp.bool_(False))
        return state, params.images[shown].astype(jnp.float32) / 255

    def step(
        self, key: jax.Array, state: ImageBanditState, action: jax.Array, params: ImageBanditParams
    ) -> tuple[ImageBanditState, Step]:
        """Return what the guess gave; ignores `key`."""
        action = as_action(self.action_space(params), action)
        right = action == params.labels[state.shown]
        reward = jnp.where(right, jnp.float32(1.0), -1.0)
        blank = jnp.zeros((self.height, self.width), jnp.float32)
        state = ImageBanditState(shown=state.shown, over=jnp.bool_(True))
        return state, Step(blank, reward, jnp.bool_(True), jnp.bool_(False), {"regret": 1 - reward})


def load_mnist(folder: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Return MNIST's training pictures `[60000, 28, 28]` int8 and labels `[60000]`, from local files.

    As in bsuite the pixels are signed bytes, so that what is brighter than 127 comes out negative.

    Args:
      folder: holds `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, as they are or with `.gz`.

    Raises:
      ValueError: if a file is missing or no such file.

    Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits (the IDX format).
    """
    images, labels = (_read_idx(Path(folder), name) for name in _MNIST_FILES)
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"`folder` must hold pictures and as many labels, got {images.shape}, {labels.shape}"
        )
    return images.view(np.int8), labels


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's 1,797 digits `[N, 8, 8]` uint8 from 0 to 255, and their labels: no MNIST.

    Raises:
      ImportError: if scikit-learn is not installed.

    Source: Alpaydin and Kaynak (1998), Optical recognition of handwritten digits, UCI repository.
    """
    require("sklearn", "digits")
    from sklearn.datasets import load_digits  # type: ignore[import-not-found]

    data = load_digits()
    return np.round(data.images * (255 / 16)).astype(np.uint8), data.target


def _read_idx(folder: Path, name: str) -> np.ndarray:
    packed, plain = folder / f"{name}.gz", folder / name
    if packed.is_file():
        content = gzip.decompress(packed.read_bytes())
    elif plain.is_file():
        content = plain.read_bytes()
    else:
        raise ValueError(f"`folder` must hold {name} or {name}.gz, got {folder} without")
    magic = content[:4]
    if magic[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * magic[3]:
        raise ValueError(f"{folder / name} must be an IDX file of bytes, got another beginning")
    shape = binary.unpack(f">{magic[3]}I", content[4 : 4 + 4 * magic[3]])
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * magic[3])
    if values.size != np.prod(shape):
        raise ValueError(f"{folder / name} must hold {np.prod(shape)} bytes, got {values.size}")
    return values.reshape(shape)
