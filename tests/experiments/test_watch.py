"""The page of `jaxrl watch`: it holds what the learner knew, needs nothing else, and moves when touched."""

import base64
import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import jaxrl
from envs.tabular import extract
from experiments import cli, watch
from experiments.spec import RunSpec, SpecError
from experiments.store import StoreError
from jaxrl.tabular import planning
from jaxrl.tabular.control import driver

TABULAR = [name for name in jaxrl.algorithms() if issubclass(jaxrl.algorithm(name).Config, driver.Config)]


@pytest.fixture(scope="module")
def watched():
    return watch.watch()


@pytest.fixture(scope="module")
def page(watched, tmp_path_factory):
    return watched.save(tmp_path_factory.mktemp("watch") / "new" / "watch.html")


def test_q_learning_by_hand_gives_the_same_tables(watched):
    """The oracle: Q-learning in NumPy along the recorded paths, whose actions the moves tell."""
    env, params = envs.make("GridWorld-v1", map=watch.MAZE)
    params = params.replace(slip=jnp.float32(0))
    outcome = jax.jit(jax.vmap(jax.vmap(lambda s, a: env.outcomes(s, a, params), (None, 0)), (0, None)))
    model = jax.device_get(outcome(jnp.arange(30), jnp.arange(4)))
    trace, q = watched.trace, np.zeros((30, 4), np.float64)
    followed = 0
    for before, after, path, length, total in zip(
        trace.q, trace.q[1:], trace.path, trace.length, trace.return_, strict=False
    ):
        np.testing.assert_allclose(before, q, atol=1e-5)
        rewards = 0.0
        for t in range(length):
            s, following = path[t], path[t + 1]
            (actions,) = np.nonzero(model.next_state[s, :, 1] == following)
            branch = model.reward[s, actions[0], 1], model.terminated[s, actions[0], 1]
            rewards += branch[0]
            if len(actions) > 1:  # a corner: either wall may have been meant
                break
            target = branch[0] + 0.99 * (1 - branch[1]) * q[following].max()
            q[s, actions[0]] += 0.8 * (target - q[s, actions[0]])
        else:
            followed += 1
            np.testing.assert_allclose(after, q, atol=1e-5)
            assert total == pytest.approx(rewards, abs=1e-4)
        q = after.astype(np.float64)
    assert followed > 50


def test_paths_are_walks_that_end_where_episodes_end(watched):
    trace = watched.trace
    assert trace.path.shape == (200, 101) and trace.q.shape == (201, 30, 4)
    kinds = np.array(list("".join(watch.MAZE)))
    for path, length in zip(trace.path, trace.length, strict=True):
        way = path[: length + 1]
        assert np.all(way >= 0) and np.all(path[length + 1 :] == -1)
        rows, columns = np.divmod(way, 6)
        assert np.all(np.abs(np.diff(rows)) + np.abs(np.diff(columns)) <= 1)
        assert np.all(kinds[way[:-1]] == ".") and (kinds[way[-1]] in "GH" or length == 100)
    counted = watch.visits(trace)
    assert counted[0].sum() == 0 and counted[-1].sum() == (trace.length + 1).sum()
    assert np.array_equal(np.diff(counted.sum(axis=1)), trace.length + 1)


def test_q_values_converge_to_the_exact_optimum(watched):
    env, params = envs.make("GridWorld-v1", map=watch.MAZE)
    mdp = extract(env, params.replace(slip=jnp.float32(0)))
    optimum = planning.linear_programme(mdp, 0.99)[0]
    assert np.allclose(watched.optimum.max(axis=1), optimum, atol=1e-5)
    floor = np.array(list("".join(watch.MAZE))) == "."
    gap = np.abs(watched.trace.q - watched.optimum)[:, floor]
    assert np.array_equal(watched.error, gap.max(axis=(1, 2)))
    assert np.allclose(watched.mean_error, gap.mean(axis=(1, 2)))
    assert watched.error[0] == 1.0 and watched.error[-1] < 0.05 and watched.mean_error[-1] < 0.01


