"""The command `jaxrl` from a user's chair: what it does, and what it says when it cannot."""

import dataclasses
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from experiments import cli, options, results, runner, session, store
from experiments.spec import RunSpec
from jaxrl.agents import ppo

SMALL = [
    *("--env", "CartPole-v1", "--total-steps", "128", "--evaluations", "2", "--eval-episodes", "4"),
    *("--env-params", "max_steps=20", "--num-envs", "2", "--num-steps", "8", "--num-epochs", "1"),
    *("--num-minibatches", "2", "--hidden-sizes", "4"),
]


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    """Every test starts in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def runs(tiny, finished, tmp_path_factory):
    """A folder of runs with one that is finished."""
    root = tmp_path_factory.mktemp("cli")
    shutil.copytree(finished.parents[0], root / "tiny")
    return root


def jaxrl(capsys, *arguments):
    """Return `(exit code, stdout, stderr)` of a command."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as error:  # tyro, after it has printed the help
        code = error.code or 0
    out, err = capsys.readouterr()
    return code, out, err


def refused(capsys, *arguments):
    """Return the one line that a refused command prints, and check that nothing else happened."""
    before = sorted(os.walk("."))
    code, out, err = jaxrl(capsys, *arguments)
    assert (code, out) == (2, ""), (code, out, err)
    assert err.startswith("jaxrl: error: ")
    assert err.count("\n") == 1
    assert not re.search("[│╭╰─]", err)
    assert sorted(os.walk(".")) == before
    return err.removeprefix("jaxrl: error: ").rstrip()


def process(*arguments, **options):
    command = [sys.executable, "-m", "experiments.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, **options)


def test_from_a_sweep_to_a_table(tmp_path):
    grid = ["--grid", "learning_rate=1e-3,1e-2", "entropy-coefficient=0,0.01", "--seeds", "3"]
    done = process("sweep", "ppo", *SMALL, *grid, "--name", "first")
    assert done.returncode == 0, done.stderr
    assert "compiled in" in done.stderr
    assert "chunk 8/8" in done.stderr
    assert done.stdout.count("learning_rate=") == 4
    (path,) = store.all_runs(tmp_path / "runs")
    assert f"runs/first/{path.name}" in done.stdout
    manifest = store.read_manifest(path)
    # One host device for each core; the caller's environment was not touched, the process's own was.
    assert manifest["devices"]["count"] == len(os.sched_getaffinity(0))
    assert "xla_force_host_platform_device_count" in manifest["xla_flags"]
    spec = RunSpec.from_dict(manifest["config"])
    assert spec.grid == {"learning_rate": (1e-3, 1e-2), "entropy_coefficient": (0.0, 0.01)}
    assert spec.seeds == (0, 1, 2)
    assert spec.config["num_steps"] == 8
    assert spec.env_params == {"max_steps": 20}


def test_control_c_saves_and_says_how_to_resume(tmp_path):
    many = [option if option != "128" else "1e8" for option in SMALL]
    command = [sys.executable, "-m", "experiments.cli", "train", "ppo", *many, "--evaluations", "100"]
    # Many more chunks than it will get to.
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        lines = [running.stderr.readline() for _ in range(2)]
        assert lines[1].startswith("compiled in"), lines
        time.sleep(0.5)
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=120)
    finally:
        running.kill()
    assert running.returncode == 130
    (path,) = store.all_runs(tmp_path / "runs")
    assert out == f"interrupted; `jaxrl resume runs/ppo-CartPole-v1/{path.name}` goes on\n"
    manifest = store.read_manifest(path)
    assert manifest["status"] == "interrupted"
    assert manifest["steps"] > 0
    assert store.read_arrays(path / "checkpoint.npz")["header"]


def test_help_answers_without_jax():
    code = "import sys; from experiments import cli; print('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
    start = time.perf_counter()
    done = process("--help")
    assert done.returncode == 0
    assert time.perf_counter() - start < 3.0
    for command in ("list", "train", "sweep", "run", "resume", "table", "plot", "eval", "record", "figures"):
        assert command in done.stdout


