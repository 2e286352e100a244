"""A run is `jaxrl.train` in chunks: the same numbers, whatever stops it and however often."""

import dataclasses
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from rich.console import Console

import jaxrl
from experiments import programs, results, runner, session, store, trained
from experiments.experiment import resolve
from experiments.progress import Progress
from experiments.spec import RunSpec, SpecError
from experiments.store import StoreError
from jaxrl.parallel import cell_mesh


def contents(path):
    """Return everything a finished run says that must not depend on how often it was interrupted."""
    arrays = store.read_arrays(path / "checkpoint.npz")
    arrays |= {f"metrics.npz/{k}": v for k, v in store.read_arrays(path / "metrics.npz").items()}
    return {name: (array.shape, str(array.dtype), array.tobytes()) for name, array in arrays.items()}


class Stop(Exception):
    """Ends a run from its callback, as an error would."""


def stop_at(chunk):
    def on_chunk(done):
        if done == chunk:
            raise Stop

    return on_chunk


def test_programs_have_the_shapes_of_the_learner_whatever_the_time_limit():
    """Of a limit below the default's the replay of a run once forgot what followed most ends."""
    sizes = {"num_envs": 4, "batch_size": 8, "learning_starts": 20, "buffer_size": 80, "hidden_sizes": (8,)}
    spec = RunSpec("dqn", "CartPole-v1", 400, config=sizes, env_params={"max_steps": 5})
    experiment, mesh = resolve(spec), cell_mesh(jax.devices()[:1])
    cell = experiment.configs, jax.random.split(jax.random.key(0), 1)
    alone = jax.eval_shape(experiment.algorithm.init, jax.random.key(0))
    begun = jax.eval_shape(programs.init_program(experiment, mesh), cell, experiment.params)
    bounds = experiment.params, np.int32(0), np.int32(2)
    after, *_ = jax.eval_shape(programs.chunk_program(experiment, mesh), begun, cell[0], bounds)
    assert alone.ring.final_obs.shape == (6, 4, 4)  # 20 rows / 5 steps + 2
    for state in (begun, after):
        assert jax.tree.map(lambda x: x.shape[1:], state) == jax.tree.map(lambda x: x.shape, alone)


def test_a_run_equals_training_each_seed_alone(tiny, finished):
    result = results.load(finished)
    experiment = resolve(tiny)
    agents = trained.load(finished)
    num_seeds = len(tiny.seeds)

    @jax.jit
    def train(key, config):
        algorithm = experiment.module.make(experiment.env, experiment.params, config)
        return jaxrl.train(algorithm, key, tiny.total_steps, evaluations=2, eval_episodes=4)

    for c, rate in enumerate(tiny.grid["learning_rate"]):
        config = jax.tree.map(lambda x, c=c: x[c], experiment.configs)
        assert config.learning_rate == np.float32(rate)
        for s, seed in enumerate(tiny.seeds):
            state, history = train(jax.random.key(seed), config)
            # `jaxrl.train` scans to the environment's default horizon, the run to its own of 20 steps.
            np.testing.assert_array_equal(history.episode_return, result.arrays["episode_return"][c, s])
            np.testing.assert_array_equal(history.episode_length, result.arrays["episode_length"][c, s])
            np.testing.assert_array_equal(history.steps, result.steps)
            np.testing.assert_array_equal(history.metric_steps, result.arrays["metric_steps"])
            for name, values in history.metrics.items():
                np.testing.assert_allclose(
                    values, result.arrays[f"metrics/{name}"][c, s], rtol=1e-4, atol=1e-5, err_msg=name
                )
            mine = jax.tree.map(lambda x, i=c * num_seeds + s: x[i], agents.states.params)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state.params, mine)


