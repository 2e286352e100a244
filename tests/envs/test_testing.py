"""Planted faults: each wrong environment must be caught by the law that it breaks, a right one by none."""

import dataclasses
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from envs.core import Step
from envs.spaces import Box, Dict, Discrete
from envs.tabular import Outcomes
from envs.testing import LAWS, ConformanceError, check_env

SIZE = 4


@struct.dataclass
class WalkParams:
    slip: jax.Array
    max_steps: jax.Array


@struct.dataclass
class WalkState:
    position: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class Walk:
    """Go left or right between 0 and SIZE - 1, which ends it; with probability `slip` the other way."""

    id: str = "Walk-v0"

    def default_params(self):
        return WalkParams(slip=jnp.float32(0.25), max_steps=jnp.int32(20))

    def time_limit(self, params):
        return params.max_steps

    def observation_space(self, params):
        return Box(0.0, SIZE - 1.0, (1,))

    def action_space(self, params):
        return Discrete(2)

    def reset(self, key, params):
        state = WalkState(position=jnp.int32(1), t=jnp.int32(0))
        return state, self.observe(state)

    def step(self, key, state, action, params):
        slips = jax.random.uniform(key) < params.slip
        position = state.position + jnp.where((action == 1) ^ slips, 1, -1)
        state = WalkState(position=position, t=state.t + 1)
        terminated = (position <= 0) | (position >= SIZE - 1)
        truncated = (state.t >= params.max_steps) & ~terminated
        reward = (position == SIZE - 1).astype(jnp.float32)
        return state, Step(self.observe(state), reward, terminated, truncated, {"cost": reward})

    def observe(self, state):
        return state.position[None].astype(jnp.float32)

    @property
    def num_states(self):
        return SIZE

    def state_index(self, state, params):
        return state.position

    def start_distribution(self, params):
        return jax.nn.one_hot(1, SIZE, dtype=jnp.float32)

    def outcomes(self, state_index, action, params):
        moves = jnp.where(action == 1, jnp.array([1, -1]), jnp.array([-1, 1]))
        following = jnp.clip(state_index + moves, 0, SIZE - 1)
        ends = (following == 0) | (following == SIZE - 1)
        reward = (following == SIZE - 1).astype(jnp.float32)
        return Outcomes(jnp.stack([1 - params.slip, params.slip]), following, reward, ends)

    def action_mask(self, state, params):
        return jnp.array([True, True])

    def ascii(self, state, params):
        return "." * int(state.position) + "A"

    def frame(self, state, params):
        return np.zeros((2, 2 * SIZE, 3), np.uint8)


def check(env, params=None):
    return check_env(env, params, num_envs=8, num_steps=128)


def test_right_environment_passes_every_law():
    assert set(check(Walk())) == set(LAWS)


def test_error_names_environment_law_and_what_was_seen():
    with pytest.raises(ConformanceError, match=r"'Walk-v0' breaks the law 'reward'.*int32\[\]") as caught:
        check(IntegerReward())
    assert (caught.value.id, caught.value.law) == ("Walk-v0", "reward")
    assert isinstance(caught.value, AssertionError)


# Wrong environments; the attribute `law` says what each of them breaks. ------------------------------------

FAULTS = {}


def breaks(law):
    def add(environment):
        FAULTS[environment.__name__] = (environment, law)
        return environment

    return add


def altered(base, **changes):
    """Return `base`'s step with fields of its Step replaced by functions of (step, state, params)."""

    def step(self, key, state, action, params):
        after, out = super(base, self).step(key, state, action, params)
        return after, out.replace(**{name: change(out, after, params) for name, change in changes.items()})

    return step


@breaks("protocol")
class NoActionSpace:
    id = "NoActionSpace-v0"
    default_params = reset = step = observation_space = None


@breaks("protocol")
@dataclass(frozen=True, eq=False)
class EqualByIdentity(Walk):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


@breaks("protocol")
@dataclass(frozen=True)
class HoldsAnArray(Walk):
    map: np.ndarray = field(default_factory=lambda: np.zeros(2))


@breaks("params")
@dataclass(frozen=True)
class PythonNumberInParams(Walk):
    def default_params(self):
        return super().default_params().replace(slip=0.25)


