"""Every registered environment keeps every law; a new one is checked by being registered."""

import pytest

import envs
from envs.testing import check_env

# Worlds that compile for more than 20 seconds; tests/envs/adapters has the laws of one of the robots, and
# gymnax's other games are checked here.
SLOW = ("brax/", "playground/", "gymnax/Asterix", "gymnax/Freeway", "gymnax/Seaquest")


@pytest.mark.parametrize(
    "id",
    [pytest.param(id, marks=pytest.mark.slow if id.startswith(SLOW) else ()) for id in envs.names()],
)
def test_environment_keeps_the_laws(id):
    env, params = envs.make(id)
    assert env.id == id
    laws = check_env(env, params)
    assert "keys" in laws
    assert ("time limit" in laws) == hasattr(env, "time_limit")