def test_a_run_leaves_a_complete_manifest(tiny, finished):
    manifest = json.loads((finished / "manifest.json").read_text())
    spec = resolve(tiny).spec
    assert finished.name == manifest["hash"] == spec.hash()
    assert manifest["config"] == spec.to_dict()
    assert manifest["seeds"] == [3, 5]
    assert (manifest["status"], manifest["exit"], manifest["diverged"]) == ("finished", 0, [])
    assert manifest["steps"] == 128
    assert manifest["versions"]["jax"] == jax.__version__
    assert manifest["devices"]["platform"] == "cpu"
    assert {"git", "xla_flags", "created", "memory_bytes"} <= manifest.keys()
    for name in ("trace_seconds", "compile_seconds", "run_seconds"):
        assert manifest[name] > 0
    assert manifest["steps_per_second"] == pytest.approx(4 * 128 / manifest["run_seconds"], rel=0.05)
    params = jax.tree.leaves(trained.load(finished).states.params)
    assert manifest["memory_bytes"] > sum(x.nbytes for x in params)


def test_running_a_finished_spec_again_does_nothing(tiny, finished, monkeypatch):
    before = {p.name: p.read_bytes() for p in finished.iterdir()}
    monkeypatch.setattr(session.Session, "prepare", lambda self: pytest.fail("it was run again"))
    for outcome in (runner.run(tiny, finished.parents[1]), runner.resume(finished)):
        assert outcome == runner.Outcome(finished, "finished", was_finished=True)
    renamed = dataclasses.replace(tiny, name="other")
    assert not store.run_folder(finished.parents[1], "other", resolve(renamed).spec.hash()).exists()
    assert {p.name: p.read_bytes() for p in finished.iterdir()} == before


@pytest.mark.parametrize("save_every", [0.0, 1e9])
def test_a_run_that_failed_goes_on_from_its_checkpoint_bit_for_bit(tiny, finished, tmp_path, save_every):
    with pytest.raises(Stop):
        runner.run(tiny, tmp_path, save_every=save_every, on_chunk=stop_at(5))
    path = store.run_folder(tmp_path, "tiny", finished.name)
    assert store.read_manifest(path)["status"] == "interrupted"
    seen = []
    assert runner.resume(path, on_chunk=seen.append).status == "finished"
    # With a checkpoint after every chunk, the fifth was not saved any more; without, all is done again.
    assert seen == ([5, 6, 7, 8] if save_every == 0 else list(range(1, 9)))
    assert contents(path) == contents(finished)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_run_goes_on_bit_for_bit(tiny, finished, tmp_path, number):
    def on_chunk(done):
        if done == 3:
            os.kill(os.getpid(), number)

    handler = signal.getsignal(number)
    output = io.StringIO()
    outcome = runner.run(
        tiny, tmp_path, save_every=1e9, on_chunk=on_chunk, progress=Progress(Console(file=output))
    )
    assert signal.getsignal(number) == handler
    assert (outcome.status, outcome.exit_code) == ("interrupted", 130)
    assert "stopping after this chunk" in output.getvalue()
    manifest = store.read_manifest(outcome.path)
    assert (manifest["status"], manifest["exit"], manifest["steps"]) == ("interrupted", 130, 3 * 16)
    assert results.store.read_arrays(outcome.path / "metrics.npz")["finite"].shape == (2, 2, 3)
    seen = []
    assert runner.run(tiny, tmp_path, on_chunk=seen.append).status == "finished"
    assert seen == [4, 5, 6, 7, 8]
    assert contents(outcome.path) == contents(finished)
    sessions = store.read_manifest(outcome.path)["sessions"]
    assert [s["first_chunk"] for s in sessions] == [0, 3]


def test_a_second_signal_stops_at_once(tiny, finished, tmp_path):
    def on_chunk(done):
        if done == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        runner.run(tiny, tmp_path, save_every=0.0, on_chunk=on_chunk)
    path = store.run_folder(tmp_path, "tiny", finished.name)
    assert runner.resume(path).status == "finished"
    assert contents(path) == contents(finished)


