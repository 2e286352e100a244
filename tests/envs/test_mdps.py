"""Small exact worlds against Gymnasium's rules, the books' numbers and slow loops over their rules."""

from collections import Counter, defaultdict

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs.toy_text import blackjack as reference_blackjack

import envs
from envs.mdps import (
    Blackjack,
    DeepSea,
    ExplicitMDP,
    RandomMDP,
    RandomWalk,
    RiverSwim,
    dealer_results,
    explicit,
    hand_index,
    sample_index,
)
from envs.tabular import extract
from envs.testing import check_env


def model(env, params):
    return jax.device_get(jax.jit(lambda params: extract(env, params))(params))


def optimal_values(mdp, gamma=1.0, sweeps=1000):
    P, R = np.asarray(mdp.P, np.float64), np.asarray(mdp.R, np.float64)
    values = np.zeros(len(P))
    for _ in range(sweeps):
        values = (R + gamma * P @ values).max(axis=1)
    return values


# Processes given by arrays --------------------------------------------------------------------------------


def test_an_explicit_process_is_extracted_as_it_was_given():
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.ones(4), (4, 3))
    R = rng.normal(size=(4, 3, 4))
    terminal = np.array([False, False, True, False])
    env, params = explicit(P, R, terminal, max_steps=7)
    mdp = model(env, params)
    alive = ~terminal
    np.testing.assert_allclose(mdp.P[alive], P[alive], atol=1e-6)
    np.testing.assert_allclose(mdp.R[alive], (P * R).sum(-1)[alive], atol=1e-6)
    assert mdp.terminal.tolist() == terminal.tolist()
    np.testing.assert_allclose(mdp.start, alive / 3)
    assert envs.time_limit(env, params) == 7
    assert "outcomes" in check_env(env, params, num_envs=64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"P": np.ones((2, 3))}, r"`P` must be \[S, A, S\], got shape \(2, 3\)"),
        ({"P": [[[0.5, 0.4]], [[0, 1]]]}, r"`P` must hold .* sum to 1, but row \[0, 0\] sums to 0.9"),
        ({"P": [[[1.5, -0.5]], [[0, 1]]]}, r"`P` must hold probabilities, got -0.5 at \[0, 0, 1\]"),
        ({"P": [[[np.nan, 1]], [[0, 1]]]}, r"`P` must hold probabilities, got nan at \[0, 0, 0\]"),
        ({"R": [[0.0]]}, r"`R` must be \[S, A\] = \[2, 1\]"),
        ({"R": [[0.0], [np.inf]]}, r"`R` must be finite, got inf at \[1, 0\]"),
        ({"terminal": [True]}, r"`terminal` must be \[S\] = \[2\]"),
        ({"terminal": [True, True]}, "`terminal` must leave a state"),
        ({"start": [1.0]}, r"`start` must be \[S\] = \[2\]"),
        ({"start": [0.5, 0.6]}, "`start` must hold probabilities that sum to 1, but it sums to 1.1"),
    ],
)
def test_bad_arrays_are_refused(change, message):
    good = {"P": [[[0.0, 1.0]], [[0.0, 1.0]]], "R": [[0.0], [1.0]]}
    with pytest.raises(ValueError, match=message):
        explicit(**(good | change))


