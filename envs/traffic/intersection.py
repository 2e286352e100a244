"""A car at a 4-way intersection with a signal: ten terms of a reward, their weights traced parameters."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_size
from envs.core import Step, unknown
from envs.spaces import Box, Discrete, as_action

GREEN, YELLOW, CLEARING, CROSS_GREEN, CROSS_YELLOW, CROSS_CLEARING = range(6)

# The map, in metres. The car drives north on x = 2; y is its front bumper, 0 at its stop line.
CAR_LENGTH, CAR_WIDTH, ROAD_WIDTH = 4.5, 1.8, 8.0
ROAD_START = -80.0
NEAR, FAR = 0, 1
CROSSWALKS = ((1.0, 4.0), (19.0, 22.0))
# Where the bodies of eastbound and westbound cars cross the car's path (y), and how far beyond their own
# stop lines they are on it.
EAST, WEST = 0, 1
LANES = ((6.1, 7.9), (10.1, 11.9))
BANDS = ((10.1, 11.9), (6.1, 7.9))
# How far those who cross have walked where they are in front of the car.
STRIDES = ((1.1, 2.9), (5.1, 6.9))
# Cross traffic: from 40 m before its stop line to 45 m beyond it, bumper to bumper at least `SPACING`.
ENTRY, EXIT, SPACING = -40.0, 45.0, 7.0
WAITING_ZONE = 10.0
STANDING = 0.5


@struct.dataclass
class RewardWeights:
    """What a unit of each term of the reward is worth, all `[]` float32: reward = sum of weight x term.

    Attributes:
      arrival: 1 when the front bumper reaches the destination, which ends the episode.
      collision: 1 when a car or somebody on foot is hit, which ends the episode.
      red_light: 1 when the stop line is crossed forwards while the light is red.
      failure_to_yield: 1 when a crosswalk is entered forwards with somebody on it.
      time: s that pass.
      progress: m nearer to the destination; driving back takes it away again.
      speeding: m driven beyond what the speed limit allows.
      discomfort: squared acceleration times time, m^2/s^3.
      forward: m driven forwards; driving back costs nothing. A trap, unless weighted 0.
      waiting: s at less than 0.5 m/s, less than 10 m before the line while the light is red. A trap likewise.
    """

    arrival: jax.Array
    collision: jax.Array
    red_light: jax.Array
    failure_to_yield: jax.Array
    time: jax.Array
    progress: jax.Array
    speeding: jax.Array
    discomfort: jax.Array
    forward: jax.Array
    waiting: jax.Array


TERMS = tuple(field.name for field in dataclasses.fields(RewardWeights))

REWARDS = {
    "dense": {
        "arrival": 2.0,
        "collision": -4.0,
        "red_light": -3.0,
        "failure_to_yield": -3.0,
        "time": -0.03,
        "progress": 0.05,
        "speeding": -0.05,
        "discomfort": -0.001,
    },
    "sparse": {"arrival": 1.0, "collision": -1.0, "red_light": -1.0, "failure_to_yield": -1.0},
}


def weights(reward: str = "dense", **changes: float) -> RewardWeights:
    """Return the weights called `reward`, with some of them changed; what is not named weighs 0.

    Args:
      reward: a key of `REWARDS`.
      **changes: new values by term.

    Raises:
      ValueError: if there is no such reward or term.

    >>> float(weights("sparse").arrival), float(weights("dense", time=-0.3).time)
    (1.0, -0.3...)
    """
    if reward not in REWARDS:
        raise ValueError(unknown("reward", reward, list(REWARDS)))
    for name in changes:
        if name not in TERMS:
            raise ValueError(unknown("term", name, list(TERMS)))
    chosen = dict.fromkeys(TERMS, 0.0) | REWARDS[reward] | changes
    return RewardWeights(**{name: jnp.float32(value) for name, value in chosen.items()})


@struct.dataclass
class IntersectionParams:
    """Signal, traffic, car and reward; all `[]` float32 if not said otherwise.

    Attributes:
      weights: of the reward's terms.
      green: s, of the car's light.
      yellow: s, of either light.
      all_red: s, for which both are red after a yellow, so that the junction clears.
      cross_green: s, of the cross traffic's light.
      car_rates: `[2]`, eastbound and westbound cars that arrive a second, where there is room.
      walker_rates: `[2]`, chance a second that somebody steps on the free near or far crosswalk.
      car_speed: m/s, of cross traffic.
      walking_speed: m/s.
      accelerations: `[5]` m/s^2, one an action; the least is the hardest braking that people count on.
      speed_limit: m/s.
      max_speed: m/s, which the car cannot exceed.
      reverse_speed: m/s, likewise backwards.
      start_low: m; the first position is uniform from here ...
      start_high: m; ... to here.
      start_speed: m/s.
      destination: m.
      time_step: s.
      max_steps: `[]` int32, the step at which an episode is truncated.
    """

    weights: RewardWeights
    green: jax.Array
    yellow: jax.Array
    all_red: jax.Array
    cross_green: jax.Array
    car_rates: jax.Array
    walker_rates: jax.Array
    car_speed: jax.Array
    walking_speed: jax.Array
    accelerations: jax.Array
    speed_limit: jax.Array
    max_speed: jax.Array
    reverse_speed: jax.Array
    start_low: jax.Array
    start_high: jax.Array
    start_speed: jax.Array
    destination: jax.Array
    time_step: jax.Array
    max_steps: jax.Array


@struct.dataclass
class IntersectionState:
    """Who is where.

    Attributes:
      position: `[]` float32 m, of the front bumper; the stop line is at 0.
      speed: `[]` float32 m/s, negative backwards.
      cars: `[2, K]` float32 m, front bumpers of eastbound and westbound cars after their stop lines, the
        foremost first; only the first `count` are there.
      count: `[2]` int32.
      walked: `[2]` float32 m, by who is on the near and the far crosswalk; -1 if nobody is.
      offset: `[]` float32 s, how far the signal's cycle was at the start.
      violations: `[]` int32, red lights, failures to yield and collisions so far.
      t: `[]` int32, steps taken.
    """

    position: jax.Array
    speed: jax.Array
    cars: jax.Array
    count: jax.Array
    walked: jax.Array
    offset: jax.Array
    violations: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class Intersection:
    """Drive straight through a junction with a light, cross traffic and people on two crosswalks.

    Actions: 0 brake hard (-4 m/s^2), 1 brake (-2), 2 roll, 3 accelerate (1), 4 accelerate more (2). A step is
    half a second; a car that brakes comes to rest before it may go backwards. Its light is green for 10 s,
    yellow for 3, and red for 17, in which the cross traffic has its green; all is red for 2 s between. Cross
    traffic stops for its light and never for the car. Somebody on foot may step on a crosswalk at any time,
    but only where the car is past it or can still stop with hard braking after a second: so every trip can be
    made without a violation. An episode terminates at the destination, 40 m beyond the line, or with a
    collision, and is truncated after 120 steps.

    The reward is the sum of ten terms, each times its weight (`RewardWeights`). Each step reports them as
    metrics, *not* weighted, so their sums over an episode tell what happened whatever was paid for. Metrics
    too: `cost`, the violations of the step (collision, red light, failure to yield), and `performance`, the
    true objective: 1 on arrival without any violation on the way.

    The observation is `[13]` float32: position / 50 m; position / 10 m within [-3, 3]; speed / 10 m/s; green,
    yellow, red; time to the light's next change / 10 s; of each stream, how far the next car is from the
    car's path / 50 m, 1 if there is none; of the near and the far crosswalk, whether somebody is on it, and
    of both, how far across they are, from 0 to 1.

    Two bodies collide if they are on the same ground within one step, not only at the same moment of it.

    Args:
      reward: a key of `REWARDS`, which sets the default weights: "dense", or "sparse", where nothing is paid
        for an uneventful step. Other weights: `params.replace(weights=weights("dense", time=-0.1))`.
      num_cars: K, how many cars of a stream there may be; further ones are turned away.

    Raises:
      ValueError: if `reward` is unknown or `num_cars` not positive.

    >>> env = Intersection()
    >>> params = env.default_params()
    >>> state, obs = env.reset(jax.random.key(0), params)
    >>> state, out = env.step(jax.random.key(1), state, 4, params)
    >>> obs.shape, round(float(out.metrics["progress"]), 2), sorted(out.metrics)[:3]
    ((13,), 2.75, ['arrival', 'collision', 'cost'])

    Source: own design. Cross traffic follows Newell (2002), A simplified car-following theory: a lower order
    model, equation 6; the terms and what may go wrong with them: Knox et al. (2023), Reward (mis)design for
    autonomous driving.
    """

    id: str = "Intersection-v1"
    reward: str = "dense"
    num_cars: int = 6

    def __post_init__(self):
        if self.reward not in REWARDS:
            raise ValueError(f"`reward`: {unknown('reward', self.reward, list(REWARDS))}")
        check_size("num_cars", self.num_cars)

    def default_params(self) -> IntersectionParams:
        """Return a junction in a town, with the weights of `reward`."""
        return IntersectionParams(
            weights=weights(self.reward),
            green=jnp.float32(10.0),
            yellow=jnp.float32(3.0),
            all_red=jnp.float32(2.0),
            cross_green=jnp.float32(10.0),
            car_rates=jnp.array([0.2, 0.2], jnp.float32),
            walker_rates=jnp.array([0.06, 0.06], jnp.float32),
            car_speed=jnp.float32(8.0),
            walking_speed=jnp.float32(1.4),
            accelerations=jnp.array([-4.0, -2.0, 0.0, 1.0, 2.0], jnp.float32),
            speed_limit=jnp.float32(10.0),
            max_speed=jnp.float32(15.0),
            reverse_speed=jnp.float32(5.0),
            start_low=jnp.float32(-60.0),
            start_high=jnp.float32(-40.0),
            start_speed=jnp.float32(5.0),
            destination=jnp.float32(40.0),
            time_step=jnp.float32(0.5),
            max_steps=jnp.int32(120),
        )

    def time_limit(self, params: IntersectionParams) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_steps

    def observation_space(self, params: IntersectionParams) -> Box:
        """Return an unbounded `Box` of 13 numbers."""
        return Box(-np.inf, np.inf, (13,))

    def action_space(self, params: IntersectionParams) -> Discrete:
        """Return the five accelerations."""
        return Discrete(5)

    def reset(self, key: jax.Array, params: IntersectionParams) -> tuple[IntersectionState, jax.Array]:
        """Return a state with empty cross streets, anywhere in the signal's cycle, and its observation."""
        u = jax.random.uniform(key, (2,))
        state = IntersectionState(
            position=params.start_low + u[0] * (params.start_high - params.start_low),
            speed=params.start_speed.astype(jnp.float32),
            cars=jnp.full((2, self.num_cars), ENTRY, jnp.float32),
            count=jnp.zeros(2, jnp.int32),
            walked=jnp.full(2, -1.0, jnp.float32),
            offset=u[1] * cycle(params),
            violations=jnp.int32(0),
            t=jnp.int32(0),
        )
        return state, self._observe(state, params)

    def step(
        self, key: jax.Array, state: IntersectionState, action: jax.Array, params: IntersectionParams
    ) -> tuple[IntersectionState, Step]:
        """Return the state half a second later; the light is the one that was seen before the step."""
        action = as_action(self.action_space(params), action)
        phase, _ = signal(state, params)
        position, speed = drive(state, params.accelerations[action], params)
        u = jax.random.uniform(key, (2, 2))
        arrives, sets_off = u < jnp.stack([params.car_rates, params.walker_rates]) * params.time_step

        cars, count, car_on_path = jax.vmap(flow, (0, 0, 0, None, 0, None))(
            state.cars, state.count, arrives, phase == CROSS_GREEN, _constants(BANDS), params
        )
        walked, walker_on_path = walk(state, sets_off, params)
        low = jnp.minimum(state.position, position) - CAR_LENGTH
        high = jnp.maximum(state.position, position)
        hit = (car_on_path & _overlap(low, high, LANES)) | (walker_on_path & _overlap(low, high, CROSSWALKS))
        collision = jnp.any(hit)
        arrival = (position >= params.destination) & ~collision

        def entered(line):
            return (state.position <= line) & (position > line)

        red_light = entered(0.0) & (phase >= CLEARING)
        failure_to_yield = jnp.any(entered(_constants(CROSSWALKS)[:, 0]) & (state.walked >= 0))
        dt, moved = params.time_step, position - state.position
        waits = (jnp.abs(speed) < STANDING) & (position <= 0) & (position > -WAITING_ZONE)
        terms = RewardWeights(
            arrival=arrival,
            collision=collision,
            red_light=red_light,
            failure_to_yield=failure_to_yield,
            time=dt,
            progress=moved,
            speeding=jnp.maximum(speed - params.speed_limit, 0.0) * dt,
            discomfort=jnp.square(speed - state.speed) / dt,
            forward=jnp.maximum(moved, 0.0),
            waiting=(waits & (phase >= CLEARING)) * dt,
        )
        terms = {name: jnp.asarray(getattr(terms, name), jnp.float32) for name in TERMS}
        reward = jnp.sum(jnp.stack([getattr(params.weights, name) * term for name, term in terms.items()]))
        cost = terms["collision"] + terms["red_light"] + terms["failure_to_yield"]
        violations = state.violations + cost.astype(jnp.int32)
        performance = (arrival & (violations == 0)).astype(jnp.float32)

        state = IntersectionState(
            position=position,
            speed=speed,
            cars=cars,
            count=count,
            walked=walked,
            offset=state.offset,
            violations=violations,
            t=state.t + 1,
        )
        terminated = arrival | collision
        truncated = (state.t >= params.max_steps) & ~terminated
        metrics = terms | {"cost": cost, "performance": performance}
        return state, Step(self._observe(state, params), reward, terminated, truncated, metrics)

    def ascii(self, state: IntersectionState, params: IntersectionParams) -> str:
        """Return the junction from above as text, 4 m a row: `A` the car, `<` and `>` others, `o` on foot."""
        rows, columns, left = range(10, -20, -1), 25, -24.0
        grid = [[" "] * columns for _ in rows]

        def put(x: float, y: float, letter: str) -> None:
            row, column = rows.start - int(np.floor(y / 4)), round((x - left) / 2)
            if 0 <= row < len(grid) and 0 <= column < columns:
                grid[row][column] = letter

        for y in rows:
            for x in (-4.0, 4.0):
                if y not in (1, 2):
                    put(x, 4.0 * y, "|")
        for x in np.arange(left, -left + 1, 2):
            for y in (0.0, 13.0):
                if abs(x) > 4:
                    put(x, y, "-")
        for crosswalk in CROSSWALKS:
            for x in (-2.0, 0.0, 2.0):
                put(x, crosswalk[0], "=")
        for stream, letter in ((EAST, ">"), (WEST, "<")):
            for front in np.asarray(state.cars)[stream, : int(state.count[stream])]:
                put(_on_map(stream, float(front)), 5.0 if stream == EAST else 9.0, letter)
        for side in (NEAR, FAR):
            if (walked := float(state.walked[side])) >= 0:
                put(_walker_x(side, walked), CROSSWALKS[side][0], "o")
        put(2.0, min(float(state.position), 40.0), "A")
        phase, change = signal(state, params)
        light = ("green", "yellow", "red", "red", "red", "red")[int(phase)]
        head = f"{light} for {float(change):.1f} s, {float(state.speed):.1f} m/s"
        return "\n".join([head, *("".join(row).rstrip() for row in grid)])

    def frame(self, state: IntersectionState, params: IntersectionParams) -> np.ndarray:
        """Return a picture from above, `[560, 360, 3]` uint8, 5 pixels a metre."""
        from envs.traffic.drawing import picture

        phase, change = signal(state, params)
        return picture(
            position=float(state.position),
            speed=float(state.speed),
            cars=[np.asarray(state.cars)[s, : int(state.count[s])].tolist() for s in (EAST, WEST)],
            walked=np.asarray(state.walked).tolist(),
            phase=int(phase),
            change=float(change),
            violations=int(state.violations),
            destination=float(params.destination),
        )

    def _observe(self, state: IntersectionState, params: IntersectionParams) -> jax.Array:
        phase, change = signal(state, params)
        bands = _constants(BANDS)
        coming = jnp.arange(self.num_cars)[None] < state.count[:, None]
        coming &= state.cars - CAR_LENGTH < bands[:, 1:]
        gap = jnp.min(jnp.where(coming, (bands[:, :1] - state.cars) / 50.0, 1.0), axis=1)
        return jnp.concatenate(
            [
                jnp.stack(
                    [
                        state.position / 50.0,
                        jnp.clip(state.position / 10.0, -3.0, 3.0),
                        state.speed / 10.0,
                        (phase == GREEN).astype(jnp.float32),
                        (phase == YELLOW).astype(jnp.float32),
                        (phase >= CLEARING).astype(jnp.float32),
                        change / 10.0,
                    ]
                ),
                gap,
                (state.walked >= 0).astype(jnp.float32),
                jnp.maximum(state.walked, 0.0) / ROAD_WIDTH,
            ]
        )