@struct.dataclass
class StaticParams(WalkParams):
    bonus: float = struct.field(pytree_node=False, default=0.0)


@breaks("params")
@dataclass(frozen=True)
class StaticNumberInParams(Walk):
    def default_params(self):
        return StaticParams(slip=jnp.float32(0.25), max_steps=jnp.int32(20))


@breaks("spaces")
@dataclass(frozen=True)
class SpaceNeedsAValue(Walk):
    def observation_space(self, params):
        return Box(0.0, float(params.max_steps), (1,))


@breaks("trace")
@dataclass(frozen=True)
class BranchesOnAParameter(Walk):
    def step(self, key, state, action, params):
        return super().step(key, state, action, params) if params.slip > 0 else None


@breaks("trace")
@dataclass(frozen=True)
class ReturnsATuple(Walk):
    def step(self, key, state, action, params):
        state, out = super().step(key, state, action, params)
        return state, (out.obs, out.reward, out.terminated, {})


@breaks("carry")
@dataclass(frozen=True)
class WeakClock(Walk):
    def reset(self, key, params):
        state, obs = super().reset(key, params)
        return state.replace(t=0), obs


@breaks("carry")
@dataclass(frozen=True)
class ClockBecomesFloat(Walk):
    def step(self, key, state, action, params):
        state, out = super().step(key, state, action, params)
        return state.replace(t=state.t.astype(jnp.float32)), out


@breaks("observation")
@dataclass(frozen=True)
class IntegerObservation(Walk):
    def observe(self, state):
        return state.position[None]


@breaks("observation")
@dataclass(frozen=True)
class OtherNamesInObservation(Walk):
    def observation_space(self, params):
        return Dict({"position": Box(0.0, 3.0, (1,))})

    def observe(self, state):
        return {"place": super().observe(state)}


@breaks("observation")
@dataclass(frozen=True)
class ScalarObservationAfterStep(Walk):
    pass


ScalarObservationAfterStep.step = altered(
    ScalarObservationAfterStep, obs=lambda out, state, params: out.obs[0]
)


@breaks("reward")
@dataclass(frozen=True)
class IntegerReward(Walk):
    pass


IntegerReward.step = altered(IntegerReward, reward=lambda out, state, params: out.reward.astype(jnp.int32))


@breaks("flags")
@dataclass(frozen=True)
class FloatFlag(Walk):
    pass


FloatFlag.step = altered(FloatFlag, terminated=lambda out, state, params: out.terminated.astype(jnp.float32))


@breaks("metrics")
@dataclass(frozen=True)
class VectorMetric(Walk):
    pass


VectorMetric.step = altered(VectorMetric, metrics=lambda out, state, params: {"cost": out.obs})


@breaks("metrics")
@dataclass(frozen=True)
class MetricsChangeNames(Walk):
    calls: list = field(default_factory=list, hash=False, compare=False)

    def step(self, key, state, action, params):
        self.calls.append(None)
        state, out = super().step(key, state, action, params)
        return state, out.replace(metrics={f"cost{len(self.calls)}": out.reward})


@breaks("deterministic")
@dataclass(frozen=True)
class NumpyRandomWhenTraced(Walk):
    def step(self, key, state, action, params):
        state, out = super().step(key, state, action, params)
        return state, out.replace(reward=out.reward + jnp.float32(np.random.uniform()))


@breaks("deterministic")
@dataclass(frozen=True)
class NumpyRandomWhenRun(Walk):
    def step(self, key, state, action, params):
        state, out = super().step(key, state, action, params)
        noise = jax.experimental.io_callback(
            lambda _: np.float32(np.random.uniform()), jax.ShapeDtypeStruct((), jnp.float32), out.reward
        )
        return state, out.replace(reward=out.reward + noise)


@breaks("keys")
@dataclass(frozen=True)
class UsesAKeyTwice(Walk):
    def step(self, key, state, action, params):
        state, out = super().step(key, state, action, params)
        return state, out.replace(reward=out.reward + jax.random.normal(key))


