"""A spec keeps its meaning through TOML, pickle and hash, and refuses what cannot be run."""

import hashlib
import pickle

import pytest

from experiments.spec import RunSpec, SpecError, Table, load, show

FULL = RunSpec(
    algorithm="ppo",
    env="FrozenLake4x4-v1",
    total_steps=1000,
    seeds=(3, 1),
    env_options={"size": 4, "map": ["SF", "FG"]},
    env_params={"slip": 0.1},
    config={"learning_rate": 1e-4, "hidden_sizes": [64, 64], "clip_value": False, "activation": "tanh"},
    grid={"gamma": [0.9, 0.99], "entropy_coefficient": [0.0, 0.01, 0.1]},
    evaluations=3,
    eval_episodes=5,
    log_points=6,
    name="everything",
)
MINIMAL = {"algorithm": "ppo", "env": "CartPole-v1", "total_steps": 10}


@pytest.mark.parametrize("spec", [FULL, RunSpec(**MINIMAL)])
def test_toml_gives_back_an_equal_spec(spec):
    again = RunSpec.from_toml(spec.to_toml())
    assert again == spec
    assert hash(again) == hash(spec)
    assert again.hash() == spec.hash()


def test_a_file_gives_back_an_equal_spec(tmp_path):
    FULL.save(tmp_path / "spec.toml")
    assert load(tmp_path / "spec.toml") == FULL


def test_pickle_gives_back_an_equal_spec():
    assert pickle.loads(pickle.dumps(FULL)) == FULL


def test_the_hash_is_that_of_the_canonical_json():
    spec = RunSpec("ppo", "CartPole-v1", 10, seeds=(0, 1), config={"b": 1e-4, "a": (2, 3)}, log_points=10)
    canonical = (
        '{"algorithm":"ppo","config":{"a":[2,3],"b":0.0001},"env":"CartPole-v1","env_options":{},"env_params":{},'
        '"eval_episodes":16,"evaluations":10,"grid":{},"log_points":10,"seeds":[0,1],"total_steps":10}'
    )
    assert spec.hash() == hashlib.sha256(canonical.encode()).hexdigest()[:12]


def test_the_hash_depends_on_everything_but_the_name():
    base = FULL.to_dict()
    other = {
        "algorithm": "dqn",
        "env": "CartPole-v1",
        "total_steps": 1001,
        "seeds": [1, 3],
        "env_options": {},
        "env_params": {"slip": 0.2},
        "config": {"learning_rate": 1e-4},
        "grid": {},
        "evaluations": 1,
        "eval_episodes": 6,
        "log_points": 9,
    }
    assert other.keys() | {"name"} == base.keys()
    hashes = [RunSpec.from_dict(base | {name: value}).hash() for name, value in other.items()]
    assert len({FULL.hash(), *hashes}) == 1 + len(hashes)
    assert RunSpec.from_dict(base | {"name": "x"}).hash() == FULL.hash()


def test_configurations_are_the_product_with_the_last_field_fastest():
    rows = [tuple(c.values()) for c in FULL.configurations()]
    assert rows == [(0.9, 0.0), (0.9, 0.01), (0.9, 0.1), (0.99, 0.0), (0.99, 0.01), (0.99, 0.1)]
    assert FULL.num_cells == 12


def test_specs_and_their_tables_cannot_be_changed():
    with pytest.raises(AttributeError):
        FULL.total_steps = 3
    with pytest.raises(AttributeError):
        FULL.config._items = {}
    with pytest.raises(TypeError):
        FULL.config["gamma"] = 1.0
    assert Table({"a": 1, "b": 2}) == Table({"b": 2, "a": 1}) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"total_steps": 0}, "`total_steps` must be at least 1, got 0"),
        ({"total_steps": 1.5}, "`total_steps` must be a whole number, got 1.5"),
        ({"total_steps": float("nan")}, "`total_steps` must be a whole number, got nan"),
        ({"total_steps": float("inf")}, "`total_steps` must be a whole number, got inf"),
        ({"total_steps": "many"}, "`total_steps` must be a whole number, got 'many'"),
        ({"total_steps": True}, "`total_steps` must be a whole number"),
        ({"total_steps": 2**31}, "`total_steps` must be at most 2**31 - 1, got 2147483648"),
        ({"seeds": range(10**20)}, "`seeds` must be at most 1000000 ids"),
        ({"seeds": ()}, "`seeds` must be a list of at least one seed"),
        ({"seeds": 5}, "`seeds` must be a list of at least one seed"),
        ({"seeds": (1, 1)}, "`seeds` must be different"),
        ({"seeds": (-1,)}, "`seeds` must be whole numbers from 0"),
        ({"seeds": (2**32,)}, "`seeds` must be whole numbers from 0"),
        ({"seeds": (0.5,)}, "`seeds` must be whole numbers"),
        ({"config": {"gamma": float("nan")}}, "`gamma` must be a number, got nan"),
        ({"grid": {"gamma": (0.9, float("nan"))}}, "`gamma` must be a number, got nan"),
        ({"env_params": {"slip": float("nan")}}, "`slip` must be a number, got nan"),
        ({"grid": {"gamma": ()}}, "`grid` must give gamma a list"),
        ({"grid": {"gamma": 0.9}}, "`grid` must give gamma a list"),
        ({"grid": {"gamma": (0.9, 0.9)}}, "`grid` must give gamma different values"),
        ({"config": 3}, "`config` must be a table"),
        ({"env": 3}, "`env` must be a string"),
        ({"evaluations": 0}, "`evaluations` must be at least 1"),
        ({"eval_episodes": 0}, "`eval_episodes` must be at least 1"),
        (
            {"evaluations": 4, "log_points": 6},
            "`log_points` must be a multiple of evaluations = 4, got 6; try 8",
        ),
        ({"name": "../up"}, "`name` must be a plain folder name"),
        ({"name": ".hidden"}, "`name` must be a plain folder name"),
        ({"lerning": 1}, "unknown field of a spec 'lerning'"),
        ({"algorithms": "ppo"}, "did you mean 'algorithm'"),
    ],
)
def test_what_cannot_be_run_is_refused_with_its_name_and_value(change, message):
    with pytest.raises(SpecError) as caught:
        RunSpec.from_dict(MINIMAL | change)
    assert message in str(caught.value)


@pytest.mark.parametrize("missing", ["algorithm", "env", "total_steps"])
def test_what_a_spec_needs_is_named_when_it_is_missing(missing):
    with pytest.raises(SpecError, match=f"`{missing}` must be given"):
        RunSpec.from_dict({name: value for name, value in MINIMAL.items() if name != missing})


def test_a_bad_file_is_named(tmp_path):
    path = tmp_path / "bad.toml"
    with pytest.raises(SpecError, match=r"cannot read the spec .*bad.toml: No such file"):
        load(path)
    path.write_text("algorithm = ")
    with pytest.raises(SpecError, match=r"bad.toml: the spec is not valid TOML"):
        load(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match=r"bad.toml"):
        load(path)
    path.write_text("total_steps = 3")
    with pytest.raises(SpecError, match=r"bad.toml: `algorithm` must be given"):
        load(path)


def test_whole_floats_count_as_integers_and_names_follow_the_world():
    spec = RunSpec("ppo", "gymnax/CartPole-v1", 5e5)
    assert spec.total_steps == 500_000
    assert isinstance(spec.total_steps, int)
    assert spec.name == "ppo-gymnax-CartPole-v1"


def test_values_are_shown_as_typed():
    assert show((1e-4, 0.25)) == "0.0001, 0.25"
    assert show((64, 64)) == "64, 64"
    assert show(True) == "True"
