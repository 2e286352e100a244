"""The comparison with Brax's PPO: both sides get the same numbers, and what was run is kept."""

import json
import subprocess
from dataclasses import asdict, replace

import pytest

from experiments.compare import _physics, physics


def wanted(task, scale=8):
    return {"task": task, "seed": 0, **asdict(physics.SETTINGS[task].scaled(scale))}


@pytest.mark.parametrize("task", ["ant", "reacher"])
def test_our_rollouts_and_minibatches_are_as_large_as_those_of_brax(task):
    pytest.importorskip("brax")
    setting = physics.SETTINGS[task].scaled(8)
    env, params, config = _physics.make_setting(wanted(task))
    steps = config.num_envs * config.num_steps * setting.action_repeat
    assert steps == setting.steps_per_iteration
    samples = config.num_envs * config.num_steps // config.num_minibatches
    assert samples == setting.batch_size * setting.unroll_length
    assert config.num_steps % config.segment_length == 0 and config.segment_length == setting.unroll_length
    assert int(env.time_limit(params)) == 1000 // setting.action_repeat


def test_a_scale_divides_environments_and_minibatches():
    assert physics.SETTINGS["ant"].scaled(8).num_envs == 512
    for setting in physics.SETTINGS.values():
        assert setting.batch_size * setting.num_minibatches % setting.num_envs == 0
    with pytest.raises(ValueError, match="`scale` must divide num_envs = 4096 and batch_size = 2048, got 3"):
        physics.SETTINGS["ant"].scaled(3)


def test_a_run_is_made_once_and_made_again_for_other_settings(tmp_path, monkeypatch):
    calls = []

    def execute(command, **_):
        calls.append(json.loads(command[-1]))
        return subprocess.CompletedProcess(command, 0, stdout='noise\n{"run_seconds": 1.0}\n')

    monkeypatch.setattr(physics, "KEPT", tmp_path)
    monkeypatch.setattr(physics.subprocess, "run", execute)
    setting = physics.SETTINGS["ant"].scaled(8)
    first = physics.run("jaxrl", "ant", setting, 0)
    assert physics.run("jaxrl", "ant", setting, 0) == first and len(calls) == 1
    physics.run("jaxrl", "ant", replace(setting, discounting=0.9), 0)
    physics.run("brax", "ant", setting, 0)
    physics.run("jaxrl", "ant", setting, 0, fresh=True)
    assert [call["discounting"] for call in calls] == [0.97, 0.9, 0.97, 0.97]


def test_an_unknown_task_is_one_line_and_exit_code_2(capsys):
    assert physics.main(["aunt"]) == 2
    assert "TASK must be among all, inverted_pendulum," in capsys.readouterr().err


def test_speeds_are_compared_run_by_run(monkeypatch, capsys):
    """Each of ours beside the one of Brax's that ran next, in short runs, none of them kept from before."""
    calls, written = [], {}

    def run(contestant, task, setting, seed, fresh):
        calls.append((contestant, seed, fresh, setting.num_timesteps))
        speed = {"jaxrl": (90.0, 110.0, 300.0), "brax": (100.0, 100.0, 300.0)}[contestant][seed]
        curve = [{"steps": 0, "mean": 1.0}]
        return {"compile_seconds": 1.0, "run_seconds": 2.0, "steps_per_second": speed, "curve": curve}

    monkeypatch.setattr(physics, "run", run)
    monkeypatch.setattr(
        physics._report, "write", lambda name, results, quick: written.update({name: results})
    )
    assert physics.main(["ant", "--speed", "--scale", "8"]) == 0
    steps = physics.EVALUATIONS * physics.SETTINGS["ant"].scaled(8).steps_per_iteration
    assert calls == [(name, seed, True, steps) for seed in range(3) for name in physics.CONTESTANTS]
    ratio = written["physics-ant-speed"]["ratio"]
    assert ratio == pytest.approx({"median": 1.0, "min": 0.9, "max": 1.1})
    assert "ours runs at 1.00 x (0.90 to 1.10) Brax's" in capsys.readouterr().out
