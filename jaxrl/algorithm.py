"""The two types that everything else produces or consumes: `Algorithm` and `Policy`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from envs.core import Environment, Params
from envs.spaces import Discrete

Carry = Any
State = Any
Metrics = dict[str, jax.Array]


class Policy(NamedTuple):
    """How to act, on one unbatched observation; the caller vmaps.

    Attributes:
      init: `() -> carry`, the memory at the start of an episode; `()` when memoryless.
      act: `(obs, carry, key) -> (action, carry)`.
      value: `(obs, carry) -> [] float32`, the discounted return that the learner expects, or None if it has
        no opinion; see `jaxrl.health`.
      discount: `[]` float, the discount factor of that return, or None. Where it is known, an evaluation also
        measures how much the value says too much.
    """

    init: Callable[[], Carry]
    act: Callable[[Any, Carry, jax.Array], tuple[Any, Carry]]
    value: Callable[[Any, Carry], jax.Array] | None = None
    discount: jax.Array | float | None = None


class Algorithm(NamedTuple):
    """A learner as pure functions; what `make(env, params, config)` of every algorithm returns.

    Attributes:
      init: `key -> state`, a declared dataclass that holds everything the learner will ever need.
      step: `(state, t) -> (state, metrics)`, one iteration. `t` is `[]` int32, the number of
        iterations done, shared by all seeds. Metrics are `[]` float32: those named `episode_*` are
        means over the `episodes` that ended in this iteration (NaN if none did), the others finite.
      policy: `state -> Policy`, greedy by default: how the learner is evaluated and deployed.
      steps_per_iteration: environment steps of one `step`; 0 for offline learners.
      env: the environment it learns in, where it is evaluated by default.
      params: that environment's parameters.
      total_steps: environment steps after which its schedules leave nothing to learn, or None.
    """

    init: Callable[[jax.Array], State]
    step: Callable[[State, jax.Array], tuple[State, Metrics]]
    policy: Callable[[State], Policy]
    steps_per_iteration: int
    env: Environment | None = None
    params: Params = None
    total_steps: jax.Array | float | None = None


def num_actions(env: Environment, params: Params) -> int:
    """Return how many actions there are, for learners that give each a value of its own.

    Raises:
      ValueError: if the actions are not discrete.

    >>> import envs
    >>> num_actions(*envs.make("CartPole-v1"))
    2
    """
    space = env.action_space(params)
    if not isinstance(space, Discrete):
        raise ValueError(
            f"`env` must have discrete actions, but {env.id!r} takes {type(space).__name__}; "
            "jaxrl.agents.ppo serves such spaces"
        )
    return space.n