def test_a_library_import_touches_no_environment_variable():
    code = """
import os
before = dict(os.environ)
import experiments.runner, experiments.trained, experiments.tables, experiments.plots, experiments.record
import experiments.cli, experiments.demo, experiments.startup
assert dict(os.environ) == before
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


@pytest.mark.parametrize(
    ("before", "flags"),
    [
        ({}, "--xla_force_host_platform_device_count=N"),
        ({"XLA_FLAGS": "--xla_dump_to=x"}, "--xla_dump_to=x --xla_force_host_platform_device_count=N"),
        (
            {"XLA_FLAGS": "--xla_force_host_platform_device_count=7"},
            "--xla_force_host_platform_device_count=7",
        ),
        ({"JAX_PLATFORMS": "cuda"}, None),
        ({"JAX_PLATFORMS": "cpu"}, "--xla_force_host_platform_device_count=N"),
    ],
)
def test_the_command_prepares_jax_unless_the_user_has(before, flags, tmp_path):
    code = """
import json, os
from experiments.startup import prepare_jax
prepare_jax()
print(json.dumps([os.environ.get("XLA_FLAGS"), os.environ["JAX_COMPILATION_CACHE_DIR"]]))
"""
    clean = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    clean.pop("JAX_COMPILATION_CACHE_DIR", None)
    environment = clean | {"XDG_CACHE_HOME": str(tmp_path)} | before
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    expected = flags and flags.replace("N", str(len(os.sched_getaffinity(0))))
    assert json.loads(done.stdout) == [expected, str(tmp_path / "jaxrl")]


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_help_explains_every_option_and_every_hyperparameter(capsys, command):
    code, text, _ = jaxrl(capsys, command, "ppo", "--help")
    assert code == 0
    names = {field.name for field in dataclasses.fields(ppo.Config)} - {"total_steps", "axis_name"}
    names |= {field.name for field in dataclasses.fields(options.TrainOptions)}
    names |= {"grid"} if command == "sweep" else set()
    for name in names:
        assert f"--{name.replace('_', '-')}" in text, name
    assert "Step size of Adam. (default: 0.00025)" in text
    undocumented = re.findall(r"│ (--\S+) .*\n│ +(?:\(default|--)", text)
    assert undocumented == []


@pytest.mark.parametrize(
    "command", ["train", "sweep", "list", "run", "resume", "table", "plot", "eval", "record", "figures"]
)
def test_every_command_has_help(capsys, command):
    code, text, err = jaxrl(capsys, command, "--help")
    assert (code, err) == (0, "")
    assert f"usage: jaxrl {command}" in text
    assert ("--output" if command == "figures" else "--runs") in text
    described = text.split("usage:", 1)[1].splitlines()[2]
    assert described.strip()


def test_a_metric_has_its_own_table_and_picture(capsys, runs, finished):
    code, text, _ = jaxrl(capsys, "table", "tiny", "--runs", runs, "--metric", "entropy")
    assert code == 0
    assert "| entropy: mean [95 %] |" in text
    code, out, _ = jaxrl(capsys, "plot", "tiny", "--runs", runs, "--metric", "entropy", "--total")
    assert (code, out) == (0, f"{runs / 'tiny' / finished.name / 'entropy.png'}\n")
    assert "did you mean 'entropy'?" in refused(capsys, "table", "tiny", "--runs", runs, "--metric", "entrop")
    assert "name it with `--metric`" in refused(capsys, "plot", "tiny", "--runs", runs, "--total")


def test_figures_are_modules_of_a_package(capsys, monkeypatch):
    from experiments.figures import bandits

    monkeypatch.setattr(bandits, "draw", lambda path, quick: (path, quick))
    code, out, _ = jaxrl(capsys, "figures", "bandits", "--output", "here", "--quick")
    assert (code, out) == (0, f"{(Path('here/bandits.png'), True)}\n")
    assert "bandits" in refused(capsys, "figures")
    assert refused(capsys, "figures", "bandit") == "unknown figure 'bandit'; did you mean 'bandits'?"


def test_list_shows_algorithms_environments_and_runs(capsys, runs, finished):
    code, text, _ = jaxrl(capsys, "list")
    assert code == 0
    for word in ("ppo", "CartPole-v1", "FrozenLake8x8-v1", "gymnax/Breakout-MinAtar"):
        assert f"  {word}" in text
    _, algorithms, _ = jaxrl(capsys, "list", "algorithms")
    assert "ppo" in algorithms
    assert "CartPole" not in algorithms
    _, listed, _ = jaxrl(capsys, "list", "runs", "--runs", runs)
    assert re.fullmatch(rf"tiny +{finished.name}  finished +128 steps\n", listed)


def test_train_with_the_options_of_a_spec_gives_that_spec(capsys, tiny, runs, monkeypatch):
    monkeypatch.setattr(session.Session, "prepare", lambda self: pytest.fail("it was run again"))
    same = ["sweep", "ppo", *SMALL, "--seeds", "3", "--first-seed", "3"]
    code, text, _ = jaxrl(capsys, *same, "--grid", "learning_rate=1e-3,1e-2", "--dry-run")
    assert code == 0
    spec = RunSpec.from_toml(text)
    from experiments.experiment import resolve

    assert spec == resolve(dataclasses.replace(tiny, seeds=(3, 4, 5), name="ppo-CartPole-v1")).spec


def test_running_a_finished_spec_again_says_so(capsys, tiny, runs, finished):
    tiny.save("spec.toml")
    path = runs / "tiny" / finished.name
    for command in (["run", "spec.toml"], ["resume", finished.name[:4]], ["run", path / "spec.toml"]):
        code, text, _ = jaxrl(capsys, *command, "--runs", runs)
        assert (code, text) == (0, f"{path} was finished already; nothing to do\n")
    assert jaxrl(capsys, "run", "spec.toml", "--runs", runs, "--quiet") == (0, "", "")


def test_resume_finishes_an_interrupted_run(capsys, tiny, finished):
    def stop(done):
        os.kill(os.getpid(), signal.SIGTERM)

    assert runner.run(tiny, "runs", on_chunk=stop).status == "interrupted"
    code, text, err = jaxrl(capsys, "resume", "tiny")
    assert code == 0
    assert "learning_rate=0.01" in text
    assert "chunk 8/8" in err
    arrays = [store.read_arrays(path / "checkpoint.npz") for path in (finished, *store.all_runs("runs"))]
    assert {k: v.tobytes() for k, v in arrays[0].items()} == {k: v.tobytes() for k, v in arrays[1].items()}


def test_table_prints_markdown_or_csv_to_a_pipe_or_a_file(capsys, runs):
    code, text, _ = jaxrl(capsys, "table", "tiny", "--runs", runs)
    assert code == 0
    assert text.startswith("| algorithm | environment ")
    assert text.count("| ppo ") == 2
    code, out, _ = jaxrl(capsys, "table", "tiny", "tiny", "--runs", runs, "--output", "new/table.md")
    assert (code, out) == (0, "new/table.md\n")
    with open("new/table.md") as file:
        assert file.read() == text
    _, csv, _ = jaxrl(capsys, "table", "tiny", "--runs", runs, "--format", "csv")
    assert csv.startswith("algorithm,env,learning_rate,seed,steps,episode_return")
    assert len(csv.splitlines()) == 1 + 2 * 2 * 2
    _, drawn, _ = jaxrl(capsys, "table", "tiny", "--runs", runs, "--format", "terminal")
    assert "configuration" in drawn


def test_plot_draws_curves_and_the_grid(capsys, runs, finished):
    code, out, _ = jaxrl(capsys, "plot", "tiny", "--runs", runs)
    folder = runs / "tiny" / finished.name
    assert (code, out.splitlines()) == (0, [str(folder / "curves.png"), str(folder / "curves-grid.png")])
    jaxrl(capsys, "plot", "tiny", "--runs", runs, "--output", "here.png")
    for path in (folder / "curves.png", folder / "curves-grid.png", "here.png", "here-grid.png"):
        with Image.open(path) as image:
            assert image.format == "PNG"


def test_eval_prints_a_line_a_configuration(capsys, runs):
    code, text, _ = jaxrl(capsys, "eval", "tiny", "--runs", runs, "--episodes", "5")
    assert code == 0
    assert re.search(r"learning_rate=0\.001: \d+\.\d+ \[\d+\.\d+, \d+\.\d+\]†\n", text)
    assert jaxrl(capsys, "eval", "tiny", "--runs", runs, "--episodes", "5")[1] == text
    assert jaxrl(capsys, "eval", "tiny", "--runs", runs, "--episodes", "5", "--seed", "1")[1] != text


def test_record_films_one_episode(capsys, runs):
    arguments = ["record", "tiny", "--runs", runs, "--config", "1", "--seed", "5", "--output", "film.gif"]
    code, text, _ = jaxrl(capsys, *arguments)
    assert code == 0
    found = re.fullmatch(r"film\.gif: learning_rate=0\.01, seed 5, return ([\d.]+) in (\d+) steps\n", text)
    assert float(found[1]) == int(found[2]) <= 20
    with Image.open("film.gif") as film:
        assert film.format == "GIF"
        assert 2 <= film.n_frames <= int(found[2]) + 1
    assert jaxrl(capsys, "record", "tiny", "--runs", runs)[0] == 0


def test_diverged_seeds_end_with_their_own_exit_code(capsys):
    code, out, err = jaxrl(
        capsys, "sweep", "ppo", *SMALL, "--seeds", "2", "--grid", "learning_rate=1e-3,1e38"
    )
    assert code == 3
    named = "(by step 16: approximate_kl, grad_norm and 1 more)"
    assert f"jaxrl: diverged: learning_rate=1e+38: seeds 0 {named}, 1 {named}\n" in err
    assert "0 of 2" in out
    (path,) = store.all_runs("runs")
    code, out, _ = jaxrl(capsys, "eval", path.name, "--episodes", "2")
    assert code == 0
    assert "learning_rate=1e+38: diverged (2 of 2 seeds diverged)\n" in out
    code, _, err = jaxrl(capsys, "record", path.name, "--config", "1")
    assert code == 2
    assert "learning_rate=1e+38, seed 0 diverged, so there is no policy to film" in err
    code, _, err = jaxrl(capsys, "resume", path.name)
    assert code == 3
    assert "diverged: learning_rate=1e+38" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["fly"], "unknown command 'fly'; known are: train, sweep, list"),
        (["--wrong"], "Unrecognized options: --wrong"),
        (["train"], "`jaxrl train` needs an algorithm: "),
        (["train", "--env", "CartPole-v1"], "`jaxrl train` needs the algorithm first: jaxrl train "),
        (["train", "pp0", *SMALL], "unknown algorithm 'pp0'; did you mean 'ppo'?"),
        (["train", "ppo"], "--env ID"),
        (["train", "ppo", "--env", "CartPool-v1"], "did you mean 'CartPole-v1'"),
        (["train", "ppo", "--env", "gymnax/CartPool"], "'gymnax/CartPole-v1'"),
        (["train", "ppo", "--env", "gimnax/CartPole-v1"], "unknown suite 'gimnax'; did you mean 'gymnax'"),
        (["train", "ppo", *SMALL, "--lerning-rate", "1"], "perhaps you meant --learning-rate"),
        (["train", "ppo", *SMALL, "--learning-rate", "fast"], "--learning-rate"),
        (["train", "ppo", *SMALL, "--learning-rate", "nan"], "`learning_rate` must be a number, got nan"),
        (["train", "ppo", *SMALL, "--gamma", "1.5"], "`gamma` must be at least 0 and at most 1, got 1.5"),
        (
            ["train", "ppo", *SMALL, "--num-minibatches", "7"],
            "`num_minibatches` must divide num_envs * num_steps = 16",
        ),
        (["train", "ppo", *SMALL, "--num-envs", "0"], "`num_envs` must be at least 1, got 0"),
        (["train", "ppo", *SMALL, "--activation", "tahn"], "`activation` must be one of"),
        (["train", "ppo", *SMALL, "--grid", "gamma=0.9"], "Unrecognized options: --grid"),
        (["train", "ppo", *SMALL, "--seeds", "0"], "`--seeds` must be at least 1, got 0"),
        (["train", "ppo", *SMALL, "--first-seed", "-1"], "`seeds` must be whole numbers from 0"),
        (["train", "ppo", *SMALL, "--total-steps", "0"], "`total_steps` must be at least 1, got 0"),
        (["train", "ppo", *SMALL, "--total-steps", "inf"], "inf is not a whole number"),
        (["train", "ppo", *SMALL, "--total-steps", "1.5"], "1.5 is not a whole number"),
        (
            ["train", "ppo", *SMALL, "--total-steps", "16"],
            "`evaluations` must be at most the number of iterations, 1",
        ),
        (["train", "ppo", *SMALL, "--evaluations", "0"], "`evaluations` must be at least 1, got 0"),
        (["train", "ppo", *SMALL, "--env-params", "gravty=1"], "did you mean 'gravity'?"),
        (
            ["train", "ppo", *SMALL, "--env-params", "gravity"],
            "`--env-params` must be NAME=VALUE, got 'gravity'",
        ),
        (["train", "ppo", *SMALL, "--env-params", "gravity=nan"], "`gravity` must be a number, got nan"),
        (["train", "ppo", *SMALL, "--env-options", "size=3"], "does not take the options ['size']"),
        (["train", "ppo", *SMALL, "--name", "../up"], "`name` must be a plain folder name"),
        (["train", "ppo", *SMALL, "--save-every", "nan"], "`--save-every` must be at least 0 seconds"),
        (
            ["sweep", "ppo", *SMALL, "--grid", "activation=tanh,relu"],
            "`activation` sets a shape or chooses code",
        ),
        (["sweep", "ppo", *SMALL, "--grid", "lerning_rate=1"], "did you mean 'learning_rate'?"),
        (
            ["sweep", "ppo", *SMALL, "--grid", "gamma=0.9,2"],
            "`gamma` must be at least 0 and at most 1, got 2",
        ),
        (["sweep", "ppo", *SMALL, "--grid", "gamma=0.9,nan"], "`gamma` must be a number, got nan"),
        (["sweep", "ppo", *SMALL, "--grid", "gamma=0.9,0.9"], "`grid` must give gamma different values"),
        (["sweep", "ppo", *SMALL, "--grid", "gamma"], "`--grid` must be NAME=VALUE, got 'gamma'"),
        (["sweep", "ppo", *SMALL, "--grid", "gamma=1", "gamma=0"], "`--grid` must give gamma once"),
        (
            ["sweep", "ppo", *SMALL, "--grid", "learning_rate=1e-4", "learning-rate=3e-4"],
            "`--grid` must give learning-rate once, got it twice",
        ),
        (
            ["sweep", "ppo", *SMALL, "--grid", "learning_rate=1e-4,3e-4", "--learning-rate", "5"],
            "`--learning-rate` must not be given together with `--grid learning_rate=...`, got 5",
        ),
        (["sweep", "ppo", *SMALL], "`--grid` must give at least one hyperparameter"),
        (["sweep", "ppo", *SMALL, "--grid"], "`--grid` must give at least one hyperparameter"),
        (["train", "ppo", *SMALL, "--seeds", "99999999999999999999"], "`seeds` must be at most 1000000 ids"),
        (["train", "ppo", *SMALL, "--channels", "16"], "image"),
        (["train", "ppo", *SMALL, "--name", "n" * 101], "`name` must be at most 100 printable characters"),
        (["run", "missing.toml"], "cannot read the spec missing.toml: No such file or directory"),
        (["resume", "nothing"], "there is no run 'nothing': runs holds no runs yet"),
        (["table"], "give at least one RUN"),
        (["table", "nothing"], "there is no run 'nothing'"),
        (["plot", "nothing"], "there is no run 'nothing'"),
        (["eval", "nothing"], "there is no run 'nothing'"),
        (["record"], "RUN"),
    ],
    ids=lambda value: " ".join(value).replace(" ".join(SMALL), "...") if isinstance(value, list) else "",
)
def test_bad_arguments_are_one_line_and_leave_nothing(capsys, arguments, message):
    assert message in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resume", "tini"], "unknown run 'tini'; did you mean 'tiny'"),
        (["plot", "tiny", "--output", "a.pdf"], "`--output` must end in .png, got a.pdf"),
        (["record", "tiny", "--output", "a.mp4"], "`--output` must end in .gif, .html or .png, got a.mp4"),
        (["record", "tiny", "--config", "2"], "`--config` must be from 0 to 1, got 2"),
        (["record", "tiny", "--seed", "4"], "`--seed` must be one of the run's seeds (3, 5), got 4"),
        (["record", "tiny", "--fps", "100"], "`--fps` must be above 0 and at most 50, got 100"),
        (["record", "tiny", "--max-steps", "0"], "`--max-steps` must be at least 1, got 0"),
        (["record", "tiny", "--episode", "-1"], "a seed must be from 0"),
        (["record", "tiny", "--output", "/proc/nowhere/film.gif"], "cannot write /proc/nowhere/film.gif"),
        (["plot", "tiny", "--output", "/proc/nowhere/a.png"], "cannot write in /proc/nowhere"),
        (["table", "tiny", "--output", "/proc/nowhere/a.md"], "cannot write in /proc/nowhere"),
        (["eval", "tiny", "--episodes", "0"], "`--episodes` must be at least 1, got 0"),
        (["table", "tiny", "--format", "pdf"], "--format"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_uses_of_a_run_are_one_line_and_leave_nothing(capsys, runs, arguments, message):
    assert message in refused(capsys, *arguments, "--runs", runs)


def test_a_folder_that_cannot_be_written_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(session.Session, "prepare", lambda self: pytest.fail("it was compiled"))
    message = refused(capsys, "train", "ppo", *SMALL, "--runs", "/proc/nowhere")
    assert message.startswith("cannot create the run folder /proc/nowhere/ppo-CartPole-v1/")
    assert message.endswith("nothing was written")


def test_a_full_disk_is_one_line(capsys, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(session.Session, "prepare", lambda self: pytest.fail("it was compiled"))
    monkeypatch.setattr(store.os, "fsync", full)
    message = refused(capsys, "train", "ppo", *SMALL)
    assert re.fullmatch(
        "cannot create the run folder .*: No space left on device; nothing was written", message
    )


def test_a_read_only_folder_is_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(session.Session, "prepare", lambda self: pytest.fail("it was compiled"))
    (tmp_path / "locked").mkdir(mode=0o555)
    if os.access(tmp_path / "locked", os.W_OK):
        pytest.skip("the superuser writes everywhere")
    assert "Permission denied" in refused(capsys, "train", "ppo", *SMALL, "--runs", "locked")


@pytest.mark.parametrize("command", ["resume", "table", "plot", "eval", "record"])
def test_a_broken_run_folder_is_one_line(capsys, finished, command, tmp_path):
    path = tmp_path / "runs" / "tiny" / finished.name
    shutil.copytree(finished, path)
    manifest = json.loads((path / "manifest.json").read_text())
    store.write_json(path / "manifest.json", manifest | {"status": "interrupted"})
    damaged = "metrics.npz" if command in ("table", "plot") else "checkpoint.npz"
    content = (path / damaged).read_bytes()
    (path / damaged).write_bytes(content[: len(content) // 2])
    assert f"{damaged} is damaged" in refused(capsys, command, path)
    store.write_json(path / "manifest.json", manifest | {"hash": "0" * 12})
    assert "is from another configuration" in refused(capsys, command, path)
    (path / "manifest.json").unlink()
    assert "is not a complete run folder: manifest.json is missing" in refused(capsys, command, path)


def test_metrics_that_do_not_fit_their_steps_are_damaged(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "copy")
    arrays = store.read_arrays(folder / "metrics.npz")
    store.write_arrays(folder / "metrics.npz", arrays | {"finite": arrays["finite"][:, :, 1:]})
    with pytest.raises(store.StoreError, match=r"metrics\.npz is damaged: finite has shape"):
        results.load(folder)


def test_a_run_without_results_says_how_to_get_them(capsys, finished, tmp_path):
    path = tmp_path / "runs" / "tiny" / finished.name
    shutil.copytree(finished, path)
    (path / "metrics.npz").unlink()
    (path / "checkpoint.npz").unlink()
    for command in ("table", "plot", "record", "eval"):
        assert f"`jaxrl resume {path}` goes on" in refused(capsys, command, path)
