"""Plots show the numbers they are given, labelled, in files that appear whole."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import trim_mean

from experiments import plots
from experiments.results import Result
from experiments.spec import RunSpec
from experiments.store import StoreError

RNG = np.random.default_rng(0)
STEPS = np.array([1000, 2000, 3000])


def result(env="CartPole-v1", grid=None, num_seeds=12, name="", returns=None, finite=None) -> Result:
    spec = RunSpec("ppo", env, 3000, seeds=range(num_seeds), grid=grid or {}, name=name, evaluations=3)
    num_configs = len(spec.configurations())
    if returns is None:
        returns = (
            RNG.normal(100, 10, (num_configs, num_seeds, 3)) + 50 * np.arange(num_configs)[:, None, None]
        )
    arrays = {
        "steps": STEPS,
        "episode_return": returns[..., None],
        "finite": np.ones((num_configs, num_seeds, 1), bool) if finite is None else finite,
    }
    return Result(None, spec, {"status": "finished"}, arrays)


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved, in order."""
    saved = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (saved.append(self), save(self, *a, **k))[1])
    return saved


def labels(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_a_curve_is_the_iqm_over_seeds_with_a_band_around_it(tmp_path, figures):
    run = result(grid={"learning_rate": (0.1, 0.2)})
    path = plots.learning_curves([run], tmp_path / "new" / "curves.png")
    (axis,) = figures[0].axes
    assert labels(axis) == ["learning_rate=0.1 (n=12)", "learning_rate=0.2 (n=12)"]
    assert axis.get_title(loc="left") == "CartPole-v1"
    assert "steps" in axis.get_xlabel()
    assert "return" in axis.get_ylabel()
    for line, band, returns in zip(axis.lines, axis.collections, run.returns, strict=True):
        assert line.get_xdata().tolist() == STEPS.tolist()
        np.testing.assert_allclose(line.get_ydata(), trim_mean(returns, 0.25, axis=0))
        vertices = band.get_paths()[0].vertices
        for step, middle in zip(STEPS, line.get_ydata(), strict=True):
            heights = vertices[vertices[:, 0] == step, 1]
            assert heights.min() < middle < heights.max()
            assert heights.max() - heights.min() < 30
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width >= 900
        assert len(image.convert("RGB").getcolors(1 << 24)) > 50


def test_a_metric_that_is_measured_now_and_then_is_drawn_where_it_was(tmp_path, figures):
    run = result()
    excess = RNG.random((1, 12, 4))
    excess[:, :, [0, 2]] = np.nan
    run.arrays.update({"metric_steps": np.array([1, 2, 3, 4]), "metrics/episode_overestimation": excess})
    plots.learning_curves([run], tmp_path / "excess.png", "episode_overestimation")
    (axis,) = figures[0].axes
    np.testing.assert_array_equal(axis.lines[0].get_xdata(), [2, 4])
    np.testing.assert_allclose(axis.lines[0].get_ydata(), excess[0, :, [1, 3]].mean(axis=1))


def test_a_training_metric_is_drawn_by_its_mean_summed_over_steps(tmp_path, figures):
    run = result()
    regret = RNG.random((1, 12, 2))
    run.arrays.update({"metric_steps": np.array([100, 300]), "metrics/regret": regret})
    plots.learning_curves([run], tmp_path / "regret.png", "regret", total=True)
    (axis,) = figures[0].axes
    assert axis.get_ylabel() == "total regret (mean, 95 % interval)"
    np.testing.assert_array_equal(axis.lines[0].get_xdata(), [100, 300])
    np.testing.assert_allclose(
        axis.lines[0].get_ydata(), np.cumsum(regret[0].mean(axis=0) * [100, 200]), rtol=1e-6
    )


def test_there_is_one_panel_an_environment_and_one_curve_a_run(tmp_path, figures):
    runs = [
        result("A-v1", name="a"),
        result("B-v1", name="b"),
        result("A-v1", name="c"),
        result("C-v1"),
        result("D-v1"),
    ]
    plots.learning_curves(runs, tmp_path / "curves.png")
    axes = [axis for axis in figures[0].axes if axis.get_visible()]
    assert [axis.get_title(loc="left") for axis in axes] == ["A-v1", "B-v1", "C-v1", "D-v1"]
    assert labels(axes[0]) == ["a (n=12)", "c (n=12)"]


def test_colours_are_never_shared(tmp_path, figures):
    run = result(grid={"gamma": tuple(np.linspace(0.1, 0.9, 12).tolist())})
    plots.learning_curves([run], tmp_path / "curves.png")
    (axis,) = figures[0].axes
    assert len({line.get_color() for line in axis.lines}) == len(axis.lines) == len(plots.COLORS)
    assert "best 8 of 12" in axis.get_title(loc="left")
    assert "gamma=0.9 (n=12)" in labels(axis)
    assert "gamma=0.1 (n=12)" not in labels(axis)


def test_one_seed_has_no_band_and_diverged_seeds_are_said(tmp_path, figures):
    finite = np.ones((2, 4, 1), bool)
    finite[0, 1] = finite[1] = False
    returns = np.where(finite, RNG.normal(size=(2, 4, 3)), np.nan)
    plots.learning_curves([result(num_seeds=1)], tmp_path / "one.png")
    run = result(grid={"gamma": (0.1, 0.2)}, num_seeds=4, finite=finite, returns=returns)
    plots.learning_curves([run], tmp_path / "diverged.png")
    assert len(figures[0].axes[0].collections) == 0
    assert labels(figures[1].axes[0]) == ["gamma=0.1 (n=3, 1 diverged)", "gamma=0.2 (n=0, 4 diverged)"]
    plots.hyperparameters(run, tmp_path / "grid.png")
    texts = [text.get_text() for text in figures[2].axes[0].texts]
    assert texts == ["diverged"]


def test_one_swept_field_is_drawn_with_every_seed(tmp_path, figures):
    run = result(grid={"learning_rate": (0.3, 0.1)})
    plots.hyperparameters(run, tmp_path / "grid.png")
    (axis,) = figures[0].axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0.1", "0.3"]
    drawn = np.concatenate([line.get_ydata() for line in axis.lines if len(line.get_ydata()) == 12])
    np.testing.assert_allclose(np.sort(drawn), np.sort(run.final_returns.reshape(-1)))
    middle = [
        line.get_ydata()[0] for line in axis.lines if line.get_marker() == "D" and len(line.get_ydata())
    ]
    np.testing.assert_allclose(middle, trim_mean(run.final_returns[::-1], 0.25, axis=1))


def test_two_swept_fields_are_a_heat_map_in_the_grids_order(tmp_path, figures):
    run = result(grid={"gamma": (0.9, 0.99), "learning_rate": (0.1, 0.2, 0.3)})
    plots.hyperparameters(run, tmp_path / "grid.png")
    axis = figures[0].axes[0]
    shown = axis.images[0].get_array()
    assert shown.shape == (2, 3)
    np.testing.assert_allclose(np.asarray(shown).reshape(-1), trim_mean(run.final_returns, 0.25, axis=1))
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("learning rate", "gamma")
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["0.9", "0.99"]


def test_three_swept_fields_have_a_panel_each(tmp_path, figures):
    run = result(grid={"gamma": (0.9, 0.99), "learning_rate": (0.1, 0.2), "clip_epsilon": (0.1, 0.3)})
    plots.hyperparameters(run, tmp_path / "grid.png")
    assert [axis.get_xlabel() for axis in figures[0].axes] == ["gamma", "learning rate", "clip epsilon"]


def test_what_cannot_be_drawn_is_said_and_the_old_picture_stays(tmp_path):
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")
    with pytest.raises(StoreError, match="no run to plot"):
        plots.learning_curves([], path)
    with pytest.raises(StoreError, match="has no grid"):
        plots.hyperparameters(result(), path)
    assert path.read_bytes() == b"old"
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write in .*File exists"):
        plots.learning_curves([result()], tmp_path / "file" / "curves.png")
