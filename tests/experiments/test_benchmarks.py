"""Tables: what their files say, which figures a row holds, and that one command makes and resumes them."""

import dataclasses
import json

import numpy as np
import pytest

import jaxrl
from experiments import cli, references, results, runner
from experiments.benchmarks import report, score, session
from experiments.benchmarks import spec as benchmarks
from experiments.benchmarks.spec import Benchmark, Entry
from experiments.experiment import resolve
from experiments.results import Result
from experiments.spec import RunSpec, SpecError
from jaxrl import stats

MACHINE = {"processor": "an abacus", "cores": 2, "load_average": [1.5, 0, 0]}
TABLE = """
title = "Small"
reference = "cleanrl"
training_episodes = 3

[shared]
total_steps = 128
seeds = 3
evaluations = 2
eval_episodes = 2
env_params = { max_steps = 20 }

[[runs]]
algorithm = "ppo"
label = "small ppo"
envs = ["CartPole-v1"]
wanted = { CartPole-v1 = 1.0 }
config = { num_envs = 2, num_steps = 8, num_epochs = 1, num_minibatches = 2, hidden_sizes = [4] }
"""


def result(count, returns, final=(), finite=None) -> Result:
    """Return a run of S seeds with `count` episodes of mean `returns` in each log interval, both `[S, P]`."""
    count, returns = np.asarray(count, np.float32), np.asarray(returns, np.float32)
    seeds, points = count.shape
    spec = RunSpec("ppo", "CartPole-v1", 100 * points, seeds=range(seeds), evaluations=1)
    final = np.asarray(final or np.zeros(seeds), np.float32)
    arrays = {
        "steps": np.array([100 * points]),
        "episode_return": final[None, :, None, None] + np.array([-1.0, 1.0]),
        "metric_steps": 100 * np.arange(1, points + 1),
        "metrics/episodes": count[None],
        "metrics/episode_return": returns[None],
        "finite": np.ones((1, seeds, points), bool) if finite is None else np.asarray(finite)[None],
    }
    manifest = {"run_seconds": 12.3, "trace_seconds": 1.0, "compile_seconds": 2.25, "created": "then"}
    manifest |= {"git": {"commit": "0123456789", "dirty": False}, "devices": {"count": 2, "kind": "cpu"}}
    return Result(None, spec, manifest, arrays)


def table(*entries, **changes) -> Benchmark:
    return Benchmark("small", "Small", entries, **changes)


def test_training_returns_are_of_as_few_last_intervals_as_hold_so_many_episodes():
    run = result(
        count=[[5, 2, 1, 2], [5, 0, 0, 1], [0, 0, 0, 0], [9, 9, 9, 3]],
        returns=[[0, 10, 20, 30], [8, np.nan, np.nan, 2], [np.nan] * 4, [0, 0, 0, 7]],
    )
    returns, first = score.training_returns(run, 3)
    # 2 x 30 + 1 x 20; 1 x 2 + 5 x 8 (two are not enough); no episode at all; exactly three.
    np.testing.assert_allclose(returns, [80 / 3, 42 / 6, np.nan, 7.0], rtol=1e-6)
    assert first == 0
    assert score.training_returns(result([[3, 3, 3]], [[1, 2, 3]]), 4)[1] == 100


def test_a_row_holds_both_figures_without_diverged_seeds():
    finite = np.ones((12, 1), bool)
    finite[3] = False
    training, final = np.arange(12.0), tuple(range(100, 112))
    run = result(np.full((12, 1), 200), training[:, None], final, finite)
    row = score.row(Entry(run.spec, wanted=5.7, published=(6.0, 0.5)), run, 100)
    kept = finite[:, 0]
    for name, expected in (
        ("training", stats.mean_interval(training[kept])),
        ("training_iqm", stats.stratified_bootstrap(training[kept])),
        ("evaluation", stats.stratified_bootstrap(np.array(final)[kept])),
    ):
        found = [row[name][x] for x in ("estimate", "low", "high")]
        np.testing.assert_allclose(found, [expected.estimate, expected.low, expected.high], atol=1e-4)
    assert (row["seeds"], row["diverged"], row["steps"], row["compile_seconds"]) == (12, 1, 100, 3.2)
    assert row["scores"]["training"] == np.delete(training, 3).tolist()
    assert row["scores"]["evaluation"] == list(np.delete(final, 3))
    assert row["met"] == "yes" and row["training"]["estimate"] == pytest.approx(63 / 11, abs=1e-4)
    assert row["curve"]["estimate"] == [row["evaluation"]["estimate"]]


