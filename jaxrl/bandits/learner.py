"""From a bandit policy to an `Algorithm`: the loop of pulls, and what is reported of it.

A policy is a `Learner`: its beliefs, how it selects an arm, how it learns from what the arm paid. Everything
else, the environment, the clock, regret, pulls and the time to identify the best arm, is the same for all.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer

from envs.core import Environment, Params
from envs.spaces import Discrete
from envs.vector import VecEnv, VecState
from jaxrl.algorithm import Algorithm, Policy
from jaxrl.explore import selection
from jaxrl.nets.encoder import encode, encoded_shape
from jaxrl.rollout import episode_metrics
from jaxrl.train import History

Beliefs = Any
Noise = Any
# So many arms have a metric each.
MAX_LISTED_ARMS = 20


class Learner(NamedTuple):
    """A bandit policy as pure functions of one run; A arms, F features.

    Attributes:
      init: `key -> beliefs`.
      draw: `(key, T) -> noise [T, ...]`, the randomness of T selections. It does not depend on what was
        learned, so it is drawn in bulk: on a CPU a few large draws cost much less than many small ones.
      select: `(beliefs, x [F], noise, n) -> arm [] int32`; n is the number of pulls so far, `[]` int32,
        shared by all seeds.
      update: `(beliefs, x [F], arm, reward, n) -> beliefs`, with the n before this pull.
      values: `(beliefs, x [F]) -> [A]`, what each arm is believed to be worth; the greedy policy's choice.
      refit: `(beliefs, key, n) -> beliefs` once an iteration, for what is too costly at every pull, or None.
    """

    init: Callable[[jax.Array], Beliefs]
    draw: Callable[[jax.Array, int], Noise]
    select: Callable[[Beliefs, jax.Array, Noise, jax.Array], jax.Array]
    update: Callable[[Beliefs, jax.Array, jax.Array, jax.Array, jax.Array], Beliefs]
    values: Callable[[Beliefs, jax.Array], jax.Array]
    refit: Callable[[Beliefs, jax.Array, jax.Array], Beliefs] | None = None


@struct.dataclass
class State:
    """Everything a bandit run carries from one iteration to the next.

    Attributes:
      beliefs: the policy's.
      vec_state: the environment's.
      obs: `[1, ...]`, what is seen now.
      pulls: `[A]` int32, how often each arm was pulled.
      unidentified: `[]` int32, the number of pulls up to the last one after which the policy would not have
        recommended a best arm: the time to identify it. Stays 0 where the environment does not tell its
        `expected_rewards`.
      key: the next iteration's key.
    """

    beliefs: Beliefs
    vec_state: VecState
    obs: Any
    pulls: jax.Array
    unidentified: jax.Array
    key: jax.Array


def algorithm(env: Environment, params: Params, learner: Learner, num_steps: int) -> Algorithm:
    """Return the `Algorithm` that plays `learner` on `env`, `num_steps` pulls an iteration.

    Its metrics are means over these pulls: `reward`, the share of each arm (`pull_share_0`, ... for at most
    20 arms) and, where the environment tells its `expected_rewards`, `regret`, `optimal` (the share of best
    arms), `identified` (how often the policy would have recommended a best arm, were it to stop there) and
    `identified_after`, the number of pulls after which it always would have, as far as is known by then.

    Args:
      env: a bandit; any environment with discrete actions is played as if its steps were unrelated.
      params: its parameters.
      learner: the policy.
      num_steps: pulls an iteration.

    Raises:
      ValueError: if the actions are not discrete.
    """
    num_arms = number_of_arms(env, params)
    obs_space = env.observation_space(params)
    vec = VecEnv(env, 1)
    tells = hasattr(env, "expected_rewards")

    def features(obs):
        return jnp.append(encode(obs, obs_space), 1.0)

    def init(key):
        key_beliefs, key_env, key = jax.random.split(key, 3)
        vec_state, obs = vec.reset(key_env, params)
        return State(
            beliefs=learner.init(key_beliefs),
            vec_state=vec_state,
            obs=obs,
            pulls=jnp.zeros(num_arms, jnp.int32),
            unidentified=jnp.int32(0),
            key=key,
        )

    def step(state, t):
        key_draw, key_env, key_refit, key = jax.random.split(state.key, 4)
        before = t * num_steps

        def pull(loop, at):
            state, totals = loop
            noise, key, i = at
            n = before + i
            x = features(jax.tree.map(lambda leaf: leaf[0], state.obs))
            arm = learner.select(state.beliefs, x, noise, n)
            vec_state, out = vec.step(key, state.vec_state, arm[None], params)
            beliefs = learner.update(state.beliefs, x, arm, out.reward[0], n)
            metrics, unidentified = {"reward": out.reward[0]}, state.unidentified
            if tells:
                world = jax.tree.map(lambda leaf: leaf[0], state.vec_state.state)
                expected = env.expected_rewards(world, params)  # type: ignore[attr-defined]
                right = is_identified(learner.values(beliefs, x), expected)
                unidentified = jnp.where(right, unidentified, n + 1)
                best, chosen = jnp.max(expected), expected[arm]
                metrics |= {
                    "regret": best - chosen,
                    "optimal": (chosen == best).astype(jnp.float32),
                    "identified": right.astype(jnp.float32),
                }
            state = state.replace(
                beliefs=beliefs,
                vec_state=vec_state,
                obs=out.obs,
                pulls=state.pulls + (jnp.arange(num_arms) == arm),
                unidentified=unidentified,
            )
            totals = metrics if totals is None else {k: totals[k] + v for k, v in metrics.items()}
            return (state, totals), out.episode

        noise, keys = learner.draw(key_draw, num_steps), jax.random.split(key_env, num_steps)
        each = (noise, keys, jnp.arange(num_steps, dtype=jnp.int32))
        names = ["reward", "regret", "optimal", "identified"] if tells else ["reward"]
        totals = {name: jnp.float32(0) for name in names}
        (after, totals), episode = jax.lax.scan(pull, (state, totals), each)
        beliefs = after.beliefs
        if learner.refit is not None:
            beliefs = learner.refit(beliefs, key_refit, before + num_steps)
        metrics = {name: total / num_steps for name, total in totals.items()}
        share = (after.pulls - state.pulls).astype(jnp.float32) / num_steps
        if tells:
            metrics["identified_after"] = after.unidentified.astype(jnp.float32)
        metrics |= {f"pull_share_{arm}": share[arm] for arm in range(min(num_arms, MAX_LISTED_ARMS))}
        return after.replace(beliefs=beliefs, key=key), metrics | episode_metrics(episode)

    def policy(state):
        def act(obs, carry, key):
            return selection.greedy(key, learner.values(state.beliefs, features(obs))), carry

        return Policy(init=lambda: (), act=act)

    return Algorithm(init, step, policy, num_steps, env, params)


def is_identified(values: jax.Array, expected: jax.Array) -> jax.Array:
    """Return whether the highest value belongs to a best arm, and to best arms only, `[]` bool.

    Args:
      values: `[A]` float, what the arms are believed to be worth.
      expected: `[A]` float, what they are worth.

    >>> bool(is_identified(jnp.array([1.0, 1.0]), jnp.array([0.1, 0.2])))
    False
    """
    best = selection.best_actions(expected)
    believed = jnp.max(values, where=best, initial=-jnp.inf)
    return believed > jnp.max(values, where=~best, initial=-jnp.inf)


def cumulative_regret(history: History) -> jax.Array:
    """Return the regret summed over all pulls up to each log point, `[..., P]` float32.

    Args:
      history: of a bandit policy where the environment tells its `expected_rewards`; any leading axes.
    """
    pulls = jnp.diff(history.metric_steps, axis=-1, prepend=0)
    return jnp.cumsum(history.metrics["regret"] * pulls, axis=-1)


def number_of_arms(env: Environment, params: Params) -> int:
    """Return how many arms there are.

    Raises:
      ValueError: if the actions are not discrete.
    """
    space = env.action_space(params)
    if not isinstance(space, Discrete):
        raise ValueError(
            f"`env` must have discrete actions, the arms, but {env.id!r} takes {type(space).__name__}; "
            "jaxrl.agents.ppo serves such spaces"
        )
    return space.n


def num_features(env: Environment, params: Params) -> int:
    """Return F, the length of what a `Learner` sees: the encoded observation and a constant 1."""
    return encoded_shape(env.observation_space(params))[0] + 1


def check_unit_rewards(env: Environment, params: Params, remedy: str) -> None:
    """Check that the environment, if it tells its `reward_range`, pays within [0, 1].

    Raises:
      ValueError: naming the range, and the remedy.
    """
    if not hasattr(env, "reward_range"):
        return
    low, high = env.reward_range(params)  # type: ignore[attr-defined]
    if low < 0 or high > 1:
        raise ValueError(
            f"`env` must pay rewards in [0, 1], but {env.id!r} pays from {low:g} to {high:g}; {remedy}"
        )


def unit_reward(reward: Any) -> jax.Array:
    """Return `reward`; what is traced is clipped to [0, 1], since a program cannot raise.

    Raises:
      ValueError: if it is concrete and outside [0, 1].

    >>> unit_reward(1.5)
    Traceback (most recent call last):
    ...
    ValueError: `reward` must lie in [0, 1], got 1.5; rescale the environment's rewards
    """
    if not isinstance(reward, Tracer):
        values = np.asarray(reward)
        wrong = values[~((values >= 0) & (values <= 1))]
        if wrong.size:
            raise ValueError(
                f"`reward` must lie in [0, 1], got {wrong.flat[0]:g}; rescale the environment's rewards"
            )
    return jnp.clip(reward, 0.0, 1.0)