def test_page_holds_the_arrays_exactly(watched):
    content = watch.unpack(watched.page)
    trace = watched.trace
    assert np.array_equal(content["q"], trace.q)
    assert np.array_equal(content["optimum"], watched.optimum)
    assert np.array_equal(content["error"], watched.error)
    assert np.array_equal(content["error_mean"], watched.mean_error)
    assert np.array_equal(content["return"], trace.return_)
    assert np.array_equal(content["length"], trace.length)
    assert np.array_equal(content["path"], trace.path[trace.path >= 0])
    assert content["title"] == "Q-learning on GridWorld-v1" and content["starts"] == sorted(
        np.flatnonzero(np.array(list("".join(watch.MAZE))) == ".").tolist()
    )
    assert "epsilon 1 to 0.05, linear" in content["settings"] and "seed 0" in content["settings"]


def test_page_needs_nothing_else(watched):
    outside = re.sub(r'<script type="application/json".*?</script>', "", watched.page, flags=re.DOTALL)
    assert set(re.findall(r"https?://[^\"']+", outside)) == {
        "http://www.w3.org/2000/svg"
    }  # a name, no address
    assert not re.search(
        r"<(link|img|iframe|base)\b|\bsrc=|@import|url\(|\bfetch\(|XMLHttp|import\(", outside
    )
    assert "@TITLE@" not in watched.page and "@CONTENT@" not in watched.page
    assert len(watched.page) < 60_000


def test_text_is_escaped(monkeypatch):
    module = jaxrl.algorithm("q_learning")
    monkeypatch.setattr(module, "__doc__", "</script><b>Q</b> & co: an attack")
    shown = watch.watch(episodes=1)
    assert "<b>Q" not in shown.page and "<title>&lt;/script&gt;&lt;b&gt;" in shown.page
    assert watch.unpack(shown.page)["title"] == "</script><b>Q</b> & co on GridWorld-v1"
    assert shown._repr_html_().count('"') == 4


@pytest.mark.parametrize("name", TABULAR)
def test_every_method_of_tabular_control_can_be_watched(name):
    experiment = watch.resolve(
        RunSpec(name, "FrozenLake4x4-v1", 3, (0,), config={"num_steps": 1}, evaluations=1)
    )
    config = jax.tree.map(lambda leaf: leaf[0], experiment.configs)
    algorithm = experiment.module.make(watch._FinalObservation(experiment.env), experiment.params, config)
    trace = jax.eval_shape(partial(watch.trace_episodes, algorithm, 3, 100), jax.random.key(0))
    assert trace.q.shape == (4, 16, 4) and trace.path.shape == (3, 101)


