"""Returns and advantages against slow loops, hand numbers, and the faults found in other libraries."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import ops


def loop_targets(reward, next_value, terminated, truncated, gamma, lambda_):
    """The lambda-return by its recursion, in float64, one step at a time from the end."""
    horizon = len(reward)
    target = np.zeros(horizon)
    for t in reversed(range(horizon)):
        if terminated[t]:
            target[t] = reward[t]
        elif truncated[t] or t == horizon - 1:
            target[t] = reward[t] + gamma * next_value[t]
        else:
            mixed = (1 - lambda_) * next_value[t] + lambda_ * target[t + 1]
            target[t] = reward[t] + gamma * mixed
    return target


def loop_n_step(reward, next_value, terminated, truncated, gamma, n):
    """The n-step return by its definition: walk until n rewards, an end, or the end of the stream."""
    horizon = len(reward)
    target = np.zeros(horizon)
    for t in range(horizon):
        discount = 1.0
        for k in range(t, min(t + n, horizon)):
            target[t] += discount * reward[k]
            discount *= gamma
            if terminated[k]:
                discount = 0.0
            if terminated[k] or truncated[k]:
                break
        target[t] += discount * next_value[k]
    return target


def loop_gae(reward, value, next_value, terminated, truncated, gamma, lambda_):
    """The advantage as the explicit sum of temporal differences within the episode (no recursion)."""
    horizon = len(reward)
    advantage = np.zeros(horizon)
    for t in range(horizon):
        weight = 1.0
        for k in range(t, horizon):
            bootstrap = 0.0 if terminated[k] else next_value[k]
            advantage[t] += weight * (reward[k] + gamma * bootstrap - value[k])
            if terminated[k] or truncated[k]:
                break
            weight *= gamma * lambda_
    return advantage


def loop_vtrace(reward, value, next_value, terminated, truncated, ratio, gamma, lambda_, clip_rho, clip_c):
    """Advantages and targets by the sums over products of the paper, in float64."""
    horizon = len(reward)
    rho, c = np.minimum(ratio, clip_rho), lambda_ * np.minimum(ratio, clip_c)
    bootstrap = np.where(terminated, 0.0, next_value)
    target, advantage = np.zeros(horizon), np.zeros(horizon)
    for t in range(horizon):
        weight, correction = 1.0, 0.0
        for k in range(t, horizon):
            correction += weight * rho[k] * (reward[k] + gamma * bootstrap[k] - value[k])
            if terminated[k] or truncated[k]:
                break
            weight *= gamma * c[k]
        target[t] = value[t] + correction
    for t in range(horizon):
        following = bootstrap[t]
        if not (terminated[t] or truncated[t] or t == horizon - 1):
            following = next_value[t] + lambda_ * (target[t + 1] - value[t + 1])
        advantage[t] = rho[t] * (reward[t] + gamma * following - value[t])
    return advantage, target


def random_stream(seed, horizon, end_rate):
    rng = np.random.default_rng(seed)
    reward, value, next_value = rng.normal(size=(3, horizon))
    terminated = rng.random(horizon) < end_rate
    truncated = (rng.random(horizon) < end_rate) & ~terminated
    return reward, value, next_value, terminated, truncated


def cast(*arrays):
    return tuple(jnp.asarray(x, bool if x.dtype == bool else jnp.float32) for x in arrays)


LENGTHS = (1, 2, 7, 40)
END_RATES = (0.0, 0.1, 0.5, 1.0)
DISCOUNTS = ((0.99, 0.95), (0.9, 0.0), (1.0, 1.0), (0.0, 0.7), (0.5, 0.3))

gae = jax.jit(ops.gae)
lambda_returns = jax.jit(ops.lambda_returns)
discounted_returns = jax.jit(ops.discounted_returns)
n_step_returns = jax.jit(ops.n_step_returns, static_argnums=5)


@pytest.mark.parametrize("horizon", LENGTHS)
def test_random_episodes_match_slow_loops(horizon):
    for seed, end_rate in enumerate(END_RATES * 3):
        reward, value, next_value, terminated, truncated = random_stream(seed, horizon, end_rate)
        f32 = cast(reward, value, next_value, terminated, truncated)
        stream, stream_32 = (reward, next_value, terminated, truncated), (f32[0], *f32[2:])
        for gamma, lambda_ in DISCOUNTS:
            advantage, target = gae(*f32, gamma, lambda_)
            expected = loop_gae(reward, value, next_value, terminated, truncated, gamma, lambda_)
            np.testing.assert_allclose(advantage, expected, rtol=1e-5, atol=2e-5)
            np.testing.assert_allclose(target, expected + value, rtol=1e-5, atol=2e-5)
            expected = loop_targets(*stream, gamma, lambda_)
            np.testing.assert_allclose(lambda_returns(*stream_32, gamma, lambda_), expected, atol=2e-5)
            expected = loop_targets(*stream, gamma, 1.0)
            np.testing.assert_allclose(discounted_returns(*stream_32, gamma), expected, atol=4e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 100])
def test_n_step_returns_match_a_slow_loop(n):
    for seed, end_rate in enumerate(END_RATES * 3):
        reward, _, next_value, terminated, truncated = random_stream(seed, 40, end_rate)
        for gamma, _ in DISCOUNTS:
            expected = loop_n_step(reward, next_value, terminated, truncated, gamma, n)
            result = n_step_returns(*cast(reward, next_value, terminated, truncated), gamma, n)
            np.testing.assert_allclose(result, expected, atol=2e-5)


def random_ratios(seed, horizon):
    return np.exp(np.random.default_rng(seed + 100).normal(size=horizon))


vtrace = jax.jit(ops.vtrace)


@pytest.mark.parametrize("horizon", LENGTHS)
def test_vtrace_matches_a_slow_loop(horizon):
    for seed, end_rate in enumerate(END_RATES * 3):
        stream, ratio = random_stream(seed, horizon, end_rate), random_ratios(seed, horizon)
        clips = ((1.0, 1.0), (2.0, 0.5), (0.3, 0.8))[seed % 3]
        for gamma, lambda_ in DISCOUNTS:
            advantage, target = vtrace(*cast(*stream, np.log(ratio)), gamma, lambda_, *clips)
            expected = loop_vtrace(*stream, ratio, gamma, lambda_, *clips)
            np.testing.assert_allclose(advantage, expected[0], rtol=1e-5, atol=5e-5)
            np.testing.assert_allclose(target, expected[1], rtol=1e-5, atol=5e-5)


def test_vtrace_equals_rlax_where_nothing_is_truncated():
    import rlax

    reward, value, _, terminated, _ = cast(*random_stream(1, 40, 0.1))
    ratio, last = jnp.float32(random_ratios(1, 40)), jnp.float32(0.7)
    next_value, never = jnp.append(value[1:], last), jnp.zeros(40, bool)
    discount = jnp.where(terminated, 0.0, 0.9)
    advantage, target = vtrace(reward, value, next_value, terminated, never, jnp.log(ratio), 0.9, 0.8)
    expected = rlax.vtrace_td_error_and_advantage(value, next_value, reward, discount, ratio, 0.8)
    np.testing.assert_allclose(target - value, expected.errors, atol=1e-5)
    np.testing.assert_allclose(advantage, expected.pg_advantage, atol=1e-5)


def test_vtrace_of_ones_own_data_is_the_lambda_return():
    reward, value, next_value, terminated, truncated = cast(*random_stream(5, 40, 0.1))
    done = terminated | truncated
    next_value = jnp.where(done.at[-1].set(True), next_value, jnp.roll(value, -1))
    stream = (reward, value, next_value, terminated, truncated, jnp.zeros(40))
    for lambda_ in (0.0, 0.7, 1.0):
        advantage, target = vtrace(*stream, 0.9, lambda_)
        expected = lambda_returns(reward, next_value, terminated, truncated, 0.9, lambda_)
        np.testing.assert_allclose(target, expected, rtol=1e-5, atol=1e-5)
        if lambda_ == 1.0:
            np.testing.assert_allclose(advantage, target - value, rtol=1e-5, atol=1e-5)


def test_special_cases_agree_with_each_other():
    reward, _, next_value, terminated, truncated = cast(*random_stream(5, 40, 0.1))
    stream = (reward, next_value, terminated, truncated, 0.9)
    one_step = reward + 0.9 * jnp.where(terminated, 0.0, next_value)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    close(lambda_returns(*stream, 0.0), one_step)
    close(n_step_returns(*stream, 1), one_step)
    close(n_step_returns(*stream, 40), discounted_returns(*stream))
    # Within an episode this is the value of the next observation before; after an end it is unrelated.
    value = jnp.where(jnp.roll(terminated | truncated, 1), 7.0, jnp.roll(next_value, 1))
    close(gae(reward, value, *stream[1:], 0.8)[1], lambda_returns(*stream, 0.8))


# Five steps of reward 1 and value 0 of the first observations, true next values 2, gamma = lambda = 1/2.
REWARD, VALUE, NEXT_VALUE = jnp.ones(5), jnp.zeros(5), jnp.full(5, 2.0)
NEVER = jnp.zeros(5, bool)
AT_2 = NEVER.at[2].set(True)


@pytest.mark.parametrize(
    ("terminated", "truncated", "expected"),
    [
        # delta = 2 everywhere, A_t = 2 + A_{t+1} / 4
        (NEVER, NEVER, [2.6640625, 2.65625, 2.625, 2.5, 2.0]),
        # delta_2 = 1: neither the next value nor the next episode counts
        (AT_2, NEVER, [2.5625, 2.25, 1.0, 2.5, 2.0]),
        # delta_2 = 2: the next value counts, the next episode does not
        (NEVER, AT_2, [2.625, 2.5, 2.0, 2.5, 2.0]),
        # terminated at the time limit is terminated
        (AT_2, AT_2, [2.5625, 2.25, 1.0, 2.5, 2.0]),
    ],
)
def test_gae_hand_numbers(terminated, truncated, expected):
    advantage, target = gae(REWARD, VALUE, NEXT_VALUE, terminated, truncated, 0.5, 0.5)
    assert advantage.tolist() == expected
    assert target.tolist() == expected


@pytest.mark.parametrize(
    ("terminated", "truncated", "expected"),
    [
        (NEVER, NEVER, [2.0, 2.0, 2.0, 2.0, 2.0]),
        (AT_2, NEVER, [1.75, 1.5, 1.0, 2.0, 2.0]),
        (NEVER, AT_2, [2.0, 2.0, 2.0, 2.0, 2.0]),
    ],
)
def test_discounted_return_hand_numbers(terminated, truncated, expected):
    assert discounted_returns(REWARD, NEXT_VALUE, terminated, truncated, 0.5).tolist() == expected
    no_values = discounted_returns(REWARD, 0 * NEXT_VALUE, terminated, truncated, 0.5).tolist()
    end = AT_2 if terminated.any() or truncated.any() else NEVER
    assert no_values == ([1.75, 1.5, 1.0, 1.5, 1.0] if end.any() else [1.9375, 1.875, 1.75, 1.5, 1.0])


def test_n_step_hand_numbers():
    reward = jnp.array([1.0, 2.0, 4.0, 8.0])
    next_value = jnp.array([16.0, 32.0, 64.0, 128.0])
    never = jnp.zeros(4, bool)
    truncated = never.at[1].set(True)
    result = n_step_returns(reward, next_value, never, never, 0.5, 2)
    assert result.tolist() == [1 + 1 + 8, 2 + 2 + 16, 4 + 4 + 32, 8 + 64]
    result = n_step_returns(reward, next_value, never, truncated, 0.5, 2)
    assert result.tolist() == [1 + 1 + 8, 2 + 16, 4 + 4 + 32, 8 + 64]
    result = n_step_returns(reward, next_value, truncated, never, 0.5, 2)
    assert result.tolist() == [1 + 1, 2, 4 + 4 + 32, 8 + 64]


def test_lambda_target_bootstraps_with_the_value_of_its_own_next_observation():
    """Elsewhere the carry held the value of one step later, wrong by 0.8 to 1.6 at lambda = 0 (rejax's PQN).

    With Q of one stream, the next values are Q of the same stream, shifted: the shift must be one.
    """
    rng = np.random.default_rng(0)
    max_q = jnp.asarray(rng.normal(size=41), jnp.float32)
    reward = jnp.asarray(rng.normal(size=40), jnp.float32)
    never = jnp.zeros(40, bool)
    result = lambda_returns(reward, max_q[1:], never, never, 0.9, 0.0)
    np.testing.assert_allclose(result, reward + 0.9 * max_q[1:], rtol=1e-5, atol=1e-6)
    off_by_one = reward[:-1] + 0.9 * max_q[2:]
    assert np.abs(result[:-1] - off_by_one).max() > 0.5


def test_lambda_target_before_the_last_step_uses_its_own_next_value():
    """Elsewhere only t = T - 2 took the value of T (PureJaxQL), an error that decays backwards."""
    next_value, never = jnp.array([1.0, 10.0, 100.0]), jnp.zeros(3, bool)
    result = lambda_returns(jnp.zeros(3), next_value, never, never, 1.0, 0.5)
    # G_2 = 100, G_1 = (10 + 100) / 2, G_0 = (1 + 55) / 2
    assert result.tolist() == [28.0, 55.0, 100.0]


def test_lambda_target_never_crosses_an_end():
    """The second fault of the same places: the mixing reached into the next episode."""
    reward, _, next_value, terminated, truncated = cast(*random_stream(3, 40, 0.2))
    ends = np.flatnonzero(np.asarray(terminated | truncated))
    assert 0 < ends[0] < 39
    result = lambda_returns(reward, next_value, terminated, truncated, 0.9, 0.8)
    later = jnp.arange(40) > ends[0]
    other = lambda_returns(
        jnp.where(later, 1e3, reward), jnp.where(later, -1e3, next_value), terminated, truncated, 0.9, 0.8
    )
    assert result[: ends[0] + 1].tolist() == other[: ends[0] + 1].tolist()
    assert not np.allclose(result[ends[0] + 1 :], other[ends[0] + 1 :])


@pytest.mark.parametrize("kind", ["terminated", "truncated"])
def test_the_next_episodes_advantage_does_not_leak_through_either_end(kind):
    """Elsewhere the recursion was cut by termination only (jaxnasium: 4.44 for 2.83)."""
    end = jnp.zeros(6, bool).at[2].set(True)
    ends = {"terminated": jnp.zeros(6, bool), "truncated": jnp.zeros(6, bool)} | {kind: end}

    def first_episode(reward_of_the_next):
        reward = jnp.where(jnp.arange(6) > 2, reward_of_the_next, 1.0)
        value, next_value = jnp.full(6, 0.5), jnp.full(6, 0.5)
        return gae(reward, value, next_value, ends["terminated"], ends["truncated"], 0.99, 0.95)[0][:3]

    assert first_episode(0.0).tolist() == first_episode(1000.0).tolist()


def test_a_time_limit_is_not_a_terminal_state():
    """Elsewhere `done` stood for both (purejaxrl, rejax, PureJaxQL): reward 1 must be worth 1 / (1 - gamma).

    With V = 1 / (1 - gamma) everywhere the advantages vanish, whatever time limit cuts the stream.
    """
    gamma, worth = 0.9, jnp.full(12, 10.0)
    every_third = jnp.arange(12) % 3 == 2
    never = jnp.zeros(12, bool)
    advantage, target = gae(jnp.ones(12), worth, worth, never, every_third, gamma, 0.95)
    np.testing.assert_allclose(advantage, 0.0, atol=1e-5)
    np.testing.assert_allclose(target, 10.0, rtol=1e-6)
    for_terminal, _ = gae(jnp.ones(12), worth, worth, every_third, never, gamma, 0.95)
    assert for_terminal[2] == pytest.approx(-9.0, abs=1e-5)


def test_the_first_value_after_a_reset_is_never_used():
    """value_tm1 of the next episode must not stand for V(next_obs) of the last step."""
    truncated = jnp.zeros(4, bool).at[1].set(True)
    value = jnp.array([0.0, 0.0, 1e6, 0.0])
    advantage, _ = gae(jnp.ones(4), value, jnp.full(4, 2.0), ~truncated & False, truncated, 0.5, 0.5)
    assert advantage[:2].tolist() == [2.5, 2.0]


def test_hyperparameters_may_be_traced_and_streams_vmapped():
    streams = [random_stream(seed, 16, 0.1) for seed in range(3)]
    batch = cast(*(np.stack(x, axis=1) for x in zip(*streams, strict=True)))
    gammas, lambdas = jnp.array([0.9, 0.99]), jnp.array([0.5, 0.95])
    over_streams = jax.vmap(ops.gae, in_axes=(1, 1, 1, 1, 1, None, None), out_axes=1)
    over_both = jax.vmap(over_streams, in_axes=(None,) * 5 + (0, 0))
    advantage, target = jax.jit(over_both)(*batch, gammas, lambdas)
    assert advantage.shape == target.shape == (2, 16, 3)
    for c, (gamma, lambda_) in enumerate(zip(gammas.tolist(), lambdas.tolist(), strict=True)):
        for b, stream in enumerate(streams):
            np.testing.assert_allclose(advantage[c, :, b], loop_gae(*stream, gamma, lambda_), atol=2e-5)


def test_results_are_strong_float32():
    stream = (jnp.ones(4), jnp.ones(4), jnp.zeros(4, bool), jnp.zeros(4, bool))
    results = (
        *ops.gae(stream[0], *stream, 0.9, 0.9),
        ops.lambda_returns(*stream, 0.9, 0.9),
        ops.discounted_returns(*stream, 0.9),
        ops.n_step_returns(*stream, 0.9, 2),
    )
    assert all(x.dtype == jnp.float32 and not x.weak_type for x in results)


def test_bad_input_is_refused():
    one, no = jnp.ones(3), jnp.zeros(3, bool)
    with pytest.raises(ValueError, match=r"`n` must be at least 1, got 0"):
        ops.n_step_returns(one, one, no, no, 0.9, 0)
    with pytest.raises(AssertionError):
        ops.gae(one, one, jnp.ones(4), no, no, 0.9, 0.9)
    with pytest.raises(AssertionError):
        ops.gae(one[:, None], one[:, None], one[:, None], no[:, None], no[:, None], 0.9, 0.9)
    with pytest.raises(AssertionError):
        ops.lambda_returns(one, one, one, no, 0.9, 0.9)  # ends must be bool, never a float discount
    with pytest.raises(AssertionError):
        ops.lambda_returns(one, one, no, no, one, 0.9)