def trip_left(state: IntersectionState, params: IntersectionParams) -> jax.Array:
    """Return minus the share of the way that is left, `[]` float32: a potential for the sparse reward.

    It is 0 at the destination, so that a trip's last step neither pays nor costs on its account.

    >>> from envs.wrappers import PotentialShaping
    >>> env = PotentialShaping(Intersection(reward="sparse"), potential=trip_left)
    >>> state, _ = env.reset(jax.random.key(0), env.default_params())
    >>> _, out = env.step(jax.random.key(1), state, 4, env.default_params())
    >>> round(float(out.reward), 3), float(out.metrics["performance"])
    (0.035, 0.0)
    """
    return (state.position - params.destination) / (params.destination - params.start_low)


def cycle(params: IntersectionParams) -> jax.Array:
    """Return how long the signal takes from green to green, `[]` float32 s."""
    return params.green + params.cross_green + 2 * (params.yellow + params.all_red)


def signal(state: IntersectionState, params: IntersectionParams) -> tuple[jax.Array, jax.Array]:
    """Return the phase, `[]` int32 (`GREEN`, ..., `CROSS_CLEARING`), and the s to the light's change."""
    clear = [params.yellow, params.all_red]
    ends = jnp.cumsum(jnp.stack([params.green, *clear, params.cross_green, *clear]))
    now = jnp.mod(state.offset + state.t * params.time_step, ends[-1])
    phase = jnp.minimum(jnp.sum(now >= ends), CROSS_CLEARING).astype(jnp.int32)
    return phase, ends[jnp.where(phase >= CLEARING, CROSS_CLEARING, phase)] - now