KILLED = """
import os, signal, sys, threading, time
from experiments import runner, session, store
from experiments.spec import load

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def on_chunk(done):
    if done == 4:
        {how}

runner.run(load({spec!r}), {root!r}, save_every=0.0, on_chunk=on_chunk)
print("not killed")
"""
# Between chunks; while a chunk is computed (the state donated, nothing fetched); before and after the
# checkpoint takes its name; half-way through the file.
WAYS = {
    "between chunks": "kill()",
    "within a chunk": "session.Session._fetch = lambda self, tree: kill()",
    "before the rename": "os.replace = lambda *names: kill()",
    "after the rename": "rename = os.replace; os.replace = lambda *names: (rename(*names), kill())",
    "half-way through the file": "os.fsync = lambda descriptor: (os.truncate(descriptor, 1000), kill())",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_killed_run_goes_on_bit_for_bit(tiny, finished, tmp_path, way):
    tiny.save(tmp_path / "spec.toml")
    code = KILLED.format(how=WAYS[way], spec=str(tmp_path / "spec.toml"), root=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    path = store.run_folder(tmp_path, "tiny", finished.name)
    assert store.read_manifest(path)["status"] == "interrupted"
    seen = []
    assert runner.resume(path, on_chunk=seen.append).status == "finished"
    assert seen == ([5, 6, 7, 8] if way == "after the rename" else [4, 5, 6, 7, 8])[-len(seen) :]
    assert 4 <= len(seen) <= 5
    assert contents(path) == contents(finished)


def test_killed_while_it_closes_a_run_needs_no_training_again(tiny, finished, tmp_path):
    path = tmp_path / "tiny" / finished.name
    shutil.copytree(finished, path)
    manifest = json.loads((path / "manifest.json").read_text())
    store.write_json(path / "manifest.json", manifest | {"status": "running", "exit": None})
    (path / "metrics.npz").unlink()
    seen = []
    assert runner.resume(path, on_chunk=seen.append) == runner.Outcome(path, "finished")
    assert seen == []
    assert contents(path) == contents(finished)
    assert store.read_manifest(path)["steps"] == 128


def test_diverged_seeds_are_named_and_the_others_go_on(tiny, tmp_path):
    spec = dataclasses.replace(tiny, grid={"learning_rate": (1e-3, 1e38)}, config={**tiny.config})
    outcome = runner.run(spec, tmp_path)
    assert (outcome.status, outcome.exit_code) == ("diverged", 3)
    (line,) = outcome.diverged
    named = r"\(by step 16: approximate_kl, [a-z_]+ and \d more\)"
    assert re.fullmatch(rf"learning_rate=1e\+38: seeds 3 {named}, 5 {named}", line)
    manifest = store.read_manifest(outcome.path)
    assert (manifest["status"], manifest["exit"], manifest["diverged"]) == ("diverged", 3, [line])
    result = results.load(outcome.path)
    assert result.arrays["finite"][0].all()
    assert not result.arrays["finite"][1].any()
    assert np.isfinite(result.final_returns[0]).all()
    assert np.isnan(result.final_returns[1]).all()
    again = runner.run(spec, tmp_path)
    assert again == runner.Outcome(outcome.path, "diverged", outcome.diverged, was_finished=True)


def test_a_full_disk_stops_the_run_and_leaves_its_last_checkpoint(tiny, finished, tmp_path, monkeypatch):
    def on_chunk(done):
        if done == 4:
            monkeypatch.setattr(store.os, "fsync", full)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(
        StoreError, match=r"cannot write .*checkpoint.npz: No space left on device; what was st"
    ):
        runner.run(tiny, tmp_path, save_every=0.0, on_chunk=on_chunk)
    monkeypatch.undo()
    path = store.run_folder(tmp_path, "tiny", finished.name)
    assert sorted(p.name for p in path.iterdir()) == sorted(
        [".lock", "checkpoint.npz", "manifest.json", "metrics.npz", "spec.toml"]
    )
    seen = []
    assert runner.resume(path, on_chunk=seen.append).status == "finished"
    assert seen == [4, 5, 6, 7, 8]
    assert contents(path) == contents(finished)


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_compiled(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(session.Session, "prepare", lambda self: pytest.fail("it was compiled"))
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot create the run folder"):
        runner.run(tiny, tmp_path / "file")


def test_a_bad_spec_writes_nothing(tiny, tmp_path):
    with pytest.raises(SpecError, match="`gamma` must be"):
        runner.run(dataclasses.replace(tiny, config={"gamma": 2.0}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_from_another_configuration_is_refused(tiny, finished, tmp_path):
    path = tmp_path / "tiny" / finished.name
    shutil.copytree(finished, path)
    other = resolve(dataclasses.replace(tiny, seeds=(7, 8))).spec
    other.save(path / "spec.toml")
    for function in (runner.resume, results.load, trained.load):
        with pytest.raises(StoreError, match="is from another configuration"):
            function(path)
    with pytest.raises(StoreError, match="is from another configuration"):
        runner.run(tiny, tmp_path)


def test_a_checkpoint_from_another_run_is_refused(tiny, finished, tmp_path):
    with pytest.raises(Stop):
        runner.run(dataclasses.replace(tiny, seeds=(7, 8)), tmp_path, on_chunk=stop_at(1))
    (path,) = store.all_runs(tmp_path)
    shutil.copy(finished / "checkpoint.npz", path)
    with pytest.raises(StoreError, match=r"checkpoint.npz is from another configuration"):
        runner.resume(path)


def test_two_processes_do_not_write_one_run(tiny, tmp_path):
    def on_chunk(done):
        with pytest.raises(StoreError, match="is being written by another process"):
            runner.run(tiny, tmp_path)
        raise Stop

    with pytest.raises(Stop):
        runner.run(tiny, tmp_path, on_chunk=on_chunk)


def test_the_chunk_program_is_compiled_once(tiny, tmp_path):
    # 7 iterations in 2 logged intervals: chunks of unequal length.
    spec = dataclasses.replace(tiny, total_steps=16 * 7, evaluations=1, log_points=2)
    compiled = []
    event = "/jax/core/compile/backend_compile_duration"

    def listen(name, seconds, **kwargs):
        if name == event:
            compiled.append(name)

    counts = []
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        runner.run(spec, tmp_path, on_chunk=lambda done: counts.append(len(compiled)))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(counts) == 2
    assert counts[0] == counts[1] > 0


def test_progress_shows_speed_time_left_and_the_return(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.progress.LINE_EVERY", 0.0)
    output = io.StringIO()
    runner.run(tiny, tmp_path, progress=Progress(Console(file=output, width=100)))
    lines = output.getvalue().splitlines()
    assert lines[0] == "compiling ..."
    assert lines[1].startswith("compiled in ")
    assert len(lines) == 2 + 8
    assert lines[-1].startswith("chunk 8/8 · ")
    for part in ("steps/s", "s left", "return "):
        assert part in lines[-1]


def test_the_progress_bar_runs_on_a_terminal():
    output = io.StringIO()
    with Progress(Console(file=output, force_terminal=True, width=120)) as progress:
        progress.start(total=10, done=2, steps=1000, seconds=1.5)
        progress.update(4, float("nan"), 0)
        progress.say("a line")
        progress.update(5, 123.4, 2)
    text = output.getvalue()
    for part in ("compiled in 1.5 s", "training", "5/10", "return 123.4", "2 diverged", "a line"):
        assert part in text, part


@pytest.mark.multidevice
def test_cells_over_three_devices_with_padding_agree_with_one(tiny, finished, tmp_path):
    # Four cells on three devices: two rows of padding, which leave no trace.
    tiny.save(tmp_path / "spec.toml")
    code = f"""
import jax
from experiments import runner
from experiments.spec import load
runner.run(load({str(tmp_path / "spec.toml")!r}), {str(tmp_path)!r}, devices=jax.devices())
"""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=3"
    environment = os.environ | {"XLA_FLAGS": flags, "NPROC": "12"}
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=200, check=True)
    (spread,) = store.all_runs(tmp_path)
    one, three = results.load(finished), results.load(spread)
    assert three.manifest["sessions"][0]["devices"]["count"] == 3
    for name, values in one.arrays.items():
        np.testing.assert_allclose(values, three.arrays[name], rtol=1e-3, atol=1e-4, err_msg=name)
    a, b = (trained.load(path).states.params for path in (finished, spread))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), a, b)


def test_no_more_devices_are_used_than_help():
    devices = list(range(8))
    assert [len(session._fewest(devices, n)) for n in (1, 2, 7, 8, 9, 12, 16, 100)] == [
        1,
        2,
        7,
        8,
        5,
        6,
        8,
        8,
    ]