def test_action_values_are_those_acted_on():
    env, params = envs.make("CliffWalking-v1")
    module = jaxrl.algorithm("double_q_learning")
    algorithm = module.make(env, params, module.Config(num_steps=400))
    state, _ = jax.jit(algorithm.step)(algorithm.init(jax.random.key(0)), jnp.int32(0))
    greedy = [int(algorithm.policy(state).act(jnp.int32(s), (), jax.random.key(0))[0]) for s in range(48)]
    assert np.argmax(watch.action_values(state.tables), axis=1).tolist() == greedy
    assert len(set(greedy)) > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ppo"], "`algorithm` must be one that keeps a table"),
        (["q_lerning"], "unknown algorithm 'q_lerning'; did you mean 'q_learning'"),
        (["--env", "Taxi-v1"], "`env` must be a grid world whose states are its cells"),
        (["--env", "FrozenLake-v9"], "unknown environment 'FrozenLake-v9'; did you mean"),
        (["--env-options", "map=..x,G.."], "`map` must hold only"),
        (["--env-params", "slop=1"], "unknown parameter of GridWorld-v1 'slop'; did you mean 'slip'"),
        (["--env-params", "slip"], "`--env-params` must be NAME=VALUE, got 'slip'"),
        (["--episodes", "0"], "`episodes` must be a whole number of at least 1, got 0"),
        (["--episodes", "10m"], "`episodes` must be at most"),
        (["--config", "learning_rate=2"], "`learning_rate` must be greater than 0 and at most 1, got 2"),
        (["--config", "num_steps=9"], "`num_steps` must not be given"),
        (["--seed", "-1"], "a seed must be from 0"),
        (["--output", "watch.gif"], "`--output` must end in .html, got watch.gif"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = cli.main(["watch", *arguments])
    out, err = capsys.readouterr()
    assert code == 2 and out == "" and err.startswith("jaxrl: error: ") and err.count("\n") == 1
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_worlds_too_large_for_a_page_are_refused(watched, tmp_path):
    rows = ("." * 40,) * 39 + ("." * 39 + "G",)
    with pytest.raises(SpecError, match="`env` must have at most 1024 cells to be drawn, got 1600"):
        watch.watch(env="GridWorld-v1", env_options={"map": rows})
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        watched.save(tmp_path / "file" / "watch.html")


def test_command_writes_the_page_of_the_function(watched, capsys, tmp_path):
    assert cli.main(["watch", "--output", str(tmp_path / "a.html")]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'a.html'}: the last 20 of 200 episodes returned")
    assert (tmp_path / "a.html").read_text() == watched.page


# In a browser --------------------------------------------------------------------------------------------


class Browser:
    """A headless Chromium, driven through chromedriver's W3C protocol with the standard library."""

    def __init__(self, port, profile, width, height):
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        flags += ["--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={profile}"]
        options = {"args": flags}
        if width > 800:
            flags.append(f"--window-size={width},{height}")
        else:
            metrics = {"width": width, "height": height, "pixelRatio": 2}
            options["mobileEmulation"] = {"deviceMetrics": metrics}
        self.root = f"http://127.0.0.1:{port}"
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        self.root += f"/session/{self.call('POST', '/session', wanted)['sessionId']}"

    def call(self, method, path, content=None):
        data = None if method in ("GET", "DELETE") else json.dumps(content or {}).encode()
        request = urllib.request.Request(
            self.root + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.loads(reply.read())["value"]

    def open(self, path, fragment=""):
        self.call("POST", "/url", {"url": "about:blank"})
        self.call("POST", "/url", {"url": f"{path.as_uri()}#{fragment}"})
        self.until("return document.documentElement.dataset.ready === 'yes'")

    def run(self, script):
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def until(self, script, seconds=20):
        limit = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < limit, script
            time.sleep(0.05)

    def click(self, selector):
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        self.call("POST", f"/element/{next(iter(found.values()))}/click")

    def press(self, *keys):
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def text(self, selector):
        return self.run(f"return document.querySelector({selector!r}).textContent")

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))


@contextlib.contextmanager
def browser(folder, width=1280, height=800):
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert driver.stdout is not None
        port = next(
            m[1] for line in driver.stdout if (m := re.search(r"started successfully on port (\d+)", line))
        )
        session = Browser(port, folder / f"profile-{width}", width, height)
        try:
            yield session
        finally:
            session.call("DELETE", "")
    finally:
        driver.terminate()
        driver.wait(timeout=20)
        if driver.stdout is not None:
            driver.stdout.close()


needs_chromium = pytest.mark.skipif(
    shutil.which("chromedriver") is None,
    reason="no chromedriver: `apt-get install chromium chromium-driver` brings it",
)
RIGHT, LEFT, END = "\ue014", "\ue012", "\ue010"


def shown(value):
    """Return a number as the page writes it in a cell."""
    digits = 0 if abs(value) >= 9.95 else 1 if abs(value) >= 0.995 else 2
    text = re.sub(r"^(-?)0\.", r"\1.", f"{value:.{digits}f}")
    return "0" if float(text) == 0 else text.replace("-", "−")


