"""Every symptom of the debugging guide appears, and its cure cures it."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from experiments import debugging, figures

GUIDE = Path(__file__).parents[2] / "jaxrl" / "agents" / "DEBUGGING.md"


def test_the_guide_and_the_cases_are_of_one_mind():
    rows = [
        line for line in GUIDE.read_text().splitlines() if line.startswith("| ") and "symptom" not in line
    ]
    commands = [re.findall(r"`([^`]*)`", row.split("|")[4]) for row in rows]
    named = [command for row in commands for command in row]
    assert sorted(command for command in named if " " not in command) == sorted(debugging.CASES)
    longer = [command.split() for command in named if " " in command]
    drawn = {words[2] for words in longer if words[:2] == ["jaxrl", "figures"]}
    compared = [words for words in longer if words[:2] == ["python", "-m"]]
    assert len(drawn) + len(compared) == len(longer)
    assert drawn == {"overestimation", "blind_cliff"} <= set(figures.names())
    for _, _, module, option, name in compared:
        assert option == "--only" and name in importlib.import_module(module).TASKS


def test_an_unknown_case_names_those_there_are(capsys):
    with pytest.raises(SystemExit):
        debugging.main(["q_explode"])
    assert "unknown case 'q_explode'; known are: q_explodes, dead_units" in capsys.readouterr().err


def test_never_improving_without_a_potential_in_a_cheap_world():
    before, after = debugging.CASES["never_improves"].measure(2)
    assert np.all(before == 0) and np.all(after == 1)


# What the medians before and after lie on either side of.
LIMITS = {
    "q_explodes": 100.0,
    "dead_units": 0.4,
    "reward_flat": 0.3,
    "stuck": 1.0,
    "never_improves": 0.5,
    "replay_homogeneous": 0.25,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LIMITS)
def test_the_symptom_appears_and_the_cure_works(name):
    case, limit = debugging.CASES[name], LIMITS[name]
    before, after = case.measure(8)
    assert before.shape == after.shape == (8,)
    low, high = (after, before) if case.falls else (before, after)
    assert np.median(low) < limit < np.median(high), debugging.describe(name, before, after)


@pytest.mark.slow
def test_more_environments_are_faster():
    before, after = debugging.CASES["slow"].measure(3)
    assert np.median(after) > 5 * np.median(before)
