"""REINFORCE: its gradient against returns summed by hand, with every kind of end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from jaxrl.agents import on_policy, reinforce
from jaxrl.agents.actor_critic import join, split

# So large an epsilon makes Adam's step the gradient itself.
PLAIN = {"learning_rate": 1e6, "adam_epsilon": 1e6}


@pytest.mark.parametrize("baseline", [True, False])
def test_a_step_follows_the_gradient_of_summed_returns(baseline):
    config = reinforce.Config(
        num_envs=4,
        num_steps=20,
        hidden_sizes=(8,),
        gamma=0.9,
        num_epochs=1,
        num_minibatches=1,
        baseline_learning_rate=0.0,
        baseline=baseline,
        entropy_coefficient=0.01,
        **PLAIN,
    )
    env, params = envs.make("CartPole-v1")
    params = params.replace(max_steps=jnp.int32(9), angle_limit=jnp.float32(0.09))
    algorithm, learner = reinforce.make(env, params, config), on_policy.make(env, params, config)

    @jax.jit
    def run(key):
        # The second iteration: the first must not have left episodes behind.
        before, _ = algorithm.step(algorithm.init(key), jnp.int32(0))
        after, metrics = algorithm.step(before, jnp.int32(1))
        key_start, key_rollout, *_ = jax.random.split(before.key, 4)
        _, rollout = learner.collect(key_rollout, learner.restart(key_start, before))
        return before, after, rollout, learner.values(before.params, rollout), metrics

    before, after, rollout, (value, next_value), metrics = run(jax.random.key(1))
    terminated, truncated = np.asarray(rollout.terminated), np.asarray(rollout.truncated)
    reward, value, next_value = (np.asarray(x) for x in (rollout.reward, value, next_value))
    assert terminated.any() and truncated.any() and not (terminated | truncated)[-1].all()
    np.testing.assert_array_equal(rollout.episode.length[0], 1)

    weight, known = np.zeros((20, 4)), np.zeros((20, 4), bool)
    for b in range(4):
        for t in range(20):
            total, discount, ended = 0.0, 1.0, False
            for k in range(t, 20):
                total += discount * reward[k, b]
                discount *= 0.9
                if terminated[k, b] or truncated[k, b] or (baseline and k == 19):
                    ended = True
                    if baseline and not terminated[k, b]:
                        total += discount * next_value[k, b]
                    break
            known[t, b] = ended
            weight[t, b] = total - (value[t, b] if baseline else 0.0)
    assert known.all() == baseline and known[0].any()
    actor, critic = split(before.params)

    def loss(actor):
        distribution = learner.model.actor(join(actor, critic), rollout.x)
        terms = jnp.float32(weight.ravel()) * distribution.log_prob(rollout.action.ravel())
        terms = terms + 0.01 * distribution.entropy()
        return -jnp.sum(terms * known.ravel()) / known.sum()

    expected = jax.jit(jax.grad(loss))(actor)
    moved = jax.tree.map(lambda a, b: a - b, actor, split(after.params)[0])
    # Adam's means of the two iterations so far, with its correction of their bias.
    first = before.opt_state[0][1].mu

    def check(moved, gradient, first):
        mean = (0.9 * first + 0.1 * gradient) / (1 - 0.9**2)
        np.testing.assert_allclose(moved, mean, rtol=1e-3, atol=1e-4)

    jax.tree.map(check, moved, expected, first)
    np.testing.assert_allclose(metrics["share_known"], known.mean(), rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, split(after.params)[1], critic)


def test_without_a_baseline_episodes_must_fit():
    message = "`num_steps` must be at least the time limit, 500, without a baseline"
    for fields in ({"num_steps": 499}, {"segment_length": 250}):
        with pytest.raises(ValueError, match=message):
            reinforce.make(*envs.make("CartPole-v1"), reinforce.Config(baseline=False, **fields))
    reinforce.make(*envs.make("CartPole-v1"), reinforce.Config(num_steps=100))