@needs_chromium
def test_page_in_a_browser(watched, page, tmp_path):
    trace = watched.trace
    floor = np.flatnonzero(np.array(list("".join(watch.MAZE))) == ".")

    def check_cells(tab, episode):
        texts = tab.run(
            "return [...document.querySelectorAll('.q-number')].map((e) => [e.id, e.textContent])"
        )
        assert len(texts) == 4 * len(floor)
        for id, text in texts:
            _, s, a = id.split("-")
            value = float(trace.q[episode, int(s), int(a)])
            # The page rounds like JavaScript: a tie may go the other way.
            assert text in (shown(value), shown(value + 1e-6), shown(value - 1e-6)), (id, text, value)

    with browser(tmp_path) as tab:
        tab.open(page)
        assert tab.run("return document.title") == "Q-learning on GridWorld-v1"
        assert tab.text("#readout") == "Episode 0 of 200: untrained"
        check_cells(tab, 0)
        tab.screenshot(tmp_path / "first.png")

        tab.run(
            "const e = document.getElementById('episode'); e.value = 60; e.dispatchEvent(new Event('input'))"
        )
        assert tab.text("#readout") == f"Episode 60 of 200: {trace.length[59]} steps"
        check_cells(tab, 60)
        way = tab.run("return document.getElementById('path-line').points.length")
        assert way == trace.length[59] + 1
        tab.screenshot(tmp_path / "middle.png")
        assert (tmp_path / "middle.png").read_bytes() != (tmp_path / "first.png").read_bytes()
        tab.press(RIGHT, RIGHT, LEFT)
        assert tab.text("#readout").startswith("Episode 61 of 200")
        marker = "return document.querySelector('#error-chart .marker').getAttribute('x1')"
        before = float(tab.run(marker))
        tab.press(END)
        assert tab.text("#readout").startswith("Episode 200 of 200") and float(tab.run(marker)) > before
        check_cells(tab, 200)

        tab.click("#views label:nth-child(2)")
        assert tab.text(f"#value-{floor[0]}") == shown(trace.q[200, floor[0]].max())
        tab.click("#show-optimum")
        assert tab.text(f"#value-{floor[3]}") == shown(watched.optimum[floor[3]].max())
        tab.click("#show-optimum")
        tab.click("#views label:nth-child(4)")
        assert int(tab.text(f"#value-{floor[0]}")) == watch.visits(trace)[200, floor[0]]
        tab.click("#views label:nth-child(3)")
        greedy = watched.optimum[0].argmax()
        arrows = "return [...document.querySelectorAll('[data-cell=\"0\"] path')].filter((e) => "
        arrows += "e.style.display === '' && e.getAttribute('d').startsWith('M-24'))"
        arrows += ".map((e) => e.getAttribute('transform'))"
        (turn,) = tab.run(arrows)
        assert f"rotate({[180, 90, 0, -90][greedy]})" in turn

        tab.click("#play")
        assert tab.text("#play") == "Pause"
        tab.until("return +document.getElementById('episode').value >= 2")
        tab.click("#play")
        paused = tab.text("#readout")
        time.sleep(0.4)
        assert tab.text("#play") == "Play" and tab.text("#readout") == paused
        tab.click("[data-cell='29']")
        assert tab.text("#cell-chart b") == "Q-values in row 5, column 6"
        theme = "return getComputedStyle(document.body).backgroundColor"
        light = tab.run(theme)
        tab.click("#theme")
        assert tab.run(theme) != light
        wide = "return document.documentElement.scrollWidth <= innerWidth"
        assert tab.run(wide)

    with browser(tmp_path, 390, 844) as phone:
        phone.open(page, "episode=200&view=policy&theme=dark")
        assert phone.text("#readout").startswith("Episode 200 of 200")
        assert phone.run(wide) and phone.run("return document.documentElement.className") == "dark"
        phone.screenshot(tmp_path / "phone.png")


@needs_chromium
def test_browser_shows_no_error_for_other_worlds(tmp_path):
    lake = watch.watch("double_q_learning", "FrozenLake8x8-v1", 2, config={"initial_value": -1.0})
    path = lake.save(tmp_path / "lake.html")
    with browser(tmp_path) as tab:
        tab.open(path, "episode=2")
        assert tab.text("#q-0-0") == shown(lake.trace.q[2, 0, 0])
        assert tab.run("return document.querySelectorAll('[data-cell]').length") == 64
