"""Tables say what the arrays say, with the statistics of `jaxrl.stats`."""

import io

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import trim_mean

from experiments import tables
from experiments.results import Result
from experiments.spec import RunSpec
from experiments.store import StoreError
from jaxrl import stats


def result(returns, status="finished", finite=None, **changes) -> Result:
    """Return a run whose last evaluation gave `returns` `[C, S]` (its first gave 0)."""
    returns = np.asarray(returns, np.float32)
    num_configs, num_seeds = returns.shape
    grid = {"learning_rate": tuple(10.0**-i for i in range(1, num_configs + 1))} if num_configs > 1 else {}
    spec = RunSpec(
        **(
            {"algorithm": "ppo", "env": "CartPole-v1", "total_steps": 1000, "seeds": range(num_seeds)}
            | changes
        ),
        grid=grid,
        evaluations=2,
    )
    both = np.stack([np.zeros_like(returns), returns], axis=-1)
    arrays = {
        "steps": np.array([500, 1000]),
        # Two episodes whose mean is the return.
        "episode_return": np.stack([both - 1, both + 1], axis=-1),
        "episode_length": np.full((*both.shape, 2), 7),
        "metric_steps": np.array([400, 1000]),
        # 0.5 a step at first, and then what stands in for the return.
        "metrics/regret": np.stack([np.full_like(returns, 0.5), returns], axis=-1),
        "finite": np.ones((num_configs, num_seeds, 2), bool) if finite is None else finite,
    }
    manifest = {"status": status, "run_seconds": 12.34, "trace_seconds": 1.0, "compile_seconds": 4.5}
    return Result(None, spec, manifest, arrays)


SCORES = np.random.default_rng(0).normal(100, 10, (2, 20))


def test_a_row_holds_the_iqm_of_the_last_evaluation_over_seeds():
    rows = tables.rows([result(SCORES)])
    assert [row.configuration for row in rows] == ["learning_rate=0.1", "learning_rate=0.01"]
    for row, scores in zip(rows, SCORES, strict=True):
        assert row.interval.estimate == pytest.approx(trim_mean(scores, 0.25), rel=1e-6)
        expected = stats.stratified_bootstrap(np.float32(scores))
        assert (row.interval.low, row.interval.high) == pytest.approx((expected.low, expected.high), rel=1e-6)
        assert (row.num_seeds, row.num_diverged, row.steps) == (20, 0, 1000)
        assert (row.run_seconds, row.compile_seconds) == (12.34, 5.5)


def test_a_training_metric_is_shown_by_its_mean_and_summed_over_steps():
    run = result(SCORES)
    row, _ = tables.rows([run], "regret")
    assert row.interval == stats.mean_interval(np.float32(SCORES[0]))
    total, _ = tables.rows([run], "regret", total=True)
    assert total.interval.estimate == pytest.approx(400 * 0.5 + 600 * SCORES[0].mean(), rel=1e-6)
    assert "| total regret: mean [95 %] |" in tables.markdown([total])
    with pytest.raises(StoreError, match="unknown metric 'regrets'; did you mean 'regret'"):
        tables.rows([run], "regrets")


def test_markdown_is_a_well_formed_table():
    text = tables.markdown(tables.rows([result(SCORES), result(SCORES[:1], env="FourRooms-v1")]))
    lines = text.splitlines()
    assert len(lines) == 2 + 3
    assert {line.count("|") for line in lines} == {len(tables.HEADER) + 1}
    assert len({len(line) for line in lines}) == 1
    assert "| ppo " in lines[2]
    assert "| FourRooms-v1 " in lines[4]
    assert "12.3 s" in lines[2]
    assert "5.5 s" in lines[2]
    assert "†" not in text


def test_few_seeds_are_marked():
    text = tables.markdown(tables.rows([result(SCORES[:, :9])]))
    assert text.count("†") == 3
    assert "† fewer than 10 seeds" in text
    assert "†" not in tables.markdown(tables.rows([result(SCORES[:, :10])]))


def test_a_single_seed_has_no_interval():
    (row,) = tables.rows([result([[250.0]])])
    assert row.cells[3] == "250†"


def test_diverged_seeds_are_left_out_and_counted():
    scores = SCORES.copy()
    finite = np.ones((2, 20, 1), bool)
    scores[0, 3] = np.nan
    finite[0, 3] = finite[1] = False
    first, second = tables.rows([result(scores, status="diverged", finite=finite)])
    assert first.interval.estimate == pytest.approx(trim_mean(np.delete(scores[0], 3), 0.25), rel=1e-6)
    assert first.cells[4] == "19 of 20"
    assert second.interval is None
    assert second.cells[3:5] == ("diverged", "0 of 20")
    assert "left out" in tables.markdown([first, second])


def test_unfinished_runs_are_marked():
    text = tables.markdown(tables.rows([result(SCORES, status="interrupted")]))
    assert "1,000*" in text
    assert "* not finished yet." in text


@pytest.mark.parametrize(
    ("estimate", "low", "high", "shown"),
    [
        (491.234, 480.1, 499.9, "491.2 [480.1, 499.9]"),
        (0.81234, 0.7, 0.9, "0.812 [0.700, 0.900]"),
        (-86.44, -90.06, -80.0, "-86.4 [-90.1, -80.0]"),
        (12345.6, 12000.0, 13000.0, "12346 [12000, 13000]"),
        (5.0, 5.0, 5.0, "5.00 [5.00, 5.00]"),
        (0.0, 0.0, 0.0, "0.00 [0.00, 0.00]"),
    ],
)
def test_intervals_have_the_decimals_they_deserve(estimate, low, high, shown):
    assert tables.show_interval(stats.Interval(estimate, low, high, 0.95, 30, "bootstrap")) == shown


def test_the_terminal_table_says_shared_things_once():
    console = Console(width=80, file=io.StringIO())
    console.print(
        tables.for_terminal(tables.rows([result(SCORES), result(SCORES[:1, :3], env="FourRooms-v1")]))
    )
    text = console.file.getvalue()
    assert text.count("CartPole-v1") == 1
    assert text.count("FourRooms-v1") == 1
    assert text.count("12.3 s") == 2
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("†") == 2
    assert "learning_rate=0.1 " in text
    assert "learning_rate=0.01" in text


def test_the_frame_holds_every_evaluation_of_every_seed():
    pytest.importorskip("pandas")
    frame = tables.frame([result(SCORES)])
    assert len(frame) == 2 * 20 * 2
    row = frame[(frame.learning_rate == 0.01) & (frame.seed == 4) & (frame.steps == 1000)]
    assert row.episode_return.item() == pytest.approx(SCORES[1, 4], rel=1e-6)
    assert set(frame.episode_length) == {7.0}