@dataclass(frozen=True)
class ScansOverKeys(Walk):
    """As a simulator with noise in its substeps does; jax alone takes its mapped keys for used before."""

    twice: bool = False

    def step(self, key, state, action, params):
        key, key_noise = jax.random.split(key)
        state, out = super().step(key, state, action, params)

        def substep(total, key):
            return total + jax.random.normal(key) + (jax.random.uniform(key) if self.twice else 0), None

        noise, _ = jax.lax.scan(substep, jnp.float32(0), jax.random.split(key_noise, 3))
        return state, out.replace(metrics={"cost": noise})


@breaks("keys")
@dataclass(frozen=True)
class UsesAKeyTwiceInAScan(ScansOverKeys):
    twice: bool = True


@jax.custom_batching.custom_vmap
def unmappable(x):
    return x


@unmappable.def_vmap
def _(axis_size, in_batched, x):
    raise NotImplementedError("no rule for vmap")


@breaks("vmap")
@dataclass(frozen=True)
class CannotBeMapped(Walk):
    def step(self, key, state, action, params):
        state, out = super().step(key, state, action, params)
        return state, out.replace(reward=unmappable(out.reward))


@jax.tree_util.register_pytree_node_class
class ParamsWithAValueInTheirStructure(WalkParams):
    def tree_flatten(self):
        concrete = isinstance(self.max_steps, np.ndarray)
        return (self.slip, self.max_steps), int(self.max_steps.flat[0]) if concrete else None

    @classmethod
    def tree_unflatten(cls, structure, leaves):
        return cls(*leaves)


@breaks("compile")
@dataclass(frozen=True)
class CompilesForEachLimit(Walk):
    def default_params(self):
        return ParamsWithAValueInTheirStructure(slip=jnp.float32(0.25), max_steps=jnp.int32(20))


@breaks("finite")
@dataclass(frozen=True)
class DividesByZero(Walk):
    pass


DividesByZero.step = altered(DividesByZero, reward=lambda out, state, params: 1.0 / (out.obs[0] - 2))


@breaks("contains")
@dataclass(frozen=True)
class LastObservationOutside(Walk):
    def observation_space(self, params):
        return Box(0.5, SIZE - 1.0, (1,))


@breaks("one end")
@dataclass(frozen=True)
class BothEnds(Walk):
    def default_params(self):
        return super().default_params().replace(max_steps=jnp.int32(3))


BothEnds.step = altered(BothEnds, truncated=lambda out, state, params: state.t >= params.max_steps)


@breaks("time limit")
@dataclass(frozen=True)
class OneStepLate(Walk):
    pass


OneStepLate.step = altered(
    OneStepLate, truncated=lambda out, state, params: (state.t > params.max_steps) & ~out.terminated
)


@breaks("time limit")
@dataclass(frozen=True)
class LimitIsNoParameter(Walk):
    pass


LimitIsNoParameter.step = altered(
    LimitIsNoParameter, truncated=lambda out, state, params: (state.t >= 20) & ~out.terminated
)


@breaks("time limit")
@dataclass(frozen=True)
class TruncatesWithoutReason(Walk):
    pass


TruncatesWithoutReason.step = altered(
    TruncatesWithoutReason, truncated=lambda out, state, params: (state.t >= 2) & ~out.terminated
)


@breaks("time limit")
@dataclass(frozen=True)
class LimitIsTermination(Walk):
    pass


LimitIsTermination.step = altered(
    LimitIsTermination,
    terminated=lambda out, state, params: out.terminated | out.truncated,
    truncated=lambda out, state, params: jnp.zeros((), bool),
)


@dataclass(frozen=True)
class LosesTheLastObservation(Walk):
    """As gymnax's `step` does: what is seen at the end is the next episode's start."""

    def step(self, key, state, action, params):
        key_step, key_reset = jax.random.split(key)
        after, out = super().step(key_step, state, action, params)
        _, first = self.reset(key_reset, params)
        return after, out.replace(obs=jnp.where(out.terminated | out.truncated, first, out.obs))


@breaks("no reset")
@dataclass(frozen=True)
class ResetsItself(Walk):
    def step(self, key, state, action, params):
        key_step, key_reset = jax.random.split(key)
        after, out = super().step(key_step, state, action, params)
        start, _ = self.reset(key_reset, params)
        done = out.terminated | out.truncated
        return jax.tree.map(lambda a, b: jnp.where(done, a, b), start, after), out


