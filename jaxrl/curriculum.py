"""Train with a curriculum: an algorithm whose world follows how it does, still one program."""

from dataclasses import dataclass
from typing import Any

import jax
from flax import struct

from envs.core import Environment, Params
from envs.physics.curriculum import Curriculum
from jaxrl.algorithm import Algorithm, Metrics, Policy
from jaxrl.rollout import pooled
from jaxrl.sweep import Make, check_make


@struct.dataclass
class State:
    """The learner's state, and that of the curriculum it learns by."""

    inner: Any
    curriculum: Any


@dataclass(frozen=True)
class WithCurriculum:
    """A `make` whose algorithm learns in the params that a curriculum gives it, anew in each iteration.

    `make` is pure and takes traced params, so the algorithm is built again inside its own step: no second
    compile when the params change, and none between seeds whose curricula differ. Evaluations are in the
    params that the algorithm was made with, or in `eval_env`.

    Metrics: those of the algorithm and of the curriculum. With an `axis_name` in the configuration the
    curriculum follows the episodes of all devices, so that its params stay equal on them.

    Args:
      make: of any algorithm; `jaxrl.sweep` and `jaxrl.train` take the result as they take `make`.
      curriculum: for instance `envs.physics.ADR`.

    >>> import envs
    >>> from envs.physics import ADR, Expandable, Variation
    >>> from jaxrl.agents import ppo
    >>> env = Expandable(envs.make("Pendulum-v1")[0], (Variation("mass", 1, 1),), limits=((0.5, 2.0),))
    >>> algorithm = WithCurriculum(ppo.make, ADR)(env, env.default_params(), ppo.Config(num_steps=8))
    >>> _, metrics = algorithm.step(algorithm.init(jax.random.key(0)), jax.numpy.int32(0))
    >>> float(metrics["range_high_mass"])
    1.0
    """

    make: Make
    curriculum: Curriculum

    def __call__(self, env: Environment, params: Params, config: Any) -> Algorithm:
        """Return the algorithm; see `Make`.

        Raises:
          ValueError: as `make`, or if `curriculum` is no `Curriculum` or does not fit `env`.
        """
        check_make(self.make)
        curriculum = self.curriculum
        if not isinstance(curriculum, Curriculum):
            raise ValueError(
                f"`curriculum` must be an envs.physics.Curriculum, for instance ADR, got {curriculum!r}"
            )

        def build(state: Any) -> Algorithm:
            return self.make(env, curriculum.apply(state, params), config)

        def init(key: jax.Array) -> State:
            state = curriculum.init(env, params)
            return State(inner=build(state).init(key), curriculum=state)

        def step(state: State, t: jax.Array) -> tuple[State, Metrics]:
            inner, metrics = build(state.curriculum).step(state.inner, t)
            axis_name = getattr(config, "axis_name", None)
            stats = metrics if axis_name is None else pooled(metrics, axis_name)
            after = curriculum.update(state.curriculum, stats)
            return State(inner=inner, curriculum=after), metrics | curriculum.report(after)

        def policy(state: State) -> Policy:
            return build(state.curriculum).policy(state.inner)

        return build(curriculum.init(env, params))._replace(
            init=init, step=step, policy=policy, env=env, params=params
        )
