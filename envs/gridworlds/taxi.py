"""The taxi of Dietterich with the dynamics of Gymnasium; town, rain and rewards are traced parameters."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.mdps.exact import ExactState, ExactWorld
from envs.tabular import Outcomes

SOUTH, NORTH, EAST, WEST, PICKUP, DROPOFF = range(6)
IN_TAXI = 4
TOWN = (
    "+---------+",
    "|R: | : :G|",
    "| : | : : |",
    "| : : : : |",
    "| | : | : |",
    "|Y| : |B: |",
    "+---------+",
)
_LANDMARKS = "RGYB"
_SIZE = 5
_DOWN, _RIGHT = (1, -1, 0, 0), (0, 0, 1, -1)
# The two directions beside each direction, in Gymnasium's order.
_BESIDE = ((EAST, WEST), (WEST, EAST), (NORTH, SOUTH), (SOUTH, NORTH))


@struct.dataclass
class TaxiParams:
    """The town and what is paid; every field may be traced and mapped over.

    Attributes:
      walls: `[5, 5]` bool, whether there is a wall on the east side of each cell.
      landmarks: `[4]` int32, the cells, row * 5 + column, of the four places; they must differ.
      rain: `[]` float32, the probability that a move goes to either side instead, both alike.
      step_reward: `[]` float32, for anything that is paid no other reward.
      delivery_reward: `[]` float32, for dropping the passenger at the destination.
      illegal_reward: `[]` float32, for picking up or dropping where that is not possible.
      max_steps: `[]` int32, the step at which an episode is truncated.
    """

    walls: jax.Array
    landmarks: jax.Array
    rain: jax.Array
    step_reward: jax.Array
    delivery_reward: jax.Array
    illegal_reward: jax.Array
    max_steps: jax.Array


@dataclass(frozen=True)
class Taxi(ExactWorld):
    """Bring a passenger to its destination: -1 a step, 20 for the delivery, -10 for a wrong stop.

    Actions: 0 south, 1 north, 2 east, 3 west, 4 pick up, 5 drop off. The observation is the state's number,
    ((row * 5 + column) * 5 + passenger) * 4 + destination, where passenger is one of four places or 4, in the
    taxi. Every state with the passenger at its destination is an end. Truncated after 200 steps; the best
    expected return is 7.93. A move that is free goes astray with probability `rain`: 0 by default, 0.2 is
    Gymnasium's `is_rainy=True`. (`fickle_passenger` is left out: it needs more than the state's number.)

    >>> env = Taxi()
    >>> params = env.default_params()
    >>> state = env.state_at(encode(3, 1, 2, 0), params)
    >>> print(env.ascii(state, params))
    +---------+
    |R: | : :G|
    | : | : : |
    | : : : : |
    | |T: | : |
    |Y| : |B: |
    +---------+
    passenger at Y, to R
    >>> env.action_mask(state, params).tolist()
    [True, True, True, False, False, False]

    Source: Dietterich (2000), Hierarchical reinforcement learning with the MAXQ value function decomposition;
    Gymnasium, `envs/toy_text/taxi.py` (Taxi-v4).
    """

    id: str = "Taxi-v1"

    @property
    def num_states(self) -> int:  # type: ignore[override]
        """500."""
        return _SIZE * _SIZE * 5 * 4

    @property
    def num_actions(self) -> int:  # type: ignore[override]
        """Six."""
        return 6

    def default_params(self) -> TaxiParams:
        """Return Gymnasium's town and rewards."""
        rows = [row[1:-1] for row in TOWN[1:-1]]
        walls = np.array([[row[2 * c + 1 : 2 * c + 2] != ":" for c in range(_SIZE)] for row in rows])
        places = {row[2 * c]: r * _SIZE + c for r, row in enumerate(rows) for c in range(_SIZE)}
        return TaxiParams(
            walls=jnp.asarray(walls),
            landmarks=jnp.asarray([places[name] for name in _LANDMARKS], jnp.int32),
            rain=jnp.float32(0.0),
            step_reward=jnp.float32(-1.0),
            delivery_reward=jnp.float32(20.0),
            illegal_reward=jnp.float32(-10.0),
            max_steps=jnp.int32(200),
        )

    def check_params(self, params: TaxiParams) -> None:
        """Check that the four places are different cells of the town, and that rain is a probability.

        Raises:
          ValueError: naming the field that makes no sense.

        >>> env = Taxi()
        >>> env.check_params(env.default_params().replace(landmarks=jnp.array([0, 4, 4, 23])))
        Traceback (most recent call last):
        ...
        ValueError: `landmarks` must be 4 different cells below 25, got [0, 4, 4, 23]
        """
        walls, places, rain = (np.asarray(x) for x in (params.walls, params.landmarks, params.rain))
        if walls.shape != (_SIZE, _SIZE) or walls.dtype != bool:
            raise ValueError(f"`walls` must be bool{[_SIZE, _SIZE]}, got {walls.dtype}{list(walls.shape)}")
        inside = (places >= 0) & (places < _SIZE * _SIZE)
        if places.shape != (4,) or not inside.all() or len(set(places.tolist())) < 4:
            raise ValueError(
                f"`landmarks` must be 4 different cells below {_SIZE * _SIZE}, got {places.tolist()}"
            )
        if rain.shape != () or not 0 <= rain <= 1:
            raise ValueError(f"`rain` must lie in [0, 1], got {rain}")

    def start_distribution(self, params: TaxiParams) -> jax.Array:
        """Return the `[500]` probabilities: any cell, place and other destination alike."""
        _, passenger, destination = _decode(jnp.arange(self.num_states))
        return ((passenger != IN_TAXI) & (passenger != destination)) / jnp.float32(300)

    def outcomes(self, state_index: jax.Array, action: jax.Array, params: TaxiParams) -> Outcomes:
        """Return what may follow: K = 3, the move meant and those to either side of it."""
        cell, passenger, destination = _decode(state_index)
        action = jnp.asarray(action, jnp.int32)
        at = params.landmarks == cell
        ended = passenger == destination
        legal_pickup = at[jnp.minimum(passenger, 3)] & (passenger != IN_TAXI)
        legal_dropoff = at.any() & (passenger == IN_TAXI)
        delivered = at[destination] & legal_dropoff & (action == DROPOFF)

        heading = jnp.minimum(action, WEST)
        headings = jnp.concatenate([heading[None], jnp.asarray(_BESIDE, jnp.int32)[heading]])
        cells = jax.vmap(_move, (None, 0, None))(cell, headings, params.walls)
        moves = (action <= WEST) & ~ended
        rain = jnp.where(moves & (cells[0] != cell), params.rain, 0.0)
        passenger = jnp.where((action == PICKUP) & legal_pickup, IN_TAXI, passenger)
        passenger = jnp.where((action == DROPOFF) & legal_dropoff, jnp.argmax(at), passenger)
        legal = (action <= WEST) | jnp.where(action == PICKUP, legal_pickup, legal_dropoff)
        reward = jnp.where(legal, params.step_reward, params.illegal_reward)
        reward = jnp.where(delivered, params.delivery_reward, reward)
        following = (jnp.where(moves, cells, cell) * 5 + passenger) * 4 + destination
        return Outcomes(
            probability=jnp.stack([1 - rain, rain / 2, rain / 2]),
            next_state=jnp.where(ended, state_index, following).astype(jnp.int32),
            reward=jnp.broadcast_to(jnp.where(ended, 0.0, reward), (3,)),
            terminated=jnp.broadcast_to(ended | delivered, (3,)),
        )

    def action_mask(self, state: ExactState, params: TaxiParams) -> jax.Array:
        """Return `[6]` bool: the actions that change the state."""
        cell, passenger, _ = _decode(state.index)
        at = params.landmarks == cell
        moved = jax.vmap(_move, (None, 0, None))(cell, jnp.arange(4), params.walls)
        stops = [at[jnp.minimum(passenger, 3)] & (passenger != IN_TAXI), at.any() & (passenger == IN_TAXI)]
        return jnp.concatenate([moved != cell, jnp.stack(stops)])

    def ascii(self, state: ExactState | None, params: TaxiParams) -> str:
        """Return the town as text, the taxi as `T`, or `P` with the passenger in it."""
        walls, landmarks = np.asarray(params.walls), np.asarray(params.landmarks)
        letters = np.full(_SIZE * _SIZE, " ")
        letters[landmarks] = list(_LANDMARKS)
        words = ""
        if state is not None:
            cell, passenger, destination = map(int, _decode(state.index))
            letters[cell] = "P" if passenger == IN_TAXI else "T"
            where = "in the taxi" if passenger == IN_TAXI else f"at {_LANDMARKS[passenger]}"
            words = f"\npassenger {where}, to {_LANDMARKS[destination]}"
        lines = ["+---------+"]
        for row in range(_SIZE):
            cells = (
                letters[row * _SIZE + c] + ("|" if walls[row, c] or c == _SIZE - 1 else ":")
                for c in range(_SIZE)
            )
            lines.append("|" + "".join(cells))
        return "\n".join([*lines, "+---------+"]) + words

    def frame(self, state: ExactState | None, params: TaxiParams) -> np.ndarray:
        """Return a picture of the town, `[400, 400, 3]` uint8; the destination's letter is framed."""
        from envs import render

        def box(cell: int, margin: float) -> list[tuple[float, float]]:
            row, column = divmod(cell, _SIZE)
            left, right = column + margin, column + 1 - margin
            low, high = _SIZE - 1 - row + margin, _SIZE - row - margin
            return [(left, low), (right, low), (right, high), (left, high)]

        def centre(cell: int) -> tuple[float, float]:
            row, column = divmod(cell, _SIZE)
            return column + 0.5, _SIZE - row - 0.5

        canvas = render.Canvas(400, 400, (-0.1, _SIZE + 0.1), (-0.1, _SIZE + 0.1), render.GREY)
        for cell in range(_SIZE * _SIZE):
            canvas.polygon(box(cell, 0.01), render.FLOOR_BLUE)
        colors = ((222, 96, 84), (96, 178, 112), (232, 196, 84), (98, 142, 220))
        cell = passenger = destination = None
        if state is not None:
            cell, passenger, destination = map(int, _decode(state.index))
        for place, (landmark, color) in enumerate(zip(np.asarray(params.landmarks), colors, strict=True)):
            if place == destination:
                canvas.polygon(box(int(landmark), 0.01), render.INK)
            canvas.polygon(box(int(landmark), 0.07), color)
            canvas.text(centre(int(landmark)), _LANDMARKS[place], 30, render.PAPER)
        for row, column in np.argwhere(np.asarray(params.walls)[:, :-1]):
            x, y = float(column + 1), float(_SIZE - row)
            canvas.line((x, y), (x, y - 1), 6, render.INK)
        if cell is not None:
            x, y = centre(cell)
            body = [(x - 0.32, y - 0.2), (x + 0.32, y - 0.2), (x + 0.32, y + 0.12), (x - 0.32, y + 0.12)]
            roof = [(x - 0.2, y + 0.12), (x + 0.2, y + 0.12), (x + 0.12, y + 0.3), (x - 0.12, y + 0.3)]
            for part in (body, roof):
                canvas.polygon(part, render.ORANGE)
            for side in (-0.18, 0.18):
                canvas.disc((x + side, y - 0.2), 0.08, render.INK)
            px, py = (x, y) if passenger == IN_TAXI else centre(int(np.asarray(params.landmarks)[passenger]))
            offset = (0.0, 0.12) if passenger == IN_TAXI else (0.28, 0.28)
            canvas.disc((px + offset[0], py + offset[1]), 0.11, render.PAPER)
            canvas.disc((px + offset[0], py + offset[1]), 0.085, (90, 60, 150))
        return canvas.array()


def encode(row: int, column: int, passenger: int, destination: int) -> int:
    """Return the number of the state, as in Gymnasium.

    >>> encode(4, 4, 4, 3)
    499
    """
    return ((row * _SIZE + column) * 5 + passenger) * 4 + destination


def _decode(index: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return cell, passenger and destination."""
    index = jnp.asarray(index, jnp.int32)
    return index // 20, index // 4 % 5, index % 4


def _move(cell: jax.Array, heading: jax.Array, walls: jax.Array) -> jax.Array:
    row, column = cell // _SIZE, cell % _SIZE
    down, right = jnp.asarray(_DOWN, jnp.int32)[heading], jnp.asarray(_RIGHT, jnp.int32)[heading]
    wall = jnp.where(right > 0, walls[row, column], (right < 0) & walls[row, jnp.maximum(column - 1, 0)])
    to = jnp.clip(row + down, 0, _SIZE - 1) * _SIZE + jnp.clip(column + right, 0, _SIZE - 1)
    return jnp.where(wall, cell, to)
