"""The table of environments is that of the registry."""

import pytest

import envs
from experiments import docs


@pytest.fixture(scope="module")
def text():
    return docs.PAGE.read_text(encoding="utf-8")


def test_the_table_is_up_to_date(text):
    fresh = docs.page(docs.recorded(text))
    missing = set(envs.names("native")) - set(docs.recorded(text))
    assert not missing, f"{sorted(missing)} are not in envs/README.md; run `{docs.COMMAND}`"
    assert fresh == text, f"envs/README.md is not what the registry says; run `{docs.COMMAND}`"


@pytest.mark.parametrize(
    ("id", "best"),
    [("FrozenLake4x4-v1", "0.7442"), ("FrozenLake8x8-v1", "0.9132"), ("CliffWalking-v1", "-13")],
)
def test_optima_are_exact(text, id, best):
    assert docs.optimum(id) == docs.recorded(text)[id] == best


def test_no_optimum_is_left_open(text):
    optima = docs.recorded(text)
    assert "?" not in optima.values()
    assert optima["Taxi-v1"] == "7.93" and optima["WindyGridWorld-v1"] == "-15"
    made = {id: envs.make(id) for id, best in optima.items() if best == "-"}
    left = [id for id, (env, params) in made.items() if envs.time_limit(env, params, default=0)]
    assert not [id for id in left if hasattr(made[id][0], "outcomes")]


def test_an_environment_that_is_not_in_the_table_is_noticed(text, monkeypatch):
    from envs import core

    monkeypatch.setitem(core._FACTORIES, "New-v1", core._FACTORIES["GridWorld-v1"])
    fresh = docs.page(docs.recorded(text))
    assert fresh != text and "| `New-v1` |" in fresh and "| ? |" in fresh


def test_every_picture_of_the_page_exists(text):
    assert docs.GALLERY.exists() and f"]({docs.GALLERY.name})" in text