@breaks("no reset")
@dataclass(frozen=True)
class ResetsItselfAtTheLimit(Walk):
    def step(self, key, state, action, params):
        key_step, key_reset = jax.random.split(key)
        after, out = super().step(key_step, state, action, params)
        start, _ = self.reset(key_reset, params)
        return jax.tree.map(lambda a, b: jnp.where(out.truncated, a, b), start, after), out


@struct.dataclass
class Place:
    x: jax.Array


@dataclass(frozen=True)
class Drift:
    """Walk to beyond 1 from a random start; no clock, no time limit."""

    id: str = "Drift-v0"

    def default_params(self):
        return DriftParams(speed=jnp.float32(0.1))

    def observation_space(self, params):
        return Box(-jnp.inf, jnp.inf, (1,))

    def action_space(self, params):
        return Box(-2.0, 2.0, ())

    def reset(self, key, params):
        state = Place(x=jax.random.uniform(key, minval=-0.1, maxval=0.1))
        return state, state.x[None]

    def step(self, key, state, action, params):
        x = state.x + params.speed * (1 + action)
        return Place(x=x), Step(x[None], jnp.float32(1.0), jnp.abs(x) > 1, jnp.bool_(False))


@struct.dataclass
class DriftParams:
    speed: jax.Array


@breaks("no reset")
@dataclass(frozen=True)
class ResetsItselfWithoutClock(Drift):
    """The start is random, so that no number of a first state is always the same."""

    def step(self, key, state, action, params):
        after, out = super().step(key, state, action, params)
        start, _ = self.reset(key, params)
        return jax.tree.map(lambda a, b: jnp.where(out.terminated, a, b), start, after), out


@breaks("current")
@dataclass(frozen=True)
class ShowsTheStateBefore(Drift):
    def step(self, key, state, action, params):
        after, out = super().step(key, state, action, params)
        return after, out.replace(obs=state.x[None])


@breaks("actions")
@dataclass(frozen=True)
class StepsAsLongAsTheAction(Walk):
    def step(self, key, state, action, params):
        after, out = super().step(key, state, action, params)
        after = after.replace(position=jnp.clip(after.position + jnp.maximum(action - 1, 0), 0, SIZE - 1))
        return after, out.replace(obs=self.observe(after))


@struct.dataclass
class StateWithAction(WalkState):
    action: jax.Array


@breaks("actions")
@dataclass(frozen=True)
class KeepsWhateverWasAskedFor(Walk):
    def reset(self, key, params):
        state, obs = super().reset(key, params)
        return StateWithAction(position=state.position, t=state.t, action=jnp.int32(0)), obs

    def step(self, key, state, action, params):
        after, out = super().step(key, state, action, params)
        return StateWithAction(position=after.position, t=after.t, action=jnp.asarray(action, jnp.int32)), out


@breaks("params used")
@dataclass(frozen=True)
class ParametersBakedIn(Drift):
    def step(self, key, state, action, params):
        return super().step(key, state, action, self.default_params())


@breaks("action mask")
@dataclass(frozen=True)
class MaskForbidsAll(Walk):
    def action_mask(self, state, params):
        return jnp.array([False, False]) | (state.position == 1)


@breaks("outcomes")
@dataclass(frozen=True)
class WrongProbability(Walk):
    def outcomes(self, state_index, action, params):
        return super().outcomes(state_index, action, params.replace(slip=params.slip + 0.15))


@breaks("outcomes")
@dataclass(frozen=True)
class WrongReward(Walk):
    def outcomes(self, state_index, action, params):
        out = super().outcomes(state_index, action, params)
        return out._replace(reward=out.reward - 1)


@breaks("outcomes")
@dataclass(frozen=True)
class WrongEnd(Walk):
    def outcomes(self, state_index, action, params):
        out = super().outcomes(state_index, action, params)
        return out._replace(terminated=out.next_state == SIZE - 1)