def drive(
    state: IntersectionState, acceleration: jax.Array, params: IntersectionParams
) -> tuple[jax.Array, jax.Array]:
    """Return the car's position and speed after a step; it brakes to rest before it turns round."""
    speed = state.speed + acceleration * params.time_step
    speed = jnp.where(speed * state.speed < 0, 0.0, speed)
    speed = jnp.clip(speed, -params.reverse_speed, params.max_speed)
    position = state.position + (state.speed + speed) / 2 * params.time_step
    return jnp.maximum(position, ROAD_START), jnp.where(position < ROAD_START, 0.0, speed)


def flow(
    front: jax.Array,
    count: jax.Array,
    arrives: jax.Array,
    may_go: jax.Array,
    band: jax.Array,
    params: IntersectionParams,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return one stream of cross traffic after a step.

        front_i <- max(front_i, min(front_i + speed * dt, front_(i-1) - SPACING, 0 if it has to stop))

    Args:
      front: `[K]` float32 m, front bumpers, the foremost first.
      count: `[]` int32, how many of them are there.
      arrives: `[]` bool, whether another one wants to enter.
      may_go: `[]` bool, whether its light is green.
      band: `[2]` float32 m, between which bodies are on the driver's path.
      params: its `car_speed` and `time_step` are used.

    Returns:
      `front`, `count` and whether any car was on the path during the step, `[]` bool.

    Source: Newell (2002), A simplified car-following theory, equation 6.
    """
    index = jnp.arange(front.shape[0])
    leader = jnp.concatenate([jnp.full(1, jnp.inf, front.dtype), front[:-1]])
    target = jnp.minimum(front + params.car_speed * params.time_step, leader - SPACING)
    target = jnp.where(~may_go & (front <= 0), jnp.minimum(target, 0.0), target)
    moved = jnp.maximum(front, target)
    on_path = jnp.any((index < count) & (front - CAR_LENGTH < band[1]) & (moved > band[0]))
    leaves = (count > 0) & (moved[0] > EXIT)
    moved = jnp.where(leaves, jnp.roll(moved, -1), moved)
    count = count - leaves
    last = moved[jnp.maximum(count - 1, 0)]
    enters = arrives & (count < front.shape[0]) & ((count == 0) | (last >= ENTRY + SPACING))
    # A car that enters takes the first free slot, and free slots hold `ENTRY`.
    return jnp.where(index < count, moved, ENTRY), count + enters, on_path


def walk(
    state: IntersectionState, sets_off: jax.Array, params: IntersectionParams
) -> tuple[jax.Array, jax.Array]:
    """Return how far those on the two crosswalks have come, and whether they were in front of the car.

    Args:
      state: before the step.
      sets_off: `[2]` bool, whether somebody would like to cross.
      params: speed of those on foot, time step, and the braking that they count on.

    Returns:
      `[2]` float32 m (-1 for nobody) and `[2]` bool.
    """
    strides, crosswalks = _constants(STRIDES), _constants(CROSSWALKS)
    there = state.walked >= 0
    walked = state.walked + params.walking_speed * params.time_step
    on_path = there & (state.walked < strides[:, 1]) & (walked > strides[:, 0])
    # The way to rest when braking begins a second later, and a metre to spare.
    speed = jnp.maximum(state.speed, 0.0)
    stopping = speed + jnp.square(speed) / (-2 * jnp.minimum(jnp.min(params.accelerations), -0.1)) + 1.0
    passed = state.position - CAR_LENGTH > crosswalks[:, 1]
    dares = passed | (state.position + stopping <= crosswalks[:, 0])
    starts = ~there & sets_off & dares
    walked = jnp.where(there & (walked < ROAD_WIDTH), walked, jnp.where(starts, 0.0, -1.0))
    return walked, on_path


def _constants(pairs: tuple[tuple[float, float], ...]) -> jax.Array:
    return jnp.asarray(pairs, jnp.float32)


def _overlap(low: jax.Array, high: jax.Array, pairs: tuple[tuple[float, float], ...]) -> jax.Array:
    ends = _constants(pairs)
    return (low < ends[:, 1]) & (high > ends[:, 0])


def _on_map(stream: int, front: float) -> float:
    """Return the x coordinate (m) of a point `front` m beyond a stream's stop line."""
    return front - 9.0 if stream == EAST else 9.0 - front


def _walker_x(side: int, walked: float) -> float:
    """Return the x coordinate (m): the near ones set off in the east, the far ones in the west."""
    return 4.0 - walked if side == NEAR else walked - 4.0
