"""MinAtar's Freeway."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from envs.minatar.game import DOWN, NOTHING, SIZE, UP, MinAtar, MinAtarParams, cell, picture

_CARS = 8
_PLAYER_X = 4
_PLAYER_PERIOD = 3


@struct.dataclass
class FreewayState:
    """The chicken and eight cars, car i in row 1 + i.

    Attributes:
      y: `[]` int32, the chicken's row.
      wait: `[]` int32, steps until it can move again.
      car_x: `[8]` int32, columns.
      car_wait: `[8]` int32, steps until each car moves.
      car_speed: `[8]` int32, steps between two moves, negative to the left.
    """

    y: jax.Array
    wait: jax.Array
    car_x: jax.Array
    car_wait: jax.Array
    car_speed: jax.Array


@dataclass(frozen=True)
class Freeway(MinAtar):
    """Cross a road with eight lanes; each crossing is worth 1, and draws new speeds for the cars.

    The chicken moves at most every third step; a car that meets it brings it back to the start. The game is
    over, and terminates, after 2,501 steps (`max_steps`); its clock is not observed. See `MinAtar` for
    actions and sticking.

    >>> env = Freeway()
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> obs.shape, int(state.game.y)
    ((10, 10, 7), 9)

    Source: Young and Tian (2019), MinAtar; `minatar/environments/freeway.py` of MinAtar 1.0.15.
    """

    id: str = "MinAtar-Freeway-v1"

    channels: ClassVar[dict[str, str]] = {"chicken": "A", "car": "C"} | {
        f"speed{i}": str(i) for i in range(1, 6)
    }
    useful: ClassVar[tuple[int, ...]] = (NOTHING, UP, DOWN)
    start_words: ClassVar[int] = 2
    step_words: ClassVar[int] = 2
    default_limit: ClassVar[int] = 2501
    limit_terminates: ClassVar[bool] = True

    def start(self, words: jax.Array) -> FreewayState:
        """Return the chicken at the bottom, the cars at the left, with random speeds."""
        speed = self.draw(words)
        return FreewayState(
            y=jnp.int32(SIZE - 1),
            wait=jnp.int32(_PLAYER_PERIOD),
            car_x=jnp.zeros(_CARS, jnp.int32),
            car_wait=jnp.abs(speed),
            car_speed=speed,
        )

    def draw(self, words: jax.Array) -> jax.Array:
        """Return `[8]` int32 speeds: 1 to 5 to either side, all ten alike."""
        powers = jnp.asarray((1, 10, 100, 1000), jnp.uint32)
        digits = ((words[:, None] // powers[None]).reshape(_CARS) % 10).astype(jnp.int32)
        return jnp.where(digits < 5, digits - 5, digits - 4)

    def advance(
        self, game: FreewayState, action: jax.Array, draws: jax.Array, t: jax.Array, params: MinAtarParams
    ) -> tuple[FreewayState, jax.Array, jax.Array]:
        """Return the game one step later, the reward, and that it is not over."""
        moves = ((action == UP) | (action == DOWN)) & (game.wait == 0)
        wait = jnp.where(moves, _PLAYER_PERIOD, game.wait)
        y = jnp.clip(game.y + jnp.where(moves, jnp.where(action == UP, -1, 1), 0), 0, SIZE - 1)
        crossed = y == 0
        y = jnp.where(crossed, SIZE - 1, y)
        speed = jnp.where(crossed, draws, game.car_speed)
        car_wait = jnp.where(crossed, jnp.abs(draws), game.car_wait)

        drives = car_wait == 0
        x = game.car_x + jnp.where(drives, jnp.where(speed > 0, 1, -1), 0)
        x = jnp.where(x < 0, SIZE - 1, jnp.where(x >= SIZE, 0, x))
        in_lane = jnp.arange(1, _CARS + 1, dtype=jnp.int32) == y
        hit = (in_lane & ((game.car_x == _PLAYER_X) | (x == _PLAYER_X))).any()
        game = FreewayState(
            y=jnp.where(hit, SIZE - 1, y),
            wait=jnp.maximum(wait - 1, 0),
            car_x=x,
            car_wait=jnp.where(drives, jnp.abs(speed), car_wait - 1),
            car_speed=speed,
        )
        return game, crossed.astype(jnp.int32), jnp.bool_(False)

    def observe(self, game: FreewayState) -> jax.Array:
        """Return chicken, cars, and behind each car a trail in the channel of its speed."""
        behind = game.car_x + jnp.where(game.car_speed > 0, -1, 1)
        behind = jnp.where(behind < 0, SIZE - 1, jnp.where(behind >= SIZE, 0, behind))
        cars, trails = (jnp.pad(jnp.int32(1) << x, 1) for x in (game.car_x, behind))
        speed = jnp.pad(jnp.abs(game.car_speed), 1)
        by_speed = [jnp.where(speed == i, trails, 0) for i in range(1, 6)]
        return picture([cell(game.y, jnp.int32(_PLAYER_X)), cars, *by_speed])