@breaks("outcomes")
@dataclass(frozen=True)
class ProbabilitiesDoNotSumToOne(Walk):
    def outcomes(self, state_index, action, params):
        out = super().outcomes(state_index, action, params)
        return out._replace(probability=out.probability * 0.9)


@breaks("outcomes")
@dataclass(frozen=True)
class WrongStart(Walk):
    def start_distribution(self, params):
        return jnp.array([0.0, 0.5, 0.5, 0.0], jnp.float32)


@breaks("ascii")
@dataclass(frozen=True)
class NoText(Walk):
    def ascii(self, state, params):
        return None


@breaks("frame")
@dataclass(frozen=True)
class FrameGrows(Walk):
    def frame(self, state, params):
        return np.zeros((2, 1 + int(state.t), 3), np.uint8)


@breaks("frame")
@dataclass(frozen=True)
class FloatFrame(Walk):
    def frame(self, state, params):
        return np.zeros((2, 2, 3), np.float32)


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_caught(name):
    environment, law = FAULTS[name]
    with pytest.raises(ConformanceError) as caught:
        check(environment())
    assert caught.value.law == law, caught.value


def test_a_lost_last_observation_is_caught():
    """Of 64 walks a quarter lives to see the short limit."""
    with pytest.raises(ConformanceError, match="the last observation is another than without") as caught:
        check_env(LosesTheLastObservation(), num_envs=64, num_steps=128)
    assert caught.value.law == "no reset"


def test_every_law_has_a_planted_fault():
    assert {law for _, law in FAULTS.values()} == set(LAWS)


# Right environments of other kinds -------------------------------------------------------------------------


@struct.dataclass
class Nothing:
    pass


@dataclass(frozen=True)
class OnePull:
    """One step, no clock, no parameters that set a limit, a state with a key in it, named observations."""

    id: str = "OnePull-v0"

    def default_params(self):
        return Nothing()

    def observation_space(self, params):
        return Dict({"noise": Box(-jnp.inf, jnp.inf, (2,)), "which": Discrete(3)})

    def action_space(self, params):
        return Box(-1.0, 1.0, (2,))

    def reset(self, key, params):
        key_noise, key_which, key_state = jax.random.split(key, 3)
        obs = {"noise": jax.random.normal(key_noise, (2,)), "which": jax.random.randint(key_which, (), 0, 3)}
        return key_state, obs

    def step(self, key, state, action, params):
        obs = {"noise": jnp.zeros(2), "which": jnp.int32(0)}
        return state, Step(obs, jnp.sum(action), jnp.bool_(True), jnp.bool_(False))


def test_environment_without_options_passes():
    optional = {"time limit", "action mask", "outcomes", "ascii", "frame"}
    assert set(check(OnePull())) == set(LAWS) - optional - {"keys"}


class Waits(Drift):
    """Shows nothing new in the first step, as a stale one does, but what it shows is the state it returns."""

    def reset(self, key, params):
        _, obs = super().reset(key, params)
        return {"x": obs[0], "t": jnp.int32(0)}, obs

    def step(self, key, state, action, params):
        after, out = super().step(key, Place(x=state["x"]), action, params)
        x = jnp.where(state["t"] > 0, after.x, state["x"])
        return {"x": x, "t": state["t"] + 1}, out.replace(obs=x[None], terminated=jnp.abs(x) > 1)


@pytest.mark.parametrize("environment", [Drift, Waits])
def test_right_environment_without_time_limit_passes(environment):
    assert {"no reset", "current", "params used"} <= set(check(environment()))


def test_keys_may_be_scanned_over():
    assert "keys" in check(ScansOverKeys())


class MeansToShowThePast(ShowsTheStateBefore):
    shows_past = True


def test_a_world_may_show_the_past_on_purpose():
    assert "current" not in check(MeansToShowThePast())


def test_given_parameters_are_used():
    params = Walk().default_params().replace(slip=jnp.float32(jnp.nan))
    with pytest.raises(ConformanceError, match=r"breaks the law 'params' .*slip is NaN"):
        check(Walk(), params)


def test_rare_branch_is_no_fault():
    params = dataclasses.replace(Walk().default_params(), slip=jnp.float32(1e-3))
    check(Walk(), params)