@pytest.mark.parametrize(
    ("wanted", "met"),
    [(None, None), (40.0, "yes"), (45.0, "yes"), (45.1, "IQM"), (50.0, "IQM"), (50.1, "no")],
)
def test_what_is_wanted_is_met_by_the_mean_or_by_the_interquartile_mean_alone(wanted, met):
    run = result(np.ones((10, 1)), np.array([[0.0]] + [[50.0]] * 9))
    assert score.row(Entry(run.spec, wanted=wanted), run, 1)["met"] == met


def test_a_row_without_a_living_seed_meets_nothing():
    run = result([[1], [1]], [[np.nan], [np.nan]], finite=[[False], [False]])
    row = score.row(Entry(run.spec, wanted=0.0), run, 1)
    assert (row["training"], row["evaluation"], row["met"], row["diverged"]) == (None, None, "no", 2)
    text = report.markdown(table(Entry(run.spec, wanted=0.0)), [row | {"machine": MACHINE}])
    assert text.count(" diverged |") == 3 and "| 0 of 2 |" in text and "NO" in text


def test_results_are_replaced_row_by_row_and_forgotten_with_their_specs(tmp_path):
    runs = [result([[1]] * 10, np.arange(10.0)[:, None] + shift) for shift in (0, 100)]
    entries = [Entry(dataclasses.replace(run.spec, env=env)) for run, env in zip(runs, "ab", strict=True)]
    both = table(*entries)
    assert report.read(both, tmp_path) == []
    made = [score.row(entry, run, 1) for entry, run in zip(entries, runs, strict=True)]
    report.write(both, made[1:], MACHINE, tmp_path)
    assert "1 of 2 rows have not been run yet" in (tmp_path / "small.md").read_text()
    report.write(both, made[:1], MACHINE, tmp_path)
    rows = report.read(both, tmp_path)
    assert [row["training"]["estimate"] for row in rows] == [4.5, 104.5]
    assert (tmp_path / "small.md").read_text() == report.markdown(both, rows)
    assert report.read(table(entries[1]), tmp_path) == rows[1:]
    changed = dataclasses.replace(entries[0], spec=dataclasses.replace(entries[0].spec, total_steps=7))
    assert report.read(table(changed), tmp_path) == []


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The folder of a table that was computed, its runs and its results."""
    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "small.toml").write_text(TABLE)
    said = []
    rows, status = session.run(
        benchmarks.load("small", folder), folder / "runs", output=folder, say=said.append
    )
    assert (status, said) == ("finished", ["1 of 1: ppo on CartPole-v1"])
    return folder, rows


def test_one_command_computes_a_table_and_does_nothing_twice(small, capsys, monkeypatch):
    folder, rows = small
    (row,) = rows
    assert row["algorithm"] == "small ppo"
    run = results.load(next((folder / "runs").glob("*/*")))
    assert row["run"] == run.path.name
    np.testing.assert_allclose(row["scores"]["evaluation"], run.final_returns[0], atol=1e-4)
    assert row["published"] == [490.04, 6.12] and row["wanted"] == 1.0 and row["met"] == "yes"
    monkeypatch.setattr(benchmarks, "FOLDER", folder)
    monkeypatch.setattr(benchmarks, "names", lambda where=folder, names=benchmarks.names: names(where))
    monkeypatch.setattr(benchmarks, "load", lambda name, load=benchmarks.load: load(name, folder))
    before = run.path.joinpath("metrics.npz").stat().st_mtime_ns
    arguments = ["benchmark", "small", "--output", str(folder), "--runs", str(folder / "runs"), "--quiet"]
    assert cli.main(arguments) == 0
    assert run.path.joinpath("metrics.npz").stat().st_mtime_ns == before
    printed = capsys.readouterr().out
    assert printed.strip() == (folder / "small.md").read_text().strip()
    assert "| CartPole-v1 | small ppo |" in printed and "490.04 ± 6.12" in printed and "| yes |" in printed
    assert "num_envs 2, num_steps 8, num_epochs 1, num_minibatches 2, hidden_sizes 4" in printed
    stored = json.loads((folder / "small.json").read_text())
    stored["rows"][0]["met"] = "no"
    (folder / "other").mkdir()
    (folder / "other" / "small.json").write_text(json.dumps(stored))
    assert cli.main(["benchmark", "small", "--stored", "--output", str(folder / "other")]) == 1


def test_an_interrupted_table_keeps_what_it_had_and_goes_on(small, monkeypatch, tmp_path):
    folder, rows = small
    benchmark = benchmarks.load("small", folder)
    stopped = runner.Outcome(tmp_path, runner.INTERRUPTED)
    with monkeypatch.context() as patched:
        patched.setattr(runner, "run", lambda *args, **kwargs: stopped)
        assert session.run(benchmark, tmp_path, output=tmp_path) == ([], "interrupted")
    again, status = session.run(benchmark, folder / "runs", output=tmp_path, say=lambda line: None)
    assert status == "finished"
    assert [{**row, "machine": None} for row in again] == [{**row, "machine": None} for row in rows]


@pytest.mark.parametrize("name", benchmarks.names())
def test_every_table_can_be_run(name):
    benchmark = benchmarks.load(name)
    for entry in {entry.spec.algorithm: entry for entry in benchmark.entries}.values():
        resolved = resolve(entry.spec).spec
        assert resolved.total_steps == entry.spec.total_steps
    assert all(entry.spec.algorithm in jaxrl.algorithms() for entry in session.quick(benchmark).entries)


@pytest.mark.parametrize("name", benchmarks.names())
def test_stored_tables_are_made_of_the_stored_rows(name):
    benchmark = benchmarks.load(name)
    rows = report.read(benchmark)
    if not rows:
        pytest.skip("not computed yet")
    assert (report.RESULTS / f"{name}.md").read_text() == report.markdown(benchmark, rows)
    entries = {entry.spec.hash(): entry for entry in benchmark.entries}
    for row in rows:
        entry = entries[row["id"]]
        published = None if entry.published is None else list(entry.published)
        assert (row["wanted"], row["published"]) == (entry.wanted, published)
        training, evaluation = (np.array(row["scores"][name]) for name in ("training", "evaluation"))
        for name, expected in (
            ("training", training.mean()),
            ("training_iqm", stats.iqm(training)),
            ("evaluation", stats.iqm(evaluation)),
        ):
            assert row[name]["estimate"] == pytest.approx(expected, abs=1e-3)
        if entry.wanted is not None:
            reached = [row[name]["estimate"] >= entry.wanted for name in ("training", "training_iqm")]
            assert row["met"] == ("yes" if reached[0] else "IQM" if reached[1] else "no")


@pytest.mark.parametrize("name", references.names())
def test_references_say_where_they_are_from(name):
    reference = references.load(name)
    assert reference.source and reference.protocol and reference.title and reference.scores


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": '""'}, "`title` must be given"),
        ({"reference": '"cleanrll"'}, "did you mean 'cleanrl'"),
        ({"training_episodes": "0"}, "`training_episodes` must be a whole number of at least 1, got 0"),
        ({"envs": "[]"}, "`envs` must be a list of at least one environment"),
        (
            {"wanted": "{ Acrobot-v1 = 1.0 }"},
            "`wanted` must be of the run's envs, CartPole-v1, got 'Acrobot-v1'",
        ),
        ({"seeds": "3\nlearning_rate = 1.0"}, "learning_rate"),
        ({"seeds": "3\ngrid = { gamma = [0.9] }"}, "`grid` must be empty"),
        ({"envs": '["CartPole-v1", "CartPole-v1"]'}, "`runs` must be different"),
        ({"notes": "1\nextra = 2"}, "extra"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, change, message):
    (name, value), lines = change.popitem(), TABLE.strip().splitlines()
    changed = [f"{name} = {value}" if line.startswith(f"{name} =") else line for line in lines]
    if changed == lines:
        changed.insert(0, f"{name} = {value}")
    (tmp_path / "small.toml").write_text("\n".join(changed))
    with pytest.raises(SpecError, match=r"small\.toml") as caught:
        benchmarks.load("small", tmp_path)
    assert message in str(caught.value)


def test_rows_are_chosen_by_what_the_table_calls_them_and_by_parts_of_environments():
    benchmark = benchmarks.load("minatar")
    games = ["Asterix", "Breakout", "Freeway", "SpaceInvaders"]
    for only, expected in (
        (["pqn"], [("pqn", game) for game in games]),
        (["PQN, cnn"], [("pqn, CNN", "Breakout")]),
        (["breakout", "ppo", "dqn"], [("ppo", "Breakout"), ("dqn", "Breakout")]),
        (["way", "inv"], [(e, game) for e in ("ppo", "pqn", "dqn", "rainbow") for game in games[2:]]),
    ):
        chosen = benchmark.select(only)
        assert [(e.label, e.spec.env.split("-")[1]) for e in chosen] == expected
    assert len(benchmark.select([])) == 17


def test_names_that_fit_nothing_are_refused_before_anything_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments, message in (
        ([], "give at least one NAME: basics, classic"),
        (["clasic"], "did you mean 'classic'"),
        (["classic", "--only", "dqm"], "did you mean 'dqn'"),
    ):
        assert cli.main(["benchmark", *arguments]) == 2
        assert message in capsys.readouterr().err, arguments
    assert not list(tmp_path.iterdir())
