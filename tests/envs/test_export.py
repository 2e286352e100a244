"""The exports against Gymnasium's own checks and vectors, and stable-baselines3 learning on them."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import envs
from envs.core import Step
from envs.export import (
    hand_over,
    make_gymnasium,
    register_gymnasium,
    to_gymnasium,
    to_gymnasium_vec,
)
from envs.spaces import Box, Dict, Discrete, MultiDiscrete

# What Gymnasium recommends, not what it demands.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*A Box observation space (minimum|maximum) value is:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*we recommend using a symmetric and normalized space:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Not able to test alternative render modes:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version:UserWarning"),
]


class Everything:
    """Every kind of space, a mask, and a metric, in a world that counts to three."""

    id = "Everything-v0"

    def __eq__(self, other):
        return type(self) is type(other)

    def __hash__(self):
        return 7

    def default_params(self):
        return {"limit": jnp.int32(3)}

    def observation_space(self, params):
        return Dict(
            {
                "bits": Box(False, True, (2,), bool),
                "bytes": Box(0, 255, (2, 2), np.uint8),
                "clock": Discrete(4),
                "pair": MultiDiscrete((2, 3)),
                "real": Box(-1.0, 1.0, ()),
            }
        )

    def action_space(self, params):
        return Discrete(3)

    def action_mask(self, state, params):
        return jnp.arange(3) != state % 3

    def _observe(self, t):
        return {
            "bits": jnp.stack([t % 2 == 0, t > 1]),
            "bytes": jnp.full((2, 2), 80, jnp.uint8) * t.astype(jnp.uint8),
            "clock": t,
            "pair": jnp.stack([t % 2, t % 3]),
            "real": -t.astype(jnp.float32) / 3,
        }

    def reset(self, key, params):
        return jnp.int32(0), self._observe(jnp.int32(0))

    def step(self, key, state, action, params):
        t = state + 1
        end = t >= params["limit"]
        reward = t.astype(jnp.float32) + 0.1 * jnp.asarray(action, jnp.float32)
        step = Step(self._observe(t), reward, end & (action > 0), end & (action == 0), {"twice": 2 * reward})
        return t, step


WORLDS = {
    "Everything": lambda: (Everything(), Everything().default_params()),
    "DeepSea": lambda: envs.make("DeepSea-v1", size=4),
    "Cliff": lambda: envs.make("CliffWalking-v1"),
}


@pytest.mark.parametrize("id", ["CartPole-v1", "FrozenLake4x4-v1", "Pendulum-v1", "Taxi-v1", "KeyDoor-v1"])
def test_registered_worlds_pass_the_check_of_gymnasium(id):
    env = gymnasium.make(f"jaxrl/{id}", disable_env_checker=True).unwrapped
    check_env(env)
    assert env.spec.id == f"jaxrl/{id}"


def test_every_kind_of_space_passes_the_check_and_keeps_its_dtype():
    world = Everything()
    env = to_gymnasium(world, render_mode="rgb_array")
    check_env(env)
    obs, info = env.reset(seed=1)
    declared = {"bits": bool, "bytes": np.uint8, "clock": np.int32, "pair": np.int32, "real": np.float32}
    assert {name: part.dtype for name, part in env.observation_space.items()} == declared
    assert isinstance(obs.pop("clock"), int)  # as in Gymnasium's own worlds
    assert {name: value.dtype for name, value in obs.items()} == {k: declared[k] for k in obs}
    assert info["action_mask"].tolist() == [0, 1, 1] and info["action_mask"].dtype == np.int8
    assert env.action_space.sample(info["action_mask"]) in (1, 2)
    obs["bytes"][:] = 7  # the caller's own
    _, reward, terminated, truncated, info = env.step(np.int64(2))
    assert (reward, terminated, truncated) == (pytest.approx(1.2), False, False)
    assert info["twice"] == pytest.approx(2.4) and isinstance(info["twice"], float)


def test_an_export_never_resets_itself_and_shows_the_last_observation():
    env = to_gymnasium(Everything())
    env.reset(seed=0)
    for _ in range(2):
        env.step(0)
    obs, _, terminated, truncated, _ = env.step(0)
    assert (terminated, truncated, int(obs["clock"])) == (False, True, 3)
    obs, _ = env.reset(options={"params": {"limit": jnp.int32(1)}})
    assert int(obs["clock"]) == 0 and env.step(1)[2]


def test_rendering_needs_a_mode_that_the_world_has():
    env = make_gymnasium("GridWorld-v1", render_mode="ansi", map=("S.G",))
    env.reset(seed=0)
    assert env.render() == "A.G"
    env = make_gymnasium("GridWorld-v1", render_mode="rgb_array", map=("S.G",))
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.render()
    env.reset(seed=0)
    assert env.render().dtype == np.uint8 and env.render().ndim == 3
    with pytest.raises(ValueError, match=r"`render_mode` must be None or one of \['rgb_array'\]"):
        to_gymnasium(Everything(), render_mode="ansi")
    assert to_gymnasium_vec(Everything(), num_envs=2).render() is None
    worlds = to_gymnasium_vec(*envs.make("GridWorld-v1"), num_envs=2, render_mode="ansi")
    worlds.reset(seed=0)
    assert [text.count("A") for text in worlds.render()] == [1, 1]


@pytest.mark.parametrize(
    "id, action, message",
    [
        ("CartPole-v1", 2, r"`action` must lie in Discrete\(n=2"),
        ("CartPole-v1", -1, "must lie in"),
        ("CartPole-v1", 0.5, "must be integers"),
        ("CartPole-v1", [0], r"must have the shape \(\), got \(1,\)"),
        ("Pendulum-v1", 0.5, r"must have the shape \(1,\)"),
        ("Pendulum-v1", [np.nan], "must be numbers"),
        ("Pendulum-v1", ["left"], "must be numbers"),
    ],
)
def test_actions_that_do_not_fit_are_errors(id, action, message):
    env = make_gymnasium(id)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(action)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(action)


# Vectors against Gymnasium's own ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
@pytest.mark.parametrize("world", WORLDS)
def test_a_vector_does_what_gymnasiums_own_does(world, mode):
    # These worlds have one start and no luck, so that equal actions must give equal results.
    env, params = WORLDS[world]()
    if world == "Cliff":
        params = params.replace(max_steps=jnp.int32(7))
    num_envs = 3
    ours = to_gymnasium_vec(env, params, num_envs, autoreset_mode=mode)
    theirs = SyncVectorEnv([lambda: to_gymnasium(env, params)] * num_envs, autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"] is mode
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.action_space == theirs.action_space
    assert data_equivalence(ours.reset(seed=0), theirs.reset(seed=0))
    rng, ends = np.random.default_rng(1), 0
    for t in range(25):
        actions = rng.integers(0, int(ours.single_action_space.n), num_envs)
        mine, reference = ours.step(actions), theirs.step(actions)
        assert mine[1].dtype == np.float64
        assert data_equivalence(mine, reference), (t, mine, reference)
        assert mine[0] in ours.observation_space
        done = mine[2] | mine[3]
        ends += done.sum()
        if mode is AutoresetMode.DISABLED and done.any():
            with pytest.raises(ValueError, match="episodes of the worlds"):
                ours.step(actions)
            if t % 2:  # restart one more than is due
                done[0] = True
            pair = [vector.reset(options={"reset_mask": done.copy()}) for vector in (ours, theirs)]
            assert data_equivalence(*pair), (t, pair)
    assert ends > 3


def test_vectors_keep_the_last_observation_where_starts_are_random():
    vector = to_gymnasium_vec(*envs.make("CartPole-v1"), num_envs=64)
    obs, _ = vector.reset(seed=0)
    starts, checked = [], 0
    rng = np.random.default_rng(0)
    for _ in range(60):
        obs, _, terminated, _, info = vector.step(rng.integers(0, 2, 64))
        for i in np.flatnonzero(terminated):
            last = info["final_obs"][i]
            assert abs(last[2]) > np.radians(12) or abs(last[0]) > 2.4
            assert np.all(np.abs(obs[i]) <= 0.05)
            starts.append(tuple(obs[i].tolist()))
            checked += 1
    assert checked > 100 and len(set(starts)) > 0.9 * checked


def test_a_seed_repeats_a_vector_and_none_goes_on():
    vector = to_gymnasium_vec(*envs.make("CartPole-v1"), num_envs=2)
    first, again = (vector.reset(seed=3)[0] for _ in range(2))
    other = vector.reset()[0]
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.array_equal(vector.reset(seed=3)[0], first) and np.array_equal(vector.reset()[0], other)
    assert len(np.unique(first[:, 0])) == 2
    with pytest.raises(ValueError, match="`seed` must be one integer"):
        vector.reset(seed=[1, 2])
    for mask in (np.zeros(2, bool), np.ones(3, bool), np.ones(2)):
        with pytest.raises(ValueError, match=r"`reset_mask` must be bool\[2\]"):
            vector.reset(options={"reset_mask": mask})


def test_wrappers_of_gymnasium_take_a_vector():
    vector = RecordEpisodeStatistics(gymnasium.make_vec("jaxrl/DeepSea-v1", num_envs=2))
    vector.reset(seed=0)
    for _ in range(10):
        *_, terminated, _, info = vector.step(np.zeros(2, int))
    assert terminated.all() and info["episode"]["l"].tolist() == [10, 10]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"autoreset_mode": "NEXT"}, "`autoreset_mode` must be one of"),
        ({"arrays": "cupy"}, "`arrays` must be one of"),
        ({"num_envs": 0}, "`num_envs` must be at least 1"),
        ({"reset": "now"}, "`reset` must be one of"),
        ({"render_mode": "human"}, "`render_mode` must be None or one of"),
    ],
)
def test_unknown_options_of_vectors_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        to_gymnasium_vec(*envs.make("CartPole-v1"), **options)


def test_actions_of_vectors_are_checked():
    vector = to_gymnasium_vec(*envs.make("CartPole-v1"), num_envs=2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        vector.step(np.zeros(2, int))
    vector.reset(seed=0)
    with pytest.raises(ValueError, match=r"`actions` must have the shape \(2,\), got \(3,\)"):
        vector.step(np.zeros(3, int))
    with pytest.raises(ValueError, match="`actions` must lie in"):
        vector.step(np.array([0, 2]))


# Registration and arrays -----------------------------------------------------------------------------------


def test_registration_covers_the_native_worlds_and_can_be_repeated():
    ids = register_gymnasium()
    assert ids == [f"jaxrl/{id}" for id in envs.names("native")] == register_gymnasium()
    env = gymnasium.make("envs.export:jaxrl/GridWorld-v1", map=("S..G",), render_mode="ansi")
    env.reset(seed=0)
    assert env.observation_space.n == 4 and env.render() == "A..G"
    vector = gymnasium.make_vec("jaxrl/CartPole-v1", num_envs=2, autoreset_mode="NEXT_STEP")
    assert vector.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP and vector.spec is not None


def test_arrays_are_handed_over_without_a_copy():
    arrays = {"x": jnp.arange(6.0).reshape(2, 3), "flag": jnp.array([True, False]), "n": jnp.uint8([1, 2])}
    shared = hand_over(arrays)
    for name, array in arrays.items():
        assert shared[name].ctypes.data == array.unsafe_buffer_pointer(), name
        assert not shared[name].flags.writeable and shared[name].dtype == array.dtype
    copied = hand_over(arrays, copy=True)
    copied["x"][:] = 9
    assert float(arrays["x"][0, 0]) == 0
    assert hand_over(arrays, "jax") is arrays
    with pytest.raises(ValueError, match="`to` must be one of"):
        hand_over(arrays, "cupy")


@pytest.mark.parametrize("mode", ["SAME_STEP", "NEXT_STEP"])
def test_a_vector_of_jax_arrays_stays_in_jax(mode):
    vector = to_gymnasium_vec(
        Everything(), num_envs=2, arrays="jax", autoreset_mode=mode, params={"limit": jnp.int32(1)}
    )
    obs, _ = vector.reset(seed=0)
    assert isinstance(obs["real"], jax.Array) and vector.metadata["jax"]
    obs, reward, terminated, truncated, info = vector.step(jnp.array([0, 1]))
    assert all(isinstance(x, jax.Array) for x in (reward, terminated, truncated))
    assert terminated.tolist() == [False, True] and truncated.tolist() == [True, False]
    if mode == "SAME_STEP":
        assert info["final_obs"]["clock"].tolist() == [1, 1] and obs["clock"].tolist() == [0, 0]
    else:
        assert "final_obs" not in info and obs["clock"].tolist() == [1, 1]


def test_views_of_a_vector_are_read_only():
    vector = to_gymnasium_vec(*envs.make("CartPole-v1"), num_envs=2, copy=False)
    obs, _ = vector.reset(seed=0)
    assert not obs.flags.writeable
    assert to_gymnasium_vec(*envs.make("CartPole-v1"), num_envs=2).reset(seed=0)[0].flags.writeable


def test_a_vector_of_torch_tensors_shares_them():
    torch = pytest.importorskip("torch", reason="torch is not installed; it is no dependency of jaxrl")
    x = jnp.arange(4.0)
    assert hand_over(x, "torch").data_ptr() == x.unsafe_buffer_pointer()
    assert hand_over(x, "torch", copy=True).data_ptr() != x.unsafe_buffer_pointer()
    vector = to_gymnasium_vec(*envs.make("CartPole-v1"), num_envs=2, arrays="torch")
    obs, _ = vector.reset(seed=0)
    assert obs.dtype == torch.float32 and tuple(obs.shape) == (2, 4)
    for _ in range(30):
        obs, reward, terminated, _, info = vector.step(torch.ones(2, dtype=torch.int64))
        if terminated.any():
            break
    assert terminated.dtype == torch.bool and info["final_obs"].shape == obs.shape
    assert reward.tolist() == [1.0, 1.0]


@pytest.mark.slow
def test_stable_baselines3_learns_a_grid_world():
    reason = "stable-baselines3 is not installed; it needs torch, which is no dependency of jaxrl"
    stable_baselines3 = pytest.importorskip("stable_baselines3", reason=reason)
    from stable_baselines3.common.env_checker import check_env as check_for_sb3
    from stable_baselines3.common.evaluation import evaluate_policy

    grid, params = envs.make("GridWorld-v1")
    check_for_sb3(to_gymnasium(grid, params))
    venv = stable_baselines3.common.vec_env.DummyVecEnv([lambda: to_gymnasium(grid, params)] * 8)
    agent = stable_baselines3.PPO("MlpPolicy", venv, n_steps=64, batch_size=128, seed=0, device="cpu")
    before, _ = evaluate_policy(agent, venv, n_eval_episodes=200, warn=False)
    agent.learn(16_384)
    after, _ = evaluate_policy(agent, venv, n_eval_episodes=200, warn=False)
    # The best policy earns 0.70 from the lower left corner, a random one about -0.8.
    assert before < 0.2 and after > 0.6, (before, after)


def test_a_partial_reset_leaves_the_others_their_first_observation():
    env, params = envs.make("CartPole-v1")
    vector = to_gymnasium_vec(
        env, params.replace(max_steps=jnp.int32(3)), 2, autoreset_mode="NEXT_STEP", arrays="numpy"
    )
    vector.reset(seed=0)
    for _ in range(3):
        last, _, _, truncated, _ = vector.step(np.array([1, 1]))
    assert truncated.all()
    vector.reset(options={"reset_mask": np.array([True, False])})
    first = vector.step(np.array([1, 1]))[0][1]
    assert np.all(np.abs(first) <= 0.05) and not np.array_equal(first, last[1])


def test_make_vec_takes_the_options_of_the_world():
    vector = gymnasium.make_vec("jaxrl/GridWorld-v1", num_envs=2, map=("S.G",))
    assert vector.single_observation_space.n == 3
