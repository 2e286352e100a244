"""Grid worlds against Gymnasium's tables, published numbers and hand-made moves."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.gridworlds import (
    BLOCKING_MAZE,
    DYNA_MAZE,
    FLOOR,
    GOAL,
    PIT,
    SHORTCUT_MAZE,
    WALL,
    DynaMaze,
    FourRooms,
    FrozenLake,
    GridWorld,
    is_solvable,
    place_goal,
    random_lake,
)
from envs.gridworlds.key_door import KEY
from envs.tabular import extract
from envs.testing import ConformanceError, check_env

LEFT, DOWN, RIGHT, UP = range(4)
GRIDS = ["GridWorld-v1", "WindyGridWorld-v1", "FrozenLake4x4-v1", "FrozenLake8x8-v1", "FourRooms-v1"]
GRIDS += ["CliffWalkingSlippery-v1"]


def optimal_values(mdp, gamma=1.0, sweeps=2000):
    P, R = np.asarray(mdp.P, np.float64), np.asarray(mdp.R, np.float64)
    values = np.zeros(len(P))
    for _ in range(sweeps):
        values = (R + gamma * P @ values).max(axis=1)
    return values


def outcome_tables(env, params):
    def each(state, action):
        return env.outcomes(state, action, params)

    states = jnp.arange(env.num_states, dtype=jnp.int32)
    table = jax.jit(jax.vmap(jax.vmap(each, (None, 0)), (0, None)))
    return [np.asarray(leaf) for leaf in table(states, jnp.arange(4, dtype=jnp.int32))]


@pytest.mark.parametrize(("size", "limit"), [("4x4", 100), ("8x8", 200)])
@pytest.mark.parametrize("slippery", [False, True])
def test_frozen_lake_equals_gymnasiums_table_entry_by_entry(size, limit, slippery):
    reference = gymnasium.make("FrozenLake-v1", map_name=size, is_slippery=slippery).unwrapped
    env, params = envs.make(f"FrozenLake{size}-v1")
    if not slippery:
        params = params.replace(slip=jnp.float32(0.0))
    probability, following, reward, terminated = outcome_tables(env, params)
    for state, actions in reference.P.items():
        for action, expected in actions.items():
            k = probability[state, action] > 0
            assert k.sum() == len(expected)
            np.testing.assert_allclose(probability[state, action][k], [e[0] for e in expected], atol=1e-6)
            assert following[state, action][k].tolist() == [e[1] for e in expected]
            assert reward[state, action][k].tolist() == [e[2] for e in expected]
            assert terminated[state, action][k].tolist() == [e[3] for e in expected]
    assert envs.time_limit(env, params) == limit
    np.testing.assert_allclose(env.start_distribution(params), reference.initial_state_distrib)


@pytest.mark.parametrize(("id", "optimum"), [("CliffWalking-v1", -13), ("CliffWalkingSlippery-v1", -64.71)])
def test_cliff_walking_equals_gymnasiums_table_entry_by_entry(id, optimum):
    reference = gymnasium.make(id).unwrapped
    env, params = envs.make(id)
    table = outcome_tables(env, params)
    goal = 47
    for state, actions in reference.P.items():
        for action, expected in actions.items():
            if state == goal:
                expected = [(1.0, goal, 0.0, True)] * len(expected)
            probability, following, reward, terminated = (leaf[state, action] for leaf in table)
            k = probability > 0
            assert following[k].tolist()[: len(expected)] == [int(e[1]) for e in expected][: k.sum()]
            assert reward[k].tolist() == [e[2] for e in expected][: k.sum()]
            assert terminated[k].tolist() == [e[3] for e in expected][: k.sum()]
            if state != goal:
                np.testing.assert_allclose(probability[k], [e[0] for e in expected], atol=1e-6)
    np.testing.assert_array_equal(env.start_distribution(params), reference.initial_state_distrib)
    mdp = extract(env, params)
    assert np.flatnonzero(mdp.terminal).tolist() == [goal]
    within_limit = optimal_values(mdp, sweeps=envs.time_limit(env, params))
    assert within_limit[36] == pytest.approx(optimum, abs=5e-3)


def test_mazes_are_the_books():
    shortest = []
    for map in (DYNA_MAZE, *BLOCKING_MAZE, *SHORTCUT_MAZE):
        env = DynaMaze(map=map)
        params = env.default_params().replace(step_reward=jnp.float32(-1.0), goal_reward=jnp.float32(-1.0))
        values = optimal_values(extract(env, params), sweeps=60)
        shortest.append(-values[int(jnp.argmax(params.start))])
    assert shortest == [14, 10, 16, 16, 10]
    _, params = envs.make("DynaMaze-v1")
    assert float(params.goal_reward) == 1.0 and float(params.step_reward) == 0.0


@pytest.mark.parametrize("id", GRIDS)
def test_steps_follow_the_model(id):
    env, params = envs.make(id)
    probability, following, reward, terminated = outcome_tables(env, params)
    cases, draws = 12, 3000
    floor = np.flatnonzero(np.asarray(params.cells).ravel() == FLOOR)
    rng = np.random.default_rng(0)
    states, actions = rng.choice(floor, cases), rng.integers(0, 4, cases)

    @jax.jit
    def transitions(key, states, actions):
        def one(key, state, action):
            return env.step(key, env.state_at(state, params), action, params)

        keys = jax.random.split(key, (cases, draws))
        return jax.vmap(jax.vmap(one, (0, None, None)))(keys, states, actions)

    after, out = transitions(
        jax.random.key(0), jnp.asarray(states, jnp.int32), jnp.asarray(actions, jnp.int32)
    )
    positions, rewards, ends = (np.asarray(leaf) for leaf in (after.position, out.reward, out.terminated))
    for case, (state, action) in enumerate(zip(states, actions, strict=True)):
        expected = np.zeros(env.num_states)
        np.add.at(expected, following[state, action], probability[state, action])
        seen = np.bincount(positions[case], minlength=env.num_states) / draws
        np.testing.assert_allclose(seen, expected, atol=5 * np.sqrt(0.25 / draws))
        assert set(np.flatnonzero(seen)) <= set(np.flatnonzero(expected))
        for k, entered in enumerate(following[state, action]):
            here = positions[case] == entered
            assert np.all(rewards[case, here] == reward[state, action, k])
            assert np.all(ends[case, here] == terminated[state, action, k])


def test_4x3_world_has_the_values_of_russell_and_norvig():
    # Figure 17.3 lists utilities that include the reward of the state itself, here paid on entering it.
    env, params = envs.make("GridWorld-v1")
    values = optimal_values(extract(env, params)).reshape(3, 4) - 0.04
    expected = [[0.812, 0.868, 0.918, np.nan], [0.762, np.nan, 0.660, np.nan], [0.705, 0.655, 0.611, 0.388]]
    known = ~np.isnan(expected)
    np.testing.assert_allclose(values[known], np.array(expected)[known], atol=6e-4)


def test_windy_world_takes_15_steps():
    env, params = envs.make("WindyGridWorld-v1")
    values = optimal_values(extract(env, params), sweeps=100)
    assert values[int(env.reset(jax.random.key(0), params)[0].position)] == -15


def test_wind_shifts_after_the_move_and_stops_at_walls_and_the_border():
    env = GridWorld(map=("#..", "...", "S.G"), wind=(1, 2, 0), turns=(0,))
    params = env.default_params()

    def go(position, action):
        state, _ = env.step(jax.random.key(0), env.state_at(position, params), action, params)
        return int(state.position)

    assert go(6, RIGHT) == 4  # one up, by the wind of the column that is left
    assert go(7, LEFT) == 6  # two up would be the wall: no effect
    assert go(4, DOWN) == 1  # two up from the bottom row
    assert go(1, RIGHT) == 2  # the border stops the wind
    assert go(3, DOWN) == 3
    assert go(5, UP) == 2


def test_four_rooms_is_the_published_map():
    env, params = envs.make("FourRooms-v1")
    assert int(np.sum(np.asarray(params.cells) != 1)) == 104
    hallways = {(3, 6), (6, 2), (7, 9), (10, 6)}
    cells = np.asarray(params.cells) != 1
    rooms = [(1, 6, 1, 6), (1, 7, 7, 12), (7, 12, 1, 6), (8, 12, 7, 12)]
    inside = np.zeros_like(cells)
    for top, bottom, left, right in rooms:
        inside[top:bottom, left:right] = True
    assert {tuple(map(int, cell)) for cell in np.argwhere(cells & ~inside)} == hallways
    assert int(params.cells[7, 9]) == GOAL
    out = env.outcomes(jnp.int32(14), jnp.int32(RIGHT), params)
    moved = dict(zip(np.asarray(out.next_state).tolist(), [0] * 4, strict=True))
    for following, probability in zip(out.next_state.tolist(), out.probability.tolist(), strict=True):
        moved[following] += probability
    assert moved == pytest.approx({15: 2 / 3, 27: 1 / 9, 14: 2 / 9})


def test_walls_block_ends_stay_and_the_clock_truncates():
    env = GridWorld(map=("S#.", "..H", "..G"), turns=(0,))
    params = env.default_params().replace(max_steps=jnp.int32(2))
    state, obs = env.reset(jax.random.key(0), params)
    assert int(obs) == 0
    state, out = env.step(jax.random.key(0), state, RIGHT, params)
    assert (int(out.obs), bool(out.terminated), bool(out.truncated)) == (0, False, False)
    assert float(out.reward) == pytest.approx(-0.04)
    _, out = env.step(jax.random.key(0), state, DOWN, params)
    assert (int(out.obs), bool(out.terminated), bool(out.truncated)) == (3, False, True)
    # The goal is entered in the last step: terminated wins over truncated.
    beside = env.state_at(jnp.int32(4), params).replace(t=jnp.int32(1))
    ended, out = env.step(jax.random.key(0), beside, RIGHT, params)
    assert (int(out.obs), float(out.reward), bool(out.terminated), bool(out.truncated)) == (
        5,
        -1.0,
        True,
        False,
    )
    again, out = env.step(jax.random.key(0), ended, LEFT, params)
    assert (int(again.position), float(out.reward), bool(out.terminated)) == (5, 0.0, True)


def test_one_compile_serves_all_slips_and_maps():
    env, params = envs.make("FrozenLake8x8-v1")
    slips = jnp.array([0.0, 0.3, 2 / 3, 1.0], jnp.float32)
    axes = jax.tree.map(lambda _: None, params).replace(slip=0)
    compiled = []

    @jax.jit
    def goes_right(keys, params):
        compiled.append(1)

        def share(params):
            state = env.state_at(jnp.int32(9), params)
            after, _ = jax.vmap(lambda key: env.step(key, state, RIGHT, params))(keys)
            return jnp.mean(after.position == 10)

        return jax.vmap(share, (axes,))(params)

    keys = jax.random.split(jax.random.key(0), 4000)
    shares = goes_right(keys, params.replace(slip=slips))
    np.testing.assert_allclose(shares, 1 - slips, atol=0.04)
    assert float(shares[0]) == 1.0 and float(shares[3]) == 0.0
    goes_right(keys, random_lake(jax.random.key(1), params).replace(slip=slips))
    assert len(compiled) == 1


def test_starts_follow_their_distribution_and_a_single_start_ignores_the_key():
    env = FourRooms()
    params = env.default_params()
    reset = jax.jit(jax.vmap(lambda key, params: env.reset(key, params)[0].position, (0, None)))
    positions = np.asarray(reset(jax.random.split(jax.random.key(0), 4000), params))
    seen = np.bincount(positions, minlength=env.num_states) / 4000
    floor = np.asarray(params.cells).ravel() == FLOOR
    assert np.all(seen[floor] > 0) and np.all(seen[~floor] == 0)
    np.testing.assert_allclose(seen, env.start_distribution(params), atol=0.01)
    uneven = params.replace(
        start=jnp.zeros(env.num_states).at[jnp.array([14, 15])].set(jnp.array([1.0, 3.0]))
    )
    positions = np.asarray(reset(jax.random.split(jax.random.key(1), 4000), uneven))
    np.testing.assert_allclose(np.mean(positions == 15), 0.75, atol=0.04)
    assert set(positions.tolist()) == {14, 15}
    lake = FrozenLake()
    jaxpr = jax.make_jaxpr(lake.reset)(jax.random.key(0), lake.default_params())
    assert "random_bits" not in str(jaxpr)


def test_image_observations_show_agent_walls_pits_and_goals():
    env = GridWorld(map=("S#H", ".G."), observation="image")
    params = env.default_params()
    _, obs = env.reset(jax.random.key(0), params)
    assert obs.shape == (2, 3, 4) and env.observation_space(params).contains(obs)
    agent, wall, pit, goal = np.eye(4).tolist()
    expected = [[agent, wall, pit], [[0] * 4, goal, [0] * 4]]
    assert obs.tolist() == expected


@pytest.mark.parametrize("id", GRIDS)
def test_dtypes_survive_a_step_and_observations_stay_in_their_space(id):
    env, params = envs.make(id)
    state, obs = jax.jit(env.reset)(jax.random.key(0), params)
    after, out = jax.jit(env.step)(jax.random.key(1), state, jnp.int32(0), params)

    def types(tree):
        return jax.tree.map(lambda x: (x.dtype, x.weak_type, x.shape), tree)

    assert types(state) == types(after) and types(obs) == types(out.obs)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((state, out, params)))
    assert env.observation_space(params).contains(out.obs)
    assert (out.reward.dtype, out.terminated.dtype, out.truncated.dtype) == (jnp.float32, bool, bool)


def test_random_lakes_can_always_be_crossed_and_differ():
    env, params = envs.make("FrozenLake8x8-v1")
    draw = jax.jit(jax.vmap(lambda key: random_lake(key, params, 0.8).replace(slip=jnp.float32(0.0))))
    lakes = draw(jax.random.split(jax.random.key(0), 32))
    cells = np.asarray(lakes.cells)
    assert len({lake.tobytes() for lake in cells}) == 32
    assert np.all(cells[:, 0, 0] == FLOOR) and np.all(cells[:, -1, -1] == GOAL)
    # 15 cells of 64 are kept free at least.
    assert 0.6 < np.mean(cells == PIT) / (49 / 64) < 1.0
    mdps = jax.device_get(jax.jit(jax.vmap(lambda params: extract(env, params)))(lakes))
    for lake in range(32):
        mdp = jax.tree.map(lambda leaf, lake=lake: leaf[lake], mdps)
        assert optimal_values(mdp, sweeps=20)[0] == 1.0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"map": ("S..", "...")}, "`map` must hold a goal 'G', got"),
        ({"map": ("S#G",)}, "every start reach a goal, got .*, where the one in row 0, column 0 cannot"),
        ({"map": ("SHG",)}, "every start reach a goal"),
        ({"map": ("G.#.",)}, "the one in row 0, column 3 cannot"),
        ({"map": ("...", "S.G"), "wind": (0, 1, 0)}, None),
        ({"map": ("#G#", "S.#", "..#"), "wind": (0, 2, 0)}, None),
        ({"map": ("..", "G.", "S."), "wind": (2, 2)}, "the one in row 2, column 0 cannot"),
        ({"map": ("SH.", "H.G", "S.."), "pits_restart": True}, "the one in row 0, column 0 cannot"),
        ({"map": 3}, "`map` must be rows of letters such as"),
        ({"map": np.zeros((2, 2), int)}, "cells as numbers are parameters"),
    ],
)
def test_maps_that_cannot_be_solved_are_refused(options, message):
    if message is None:
        env = GridWorld(**options)
        assert is_solvable(env.default_params(), env.pits_restart)
    else:
        with pytest.raises(ValueError, match=message):
            GridWorld(**options)


def test_a_parameter_that_is_nan_breaks_a_law():
    env, params = envs.make("GridWorld-v1")
    for name in ("start", "goal_reward"):
        broken = params.replace(**{name: getattr(params, name) * jnp.nan})
        with pytest.raises(ConformanceError, match=rf"'params' .*\.{name} is NaN"):
            check_env(env, broken)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: {"cells": jnp.zeros((8, 8), jnp.int32)},
            r"`cells` must be integers \[4, 4\].*int32\[8, 8\]",
        ),
        (
            lambda p: {"cells": p.cells.astype(jnp.float32)},
            r"`cells` must be integers .* got float32\[4, 4\]",
        ),
        (lambda p: {"cells": p.cells + 7}, "`cells` must be FLOOR, WALL, PIT or GOAL"),
        (lambda p: {"cells": p.cells * (p.cells != GOAL)}, "`cells` must hold a goal that can be reached"),
        (lambda p: {"cells": p.cells.at[0, 1].set(WALL).at[1, 0].set(WALL)}, "reached from every start"),
        (lambda p: {"start": p.start * 0}, r"`start` must be \[16\] probabilities, not all 0"),
        (lambda p: {"start": p.start[:3]}, r"`start` must be \[16\] probabilities"),
        (lambda p: {"slip": jnp.float32(2)}, r"`slip` must lie in \[0, 1\], got 2"),
    ],
)
def test_parameters_that_make_no_sense_break_a_law_also_behind_a_wrapper(change, message):
    env, params = envs.make("FrozenLake4x4-v1")
    wrapped, around = envs.wrappers.wrap(env, params.replace(**change(params)), "transform_reward")
    for world, given in ((env, around.env), (wrapped, around)):
        with pytest.raises(ConformanceError, match=message) as caught:
            check_env(world, given)
        assert caught.value.law == "params"


def test_solvability_is_that_of_the_exact_model():
    env = GridWorld(turns=(0,))
    params = env.default_params()
    rng, seen = np.random.default_rng(0), []
    solve = jax.jit(lambda params: extract(env, params))
    for _ in range(24):
        cells = (
            jnp.asarray(rng.choice([FLOOR, FLOOR, WALL, PIT, GOAL], (3, 4)), jnp.int32).at[2, 0].set(FLOOR)
        )
        drawn = params.replace(cells=cells, step_reward=jnp.float32(0), pit_reward=jnp.float32(0))
        best = optimal_values(jax.device_get(solve(drawn)), sweeps=20)[8]
        seen.append(is_solvable(drawn))
        assert seen[-1] == (best > 0)
    assert 2 < sum(seen) < 22


def test_place_goal_moves_the_goal_and_the_starts():
    params = FourRooms().default_params()
    moved = jax.jit(place_goal)(params, jnp.int32(14))
    assert np.argwhere(np.asarray(moved.cells) == GOAL).tolist() == [[1, 1]]
    assert float(moved.start[14]) == 0 and float(moved.start[7 * 13 + 9]) == pytest.approx(1 / 103)
    assert float(moved.start.sum()) == pytest.approx(1)


def test_environments_are_equal_by_value():
    assert FrozenLake() == FrozenLake() and hash(FrozenLake()) == hash(FrozenLake())
    assert GridWorld(map="S.\n.G") == GridWorld(map=("S.", ".G"))
    assert GridWorld(map="S.\n.G") != GridWorld(map="S.\nG.")


def test_ascii_shows_map_and_agent():
    env, params = envs.make("FrozenLake4x4-v1")
    assert env.ascii(None, params) == "S...\n.H.H\n...H\nH..G"
    assert env.ascii(env.state_at(jnp.int32(14), params), params) == "S...\n.H.H\n...H\nH.AG"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"map": ("S.", ".")}, "`map` must hold rows of one positive length"),
        ({"map": ()}, "`map` must hold rows"),
        ({"map": ("S?",)}, "`map` must hold only .* got '\\?'"),
        ({"map": ("#G",)}, "`map` must hold a start"),
        ({"wind": (1,)}, "`wind` must have one entry a column = 4"),
        ({"turns": (1, 2)}, "`turns` must hold 0"),
        ({"turns": (0, 1, 5)}, "`turns` must hold 0"),
        ({"directions": (0, 1, 2, 2)}, "`directions` must hold 0, 1, 2 and 3 once each"),
        ({"observation": "pixels"}, "`observation` must be 'index' or 'image'"),
        ({"size": 4}, "does not take the options"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        envs.make("GridWorld-v1", **options)


def taxi_model(params):
    return jax.device_get(jax.jit(lambda params: extract(envs.make("Taxi-v1")[0], params))(params))


@pytest.mark.parametrize("rainy", [False, True])
def test_taxi_equals_gymnasiums_table_entry_by_entry(rainy):
    reference = gymnasium.make("Taxi-v4", is_rainy=rainy).unwrapped
    env, params = envs.make("Taxi-v1")
    params = params.replace(rain=jnp.float32(0.2 if rainy else 0.0))
    mdp = taxi_model(params)
    mask = jax.vmap(lambda s: env.action_mask(env.state_at(s, params), params))(jnp.arange(500))
    P, R = np.zeros((500, 6, 500)), np.zeros((500, 6))
    at_destination = np.array([reference.decode(s)[2] == reference.decode(s)[3] for s in range(500)])
    delivered = set()
    for state, actions in reference.P.items():
        for action, branches in actions.items():
            for probability, following, reward, terminated in branches:
                P[state, action, following] += probability
                R[state, action] += probability * reward
                if terminated:
                    delivered.add(following)
    going = ~at_destination
    np.testing.assert_allclose(mdp.P[going], P[going], atol=1e-6)
    np.testing.assert_allclose(mdp.R[going], R[going], atol=1e-5)
    assert np.array_equal(mdp.terminal, at_destination) and delivered == {0, 85, 410, 475}
    np.testing.assert_allclose(mdp.start, reference.initial_state_distrib, atol=1e-7)
    expected = [reference.action_mask(state).astype(bool) for state in range(500)]
    assert np.array_equal(np.asarray(mask)[going], np.array(expected)[going])
    assert envs.time_limit(env, params) == 200


def test_best_taxi_earns_7_93():
    _, params = envs.make("Taxi-v1")
    mdp = taxi_model(params)
    assert mdp.start @ optimal_values(mdp, sweeps=200) == pytest.approx(7.93, abs=5e-3)


def test_taxi_frame_shows_taxi_and_passenger():
    env, params = envs.make("Taxi-v1")
    frames = [env.frame(env.state_at(s, params), params) for s in (226, 126, 158)]
    assert all(frame.shape == (400, 400, 3) and frame.dtype == np.uint8 for frame in frames)

    def centre(frame, color):
        return np.argwhere(np.abs(frame.astype(int) - color).sum(-1) < 30).mean(0)

    taxi, passenger = [238, 125, 49], [90, 60, 150]
    cell = 400 / 5.2
    np.testing.assert_allclose(centre(frames[0], taxi) - centre(frames[1], taxi), [cell, 0], atol=2)
    np.testing.assert_allclose(centre(frames[0], passenger), centre(frames[1], passenger), atol=1)
    np.testing.assert_allclose(centre(frames[2], passenger), centre(frames[2], taxi), atol=12)


# Key and door, rooms --------------------------------------------------------------------------------------


def shortest_way(map):
    """Breadth-first search over cells and key in plain Python; None if there is no way."""
    cells = {(r, c): letter for r, row in enumerate(map) for c, letter in enumerate(row)}
    start = next((cell, False) for cell, letter in cells.items() if letter == "S")
    frontier, steps, seen = [start], 0, {start}
    while frontier:
        following = []
        for (row, column), has_key in frontier:
            if cells[row, column] == "G":
                return steps
            for to in ((row, column - 1), (row + 1, column), (row, column + 1), (row - 1, column)):
                letter = cells.get(to, "#")
                if letter != "#" and (letter != "D" or has_key):
                    node = (to, has_key or letter == "K")
                    if node not in seen:
                        seen.add(node)
                        following.append(node)
        frontier, steps = following, steps + 1
    return None


def test_key_door_takes_as_many_steps_as_a_search_says():
    env, params = envs.make("KeyDoor-v1")
    draws = jax.jit(jax.vmap(env.draw, (0, None)))(jax.random.split(jax.random.key(0), 40), params)
    mazes = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), params, draws)
    cost = jnp.full(41, -1.0)
    costly = mazes.replace(step_reward=cost, key_reward=cost, goal_reward=cost)
    mdps = jax.device_get(jax.jit(jax.vmap(lambda params: extract(env, params)))(costly))
    cells, starts = np.asarray(mazes.cells), np.asarray(mazes.start)
    for i in range(41):
        letters = np.array(list(".# GKD"))[cells[i]]
        letters.ravel()[starts[i]] = "S"
        mdp = jax.tree.map(lambda leaf, i=i: leaf[i], mdps)
        expected = shortest_way(letters.tolist())
        assert expected is not None and -optimal_values(mdp, sweeps=40)[starts[i]] == expected
        assert [(letters == kind).sum() for kind in "SKDG"] == [1, 1, 1, 1]
    assert shortest_way(env.map) == 8 and len({maze.tobytes() for maze in cells}) > 35


def test_key_door_shows_the_key_until_it_is_taken():
    env, params = envs.make("KeyDoor-v1", observation="image")
    index = envs.make("KeyDoor-v1")[0]
    state, obs = env.reset(jax.random.key(0), params)
    assert obs.shape == (5, 7, 6) and obs[3, 0, 0] == 1 and obs[2, 1, 3] == 1 and not obs[..., 5].any()
    for action in (RIGHT, UP):
        state, out = env.step(jax.random.key(0), state, jnp.int32(action), params)
    assert not out.obs[..., 3].any() and out.obs[..., 5].all() and out.obs[2, 1, 0] == 1
    assert int(index.state_index(state, params)) == 35 + 2 * 7 + 1
    assert env.ascii(state, params).splitlines()[2] == ".a.D..."
    for action, column in ((RIGHT, 2), (RIGHT, 3)):
        state, out = env.step(jax.random.key(0), state, jnp.int32(action), params)
        assert out.obs[2, column, 0] == 1
    shut, _ = env.step(jax.random.key(0), env.state_at(2 * 7 + 2, params), jnp.int32(RIGHT), params)
    assert int(shut.index) == 2 * 7 + 2


def test_rooms_can_always_be_crossed_and_differ():
    env, params = envs.make("MultiRoom-v1", rooms=3, size=3)
    draws = jax.jit(jax.vmap(env.draw, (0, None)))(jax.random.split(jax.random.key(0), 32), params)
    cells = np.asarray(draws.cells)
    assert len({maze.tobytes() for maze in cells}) > 24
    assert np.all((cells == WALL).sum((1, 2)) == 4) and np.all((cells == GOAL)[:, :, 8:].sum((1, 2)) == 1)
    assert np.all((cells[:, :, [3, 7]] == FLOOR).sum(1) == 1)
    mdps = jax.device_get(jax.jit(jax.vmap(lambda params: extract(env, params)))(draws))
    starts = np.asarray(draws.start)
    assert np.all((starts > 0).reshape(32, 3, 11)[:, :, :3]) and np.all((starts > 0).sum(1) == 9)
    for i in range(32):
        mdp = jax.tree.map(lambda leaf, i=i: leaf[i], mdps)
        assert np.all(optimal_values(mdp, sweeps=30)[starts[i] > 0] == 1)


@pytest.mark.parametrize(
    ("id", "options", "message"),
    [
        ("KeyDoor-v1", {"map": ("S.", "G")}, "`map` must hold rows of one positive length"),
        ("KeyDoor-v1", {"map": ("SHG",)}, "`map` must hold only .* got 'H'"),
        ("KeyDoor-v1", {"map": ("..G",)}, "`map` must hold one start 'S'"),
        ("KeyDoor-v1", {"map": ("S..", "...")}, "`map` must hold a goal 'G' that can be reached"),
        ("KeyDoor-v1", {"map": ("SDG",)}, "`map` must hold a goal 'G' that can be reached"),
        ("KeyDoor-v1", {"map": ("SDKDG",)}, "`map` must hold a goal 'G' that can be reached"),
        ("KeyDoor-v1", {"map": ("K#S", "#.D", "#.G")}, "`map` must hold a goal 'G' that can be reached"),
        ("KeyDoor-v1", {"map": ("KSD", "..G")}, None),
        ("KeyDoor-v1", {"map": "S.KDG"}, None),
        ("KeyDoor-v1", {"map": 3}, "`map` must be rows of letters such as"),
        ("KeyDoor-v1", {"observation": "pixels"}, "`observation` must be 'index' or 'image'"),
        ("MultiRoom-v1", {"rooms": 1}, "`rooms` must be at least 2, got 1"),
        ("MultiRoom-v1", {"size": 0}, "`size` must be at least 1, got 0"),
        ("MultiRoom-v1", {"size": 2.5}, "`size` must be an integer, got 2.5"),
    ],
)
def test_bad_options_of_mazes_are_refused(id, options, message):
    if message is None:
        env, params = envs.make(id, **options)
        assert shortest_way([list(row) for row in env.map]) is not None
        env.check_params(params)
    else:
        with pytest.raises(ValueError, match=message):
            envs.make(id, **options)


@pytest.mark.parametrize(
    ("id", "change", "message"),
    [
        ("KeyDoor-v1", lambda p: {"cells": p.cells * (p.cells != GOAL)}, "`cells` must hold a goal that can"),
        ("KeyDoor-v1", lambda p: {"cells": p.cells * (p.cells != KEY)}, "through doors only with a key"),
        ("KeyDoor-v1", lambda p: {"cells": p.cells + 7}, "`cells` must be FLOOR, WALL, GOAL, KEY or DOOR"),
        ("KeyDoor-v1", lambda p: {"cells": p.cells[:3]}, r"`cells` must be integers \[5, 7\].*int32\[3, 7\]"),
        ("KeyDoor-v1", lambda p: {"start": jnp.int32(99)}, "`start` must be the number of a floor cell"),
        ("KeyDoor-v1", lambda p: {"start": jnp.int32(3)}, "`start` must be the number of a floor cell"),
        (
            "WindyGridWorld-v1",
            lambda p: {"wind": p.wind[:2]},
            r"`wind` must be integers \[7, 10, 2\].*int32\[2, 10, 2\]",
        ),
        ("WindyGridWorld-v1", lambda p: {"wind": p.wind / 2}, r"`wind` must be integers .* got float32"),
        (
            "MinAtar-Breakout-v1",
            lambda p: {"sticky_action_prob": p.sticky_action_prob + 1},
            r"`sticky_action_prob` must lie in \[0, 1\], got 1.1",
        ),
        ("Taxi-v1", lambda p: {"landmarks": p.landmarks * 0}, "`landmarks` must be 4 different cells"),
        ("Taxi-v1", lambda p: {"landmarks": p.landmarks + 9}, "`landmarks` must be 4 different cells"),
        ("Taxi-v1", lambda p: {"rain": jnp.float32(2)}, r"`rain` must lie in \[0, 1\], got 2"),
        ("Taxi-v1", lambda p: {"walls": p.walls[:3]}, r"`walls` must be bool\[5, 5\], got bool\[3, 5\]"),
        ("FrozenLake4x4-v1", lambda p: {"start": p.start[::-1]}, "`start` must not lie in a pit or a goal"),
        (
            "DeepSea-v1",
            lambda p: {"action_right": p.action_right + 1},
            "`action_right` must be .* of 0 and 1",
        ),
        ("DeepSea-v1", lambda p: {"slip": jnp.float32(-1)}, r"`slip` must lie in \[0, 1\], got -1"),
        ("TMaze-v1", lambda p: {"length": p.length + 1}, r"`length` must lie in 1..max_length = 10, got 11"),
        (
            "MemoryChain-v1",
            lambda p: {"in_use": p.in_use + 1},
            r"`in_use` must lie in 1..num_bits = 1, got 2",
        ),
        ("MemoryChain-v1", lambda p: {"length": p.length * 0}, "`length` must be at least 1, got 0"),
        ("RepeatCopy-v1", lambda p: {"repeats": p.repeats * 0}, "`repeats` must be at least 1, got 0"),
        (
            "BernoulliBandit-v1",
            lambda p: {"probabilities": p.probabilities + 1},
            "`probabilities` must lie in",
        ),
        ("GaussianBandit-v1", lambda p: {"scales": p.scales * 0}, "`scales` must be positive and finite"),
        ("DriftingBandit-v1", lambda p: {"scale": -p.scale}, "`scale` must be positive and finite"),
        ("ContextualBandit-v1", lambda p: {"biases": p.biases[:2]}, "`biases` must have shape"),
        ("SlateBandit-v1", lambda p: {"attraction": p.attraction * 2}, r"`attraction` must lie in \[0, 1\]"),
    ],
)
def test_parameters_that_make_no_sense_break_a_law(id, change, message):
    env, params = envs.make(id)
    env.check_params(params)
    with pytest.raises(ConformanceError, match=message) as caught:
        check_env(env, params.replace(**change(params)))
    assert caught.value.law == "params"