def test_bad_sizes_are_refused():
    for make, message in (
        (lambda: ExplicitMDP(num_states=0), "`num_states` must be at least 1, got 0"),
        (lambda: RandomMDP(num_actions=0), "`num_actions` must be at least 1, got 0"),
        (lambda: RandomMDP(branching=11), r"`branching` must lie in 1..num_states = 10, got 11"),
        (lambda: RandomMDP(branching=2.5), "`branching` must be an integer, got 2.5"),
        (lambda: ExplicitMDP(num_states=2.5), "`num_states` must be an integer, got 2.5"),
        (lambda: DeepSea(size=3.0), "`size` must be an integer, got 3.0"),
        (lambda: RandomWalk(num_states=6), "`num_states` must be odd and at least 3, got 6"),
        (lambda: RiverSwim(num_states=1), "`num_states` must be at least 2, got 1"),
        (lambda: DeepSea(size=1), "`size` must be at least 2, got 1"),
        (lambda: DeepSea(observation="pixels"), "`observation` must be 'index' or 'image'"),
        (lambda: Blackjack(observation="image"), "`observation` must be 'index' or 'tuple'"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize(
    "weights", [[-1.0, -2.0, -3.0], [1.0, -2.0, 0.0], [0.0, 0.0, 0.0], [1.0, jnp.nan, 1.0]]
)
def test_a_draw_by_weights_that_are_none_stays_inside(weights):
    draws = jax.vmap(sample_index, (0, None))(jax.random.split(jax.random.key(0), 256), jnp.array(weights))
    assert set(draws.tolist()) <= {0, 1, 2}


def test_random_processes_are_uniform_on_the_simplex_and_differ():
    env = RandomMDP(num_states=6, num_actions=3)
    keys = jax.random.split(jax.random.key(0), 400)
    drawn = jax.jit(jax.vmap(env.draw, (0, None)))(keys, env.default_params())
    P = np.asarray(drawn.P).reshape(-1, 6)
    np.testing.assert_allclose(P.sum(-1), 1, atol=1e-5)
    # Dirichlet(1, ..., 1) over 6: mean 1/6, variance 5/252.
    np.testing.assert_allclose(P.mean(0), 1 / 6, atol=5 * np.sqrt(5 / 252 / len(P)))
    np.testing.assert_allclose(P.var(0), 5 / 252, rtol=0.1)
    assert len(np.unique(np.asarray(drawn.P)[:, 0, 0, 0])) == 400
    rewards = np.asarray(drawn.R)
    assert np.all(rewards == rewards[..., :1]) and 0 <= rewards.min() < 0.01 and 0.99 < rewards.max() < 1
    few = RandomMDP(num_states=30, branching=4).default_params().P
    assert np.all(np.sum(np.asarray(few) > 0, axis=-1) == 4)
    jax.tree.map(np.testing.assert_array_equal, *(RandomMDP().default_params() for _ in range(2)))


@pytest.mark.parametrize(
    ("id", "step", "offset"), [("RandomWalk-v1", 1 / 6, 0), ("RandomWalk19-v1", 0.1, -1)]
)
def test_random_walks_have_the_books_values(id, step, offset):
    env, params = envs.make(id)
    mdp = model(env, params)
    inner = np.flatnonzero(~np.asarray(mdp.terminal))
    P, R = np.asarray(mdp.P[:, 0], np.float64), np.asarray(mdp.R[:, 0], np.float64)
    values = np.linalg.solve(np.eye(len(inner)) - P[np.ix_(inner, inner)], R[inner])
    np.testing.assert_allclose(values, step * inner + offset, atol=1e-6)
    assert int(env.reset(jax.random.key(0), params)[1]) == env.num_states // 2
    # How likely an episode is to last longer than its limit.
    assert np.linalg.matrix_power(P, envs.time_limit(env, params))[env.num_states // 2][inner].sum() < 1e-5


def test_river_swim_is_the_published_chain():
    env, params = envs.make("RiverSwim-v1")
    mdp = model(env, params)
    left, right = np.zeros((6, 6)), np.zeros((6, 6))
    for s in range(6):
        left[s, max(s - 1, 0)] = 1
        for move, p in zip(
            (-1, 0, 1), {0: (0, 0.4, 0.6), 5: (0.4, 0.6, 0)}.get(s, (0.05, 0.6, 0.35)), strict=True
        ):
            if p:
                right[s, s + move] = p
    np.testing.assert_allclose(mdp.P, np.stack([left, right], axis=1), atol=1e-6)
    expected = np.zeros((6, 2))
    expected[0, 0], expected[5, 1] = 0.005, 1
    np.testing.assert_allclose(mdp.R, expected, atol=1e-6)
    # Upstream is better by far if one has the time, the bank if not.
    always_right = np.linalg.solve(np.eye(6) - 0.99 * right, expected[:, 1])
    np.testing.assert_allclose(optimal_values(mdp, 0.99, 3000), always_right, rtol=1e-3)
    assert optimal_values(mdp, 1.0, 4)[0] == pytest.approx(0.02)


def test_three_states_have_the_stated_values_and_change_of_mind():
    env, params = envs.make("ThreeState-v1")
    mdp = model(env, params)
    np.testing.assert_allclose(optimal_values(mdp, 0.9), [142.35, 173.98, 209.53], atol=5e-3)

    def gain_of_leaving(gamma):
        values = optimal_values(mdp, gamma)
        q = np.asarray(mdp.R, np.float64) + gamma * np.asarray(mdp.P, np.float64) @ values
        return q[0, 1] - q[0, 0]

    assert gain_of_leaving(0.83) < 0 < gain_of_leaving(0.84)


# DeepSea --------------------------------------------------------------------------------------------------


def sea_loop(mapping, actions, size):
    """bsuite's rules, one episode; returns rewards, cells and whether the way was left."""
    column = 0
    rewards, cells, bad = [], [], False
    for row, action in enumerate(actions):
        reward = 0.0
        if action == mapping[row, column]:
            if column == size - 1:
                reward += 1.0
            column = min(column + 1, size - 1)
            reward -= 0.01 / size
        else:
            bad |= row == column
            column = max(column - 1, 0)
        rewards.append(reward)
        cells.append((row + 1, column))
    return rewards, cells, bad


def test_deep_sea_follows_the_rules_of_bsuite():
    size = 5
    env = DeepSea(size=size, observation="image")
    params = env.draw(jax.random.key(3), env.default_params())
    mapping = np.asarray(params.action_right)
    rng = np.random.default_rng(0)
    actions = rng.integers(0, 2, (200, size))
    actions[0] = np.diag(mapping)  # the way to the treasure

    @jax.jit
    @jax.vmap
    def play(actions):
        state, first = env.reset(jax.random.key(0), params)
        return first, jax.lax.scan(lambda s, a: env.step(jax.random.key(0), s, a, params), state, actions)[1]

    first, out = jax.device_get(play(jnp.asarray(actions, jnp.int32)))
    assert np.all(first.reshape(200, -1).argmax(-1) == 0)
    for i in range(200):
        rewards, cells, bad = sea_loop(mapping, actions[i], size)
        np.testing.assert_allclose(out.reward[i], rewards, atol=1e-6)
        assert out.terminated[i].tolist() == [False] * (size - 1) + [True]
        assert out.metrics["bad_episode"][i].tolist() == [0.0] * (size - 1) + [float(bad)]
        for t, (row, column) in enumerate(cells):
            expected = np.zeros((size, size))
            if row < size:
                expected[row, column] = 1
            np.testing.assert_array_equal(out.obs[i, t], expected)
    assert out.reward[0].sum() == pytest.approx(0.99) and 0 < out.metrics["bad_episode"].sum() < 200


def test_deep_sea_optimum_and_stochastic_version():
    env, params = envs.make("DeepSea-v1")
    mdp = model(env, params)
    assert optimal_values(mdp, sweeps=10)[0] == pytest.approx(0.99, abs=1e-5)
    rough = env.stochastic(params)
    # (bsuite's own formula lets the diver go on to pay for moves after the way is lost.)
    best = 0.9**9 - 0.01 / 10 * sum(0.9**k for k in range(10))
    assert optimal_values(model(env, rough), sweeps=10)[0] == pytest.approx(best, abs=1e-5)
    check_env(env, rough.replace(noise=jnp.float32(0)))
    keys = jax.random.split(jax.random.key(0), 4000)
    corner = env.state_at(90, rough)
    wrong = 1 - rough.action_right[9, 0]
    _, out = jax.jit(jax.vmap(lambda key: env.step(key, corner, wrong, rough)))(keys)
    assert np.std(out.reward) == pytest.approx(1, rel=0.06) and abs(np.mean(out.reward)) < 0.08
    _, out = env.step(keys[0], env.state_at(91, rough), 1 - rough.action_right[9, 1], rough)
    assert float(out.reward) == 0


# Blackjack ------------------------------------------------------------------------------------------------

CARDS = Counter(reference_blackjack.deck)


def dealer_hands(shown):
    """All finished hands of Gymnasium's dealer with a shown card: `[(probability, score, is natural)]`."""
    finished = defaultdict(float)

    def go(hand, probability):
        if len(hand) > 1 and reference_blackjack.sum_hand(hand) >= 17:
            finished[reference_blackjack.score(hand), reference_blackjack.is_natural(hand)] += probability
            return
        for card, count in CARDS.items():
            go([*hand, card], probability * count / 13)

    go([shown], 1.0)
    return finished


@pytest.mark.parametrize(("natural", "sab"), [(False, True), (True, False), (False, False)])
def test_blackjack_pays_as_gymnasium_does(natural, sab):
    env = Blackjack(natural=natural, sab=sab)
    params = env.default_params()
    mdp = model(env, params)
    game = gymnasium.make("Blackjack-v1", natural=natural, sab=sab).unwrapped
    finished = {shown: dealer_hands(shown) for shown in (1, 2, 6, 10)}
    hands = [[10, 2], [10, 10], [1, 10], [5, 6, 10], [1, 6], [1, 4, 6], [1, 1], [2, 2], [1, 9, 1], [9, 4, 3]]
    for hand in hands:
        for shown, results in finished.items():
            game.player, game.dealer = list(hand), [shown]
            total, _, ace = game._get_obs()
            is_natural = reference_blackjack.is_natural(hand)
            state = 360 + shown - 1 if is_natural else int(hand_index(total, shown, ace))
            expected = 0.0
            for (score, dealer_natural), probability in results.items():
                # The game draws no card from a hand that is finished: show it one with this result.
                dealer = (
                    [1, 10]
                    if dealer_natural
                    else {0: [10, 6, 10], 21: [10, 6, 5]}.get(score, [10, score - 10])
                )
                assert reference_blackjack.score(dealer) == score
                game.player, game.dealer = list(hand), dealer
                expected += probability * game.step(0)[1]
            assert mdp.R[state, 0] == pytest.approx(expected, abs=1e-5)
            assert mdp.P[state, 0, 370] == pytest.approx(1, abs=1e-6)
            row, lost = np.zeros(371), 0.0
            for card, count in CARDS.items():
                if reference_blackjack.is_bust([*hand, card]):
                    row[370] += count / 13
                    lost -= count / 13
                else:
                    game.player = [*hand, card]
                    total, _, ace = game._get_obs()
                    row[int(hand_index(total, shown, ace))] += count / 13
            np.testing.assert_allclose(mdp.P[state, 1], row, atol=1e-6)
            assert mdp.R[state, 1] == pytest.approx(lost, abs=1e-6)
    assert np.flatnonzero(mdp.terminal).tolist() == [370]


def test_blackjack_starts_and_observations_are_gymnasiums():
    env = Blackjack(observation="tuple")
    params = env.default_params()
    expected = defaultdict(float)
    for a, m in CARDS.items():
        for b, n in CARDS.items():
            for shown, k in CARDS.items():
                total, ace = reference_blackjack._hand_sum_and_usable_ace([a, b])
                natural = reference_blackjack.is_natural([a, b])
                expected[360 + shown - 1 if natural else int(hand_index(total, shown, ace))] += (
                    m * n * k / 13**3
                )
    start = np.asarray(env.start_distribution(params))
    np.testing.assert_allclose(start, [expected[s] for s in range(371)], atol=1e-6)
    for index in np.flatnonzero(start):
        assert int(env.state_index(env.state_at(index, params), params)) == index
    hand = env.state_at(hand_index(20, 3, False), params)
    _, out = jax.jit(env.step)(jax.random.key(0), hand, jnp.int32(1), params)
    assert env.observation_space(params).contains(out.obs) and 21 <= int(out.obs[0]) <= 30
    assert int(out.obs[1]) == 3
    check_env(env, params)


def test_best_blackjack_is_the_books():
    env, params = envs.make("Blackjack-v1")
    mdp = model(env, params)
    values = optimal_values(mdp, sweeps=25)
    hits = (np.asarray(mdp.P, np.float64) @ values + np.asarray(mdp.R))[:, 1] > (np.asarray(mdp.R))[:, 0]
    # Figure 5.2: the least sum on which to stick, by the dealer's card from ace to ten.
    for ace, sticks in (
        (False, [17, 13, 13, 12, 12, 12, 17, 17, 17, 17]),
        (True, [19, 18, 18, 18, 18, 18, 18, 18, 19, 19]),
    ):
        for dealer, least in enumerate(sticks, start=1):
            sums = [s for s in range(12, 22) if not hits[hand_index(s, dealer, ace)]]
            assert sums == list(range(least, 22))
    assert float(np.asarray(mdp.start) @ values) == pytest.approx(-0.0431, abs=5e-5)
    plain = model(env, params.replace(natural_wins=jnp.bool_(False)))
    assert float(plain.start @ optimal_values(plain, sweeps=25)) == pytest.approx(-0.0466, abs=5e-5)


def test_another_deck_changes_dealer_and_draws():
    env, params = envs.make("Blackjack-v1")
    cards = jnp.zeros(10).at[9].set(1.0)
    tens = params.replace(cards=cards, dealer=dealer_results(cards))
    assert tens.dealer[9].tolist() == [0, 0, 0, 1, 0, 0, 0]
    state, obs = env.reset(jax.random.key(0), tens)
    assert int(obs) == hand_index(20, 10, False)
    _, out = env.step(jax.random.key(0), state, jnp.int32(0), tens)
    assert float(out.reward) == 0 and bool(out.terminated)


# Pictures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "id", ["RandomMDP-v1", "RandomWalk-v1", "RiverSwim-v1", "ThreeState-v1", "DeepSea-v1"]
)
def test_frames_show_where_the_agent_is(id):
    env, params = envs.make(id)
    blank = env.frame(None, params)
    frames = [env.frame(env.state_at(s, params), params) for s in (1, 2)]
    assert all(frame.shape == blank.shape and frame.dtype == np.uint8 for frame in frames)

    def orange(frame):
        return (np.abs(frame.astype(int) - [238, 125, 49]).sum(-1) < 20).sum()

    assert min(map(orange, frames)) > 30 + orange(blank) and not np.array_equal(*frames)


def test_ascii_shows_where_the_agent_is():
    env, params = envs.make("RandomWalk-v1")
    assert env.ascii(env.state_at(3, params), params) == "* 1 2 [3] 4 5 *"
    sea, params = envs.make("DeepSea-v1", size=2)
    assert sea.ascii(sea.state_at(3, params), params) == "..\n.A"
    assert sea.ascii(sea.state_at(4, params), params) == "..\n.$"
    game, params = envs.make("Blackjack-v1")
    assert game.ascii(game.state_at(hand_index(18, 1, True), params), params) == (
        "player 18 with a usable ace, dealer shows A"
    )
