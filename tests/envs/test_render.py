"""Pictures: what is drawn is where it should be, and what is written can be read back."""

import base64
import io
import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import envs
from envs import render
from envs.render import GRID_TILES, Tile


def read(path):
    with Image.open(path) as image:
        return [np.asarray(image.convert("RGB")) for _ in _seek(image)]


def _seek(image):
    for index in range(getattr(image, "n_frames", 1)):
        image.seek(index)
        yield index


@pytest.fixture
def lake_frames():
    env, params = envs.make("FrozenLake4x4-v1")
    return [env.frame(env.state_at(jnp.int32(cell), params), params) for cell in (0, 1, 2, 6, 10, 14)]


def test_png_is_read_back_exactly(tmp_path, lake_frames):
    path = render.png(lake_frames[0], tmp_path / "new" / "lake.png")
    assert np.array_equal(read(path)[0], lake_frames[0])


def test_gif_keeps_frames_order_time_and_flat_colours(tmp_path, lake_frames):
    path = render.gif(lake_frames, tmp_path / "lake.gif", fps=10)
    frames = read(path)
    assert len(frames) == len(lake_frames)
    for got, expected in zip(frames, lake_frames, strict=True):
        assert np.array_equal(got, expected)
    with Image.open(path) as image:
        assert image.info["duration"] == 100 and image.info["loop"] == 0


def test_gif_of_many_colours_stays_close(tmp_path):
    rng = np.random.default_rng(0)
    smooth = np.linspace(0, 255, 96).astype(np.uint8)
    photo = np.stack(np.broadcast_arrays(smooth[:, None], smooth[None], smooth[::-1, None]), -1)
    noisy = rng.integers(0, 256, (256, 256, 3), np.uint8)
    for frame, error in ((photo, 12), (noisy, 40)):
        got = read(render.gif([frame, frame[::-1]], tmp_path / "photo.gif"))[0].astype(int)
        assert np.abs(got - frame).mean() < error


def test_gif_keeps_the_colour_of_small_things(tmp_path):
    smooth = np.linspace(0, 255, 128).astype(np.uint8)
    frame = np.stack(np.broadcast_arrays(smooth[:, None], smooth[None], np.uint8(0)), -1).copy()
    frame[60:63, 60:63] = (0, 0, 255)
    got = read(render.gif([frame], tmp_path / "dot.gif"))[0].astype(int)
    assert np.abs(got[61, 61] - [0, 0, 255]).max() < 40


def test_html_holds_every_frame_and_needs_nothing_else(tmp_path, lake_frames):
    path = render.html(lake_frames, tmp_path / "a<b.html", fps=8)
    page = path.read_text()
    encoded = re.search(r"const frames = (\[.*?\]), period = 125.000", page).group(1)
    images = re.findall(r"data:image/png;base64,([^\"]+)", encoded)
    assert len(images) == len(lake_frames)
    for data, expected in zip(images, lake_frames, strict=True):
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert np.array_equal(np.asarray(image), expected)
    assert "http" not in page and "<title>a&lt;b</title>" in page and "@" not in page.split("<script>")[0]


def test_save_follows_the_suffix(tmp_path, lake_frames):
    last = read(render.save(lake_frames, tmp_path / "a.png"))[0]
    assert np.array_equal(last, lake_frames[-1])
    assert len(read(render.save(lake_frames, tmp_path / "a.gif"))) == 6
    assert render.save(lake_frames, tmp_path / "a.HTML").read_text().startswith("<!doctype html>")
    with pytest.raises(ValueError, match=r"`path` must end in .png, .gif, .html, got 'a.mp4'"):
        render.save(lake_frames, "a.mp4")


def test_smaller_frames_are_padded(tmp_path):
    small, large = np.zeros((10, 12, 3), np.uint8), np.full((20, 8, 3), 9, np.uint8)
    frames = read(render.gif([small, large], tmp_path / "pad.gif"))
    assert [frame.shape for frame in frames] == [(20, 12, 3)] * 2
    assert np.array_equal(frames[0][:10], small) and tuple(frames[0][15, 5]) == render.PAPER


@pytest.mark.parametrize("write", [render.gif, render.html, render.save])
@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "`frames` must hold at least one frame"),
        ([np.zeros((4, 4, 3))], r"a frame must be a \[height, width, 3\] array of uint8, got .* float64"),
        ([np.zeros((4, 4), np.uint8)], "a frame must be"),
        ([np.zeros((0, 4, 3), np.uint8)], "a frame must be"),
    ],
)
def test_bad_frames_are_refused_and_leave_nothing(tmp_path, write, frames, message):
    with pytest.raises(ValueError, match=message):
        write(frames, tmp_path / "bad.gif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fps", [0, -1, 51, float("nan")])
def test_bad_fps_is_refused(tmp_path, fps):
    frame = np.zeros((4, 4, 3), np.uint8)
    for write in (render.gif, render.html):
        with pytest.raises(ValueError, match="`fps` must be above 0 and at most 50"):
            write([frame], tmp_path / "bad", fps)


def test_failed_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = render.png(np.zeros((4, 4, 3), np.uint8), tmp_path / "a.png")
    before = path.read_bytes()

    def fail(self, file, **options):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        render.png(np.ones((4, 4, 3), np.uint8), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_tiles_stand_where_the_cells_are():
    red, blue = Tile((200, 0, 0)), Tile((0, 0, 200))
    picture = render.tiles(
        [[0, 1, 0], [1, 1, 0]], (red, blue), [(1, 2, Tile(None, "disc", (0, 200, 0)))], size=10
    )
    assert picture.shape == (20, 30, 3) and picture.dtype == np.uint8
    middles = picture[5::10, 5::10].tolist()
    assert middles == [
        [[200, 0, 0], [0, 0, 200], [200, 0, 0]],
        [[0, 0, 200], [0, 0, 200], [0, 200, 0]],
    ]
    assert picture[11, 21].tolist() == [200, 0, 0]  # the sprite leaves the corner of its tile as it was


def test_shade_runs_from_dark_to_bright_and_spares_nan():
    shaded = render.tiles([[0, 0, 0]], GRID_TILES, shade=np.array([[1.0, 3.0, np.nan]]), size=10)
    assert shaded[5, 5].tolist() == [68, 1, 84] and shaded[5, 15].tolist() == [253, 231, 37]
    assert tuple(shaded[5, 25]) == render.FLOOR_BLUE
    level = render.tiles([[0, 0]], GRID_TILES, shade=np.zeros((1, 2)), size=10)
    assert level[5, 5].tolist() == level[5, 15].tolist()


@pytest.mark.parametrize("cells", [[[0, 9]], [[-1]], [[0.5]], [0, 1], np.zeros((0, 2), int)])
def test_bad_cells_are_refused(cells):
    with pytest.raises(ValueError, match="`cells` must"):
        render.tiles(cells, GRID_TILES)


@pytest.mark.parametrize(
    "glyph", ["hole", "disc", "ring", "flag", "diamond", "cross", "brick", "up", "K", "12"]
)
def test_every_glyph_leaves_ink(glyph):
    plain = render.tiles([[0]], (Tile((255, 255, 255)),), size=32)
    inked = render.tiles([[0]], (Tile((255, 255, 255), glyph, (200, 0, 0)),), size=32)
    assert 20 < np.sum(np.any(plain != inked, axis=-1)) < 900


def test_arrows_point_their_way():
    def lean(heading):
        picture = render.tiles([[0]], (Tile((255, 255, 255), heading, (0, 0, 0)),), size=64)[:-1, :-1]
        dark = np.argwhere(picture.sum(axis=-1) < 300)
        return dark.mean(axis=0) - 31.5  # the head is heavier than the shaft

    assert lean("right")[1] > 1 and lean("left")[1] < -1
    assert lean("down")[0] > 1 and lean("up")[0] < -1


def test_grid_frame_draws_agent_values_and_policy():
    env, params = envs.make("FourRooms-v1")
    plain = env.frame(None, params)
    size = plain.shape[0] // 13
    with_agent = env.frame(env.state_at(jnp.int32(3 * 13 + 4), params), params)
    changed = np.argwhere(np.any(plain != with_agent, axis=-1)) // size
    assert np.unique(changed, axis=0).tolist() == [[3, 4]]
    drawn = env.frame(None, params, values=np.arange(169.0), policy=np.full(169, 2))
    changed = np.any(plain != drawn, axis=-1).reshape(13, size, 13, size).any(axis=(1, 3))
    assert np.array_equal(changed, np.asarray(params.cells) == 0)


def test_a_policy_is_drawn_over_the_wind():
    env, params = envs.make("WindyGridWorld-v1")
    windy = env.frame(None, params)
    size, center = windy.shape[0] // 7, (2 * np.array([1, 4]) + 1) * (windy.shape[0] // 7) // 2
    with_policy = env.frame(None, params, policy=np.full(70, 3))
    assert size == 48 and tuple(windy[tuple(center)]) == render.WIND[3].ink
    assert tuple(with_policy[tuple(center)]) == render.INK


@pytest.mark.parametrize("id", envs.names("native"))
def test_every_native_environment_can_be_drawn(id):
    env, params = envs.make(id)
    state, obs = env.reset(jax.random.key(0), params)
    picture = render.frame(env, state, params, obs)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[-1] == 3


class Bare:
    id = "Bare"


class Written(Bare):
    def ascii(self, state, params):
        return "S.G\n" * int(state)


def test_environments_without_frame_fall_back():
    image = np.zeros((4, 6, 2), bool)
    assert render.frame(Bare(), None, None, image).shape == (4 * 64, 6 * 64, 3)
    assert np.array_equal(render.frame(Written(), 1, None), render.text_frame("S.G"))
    assert np.array_equal(render.frame(Written(), 1, None, image), render.observation_frame(image))
    with pytest.raises(ValueError, match="`obs` must be given for 'Bare'"):
        render.frame(Bare(), None, None)


def test_channels_become_coloured_cells_with_the_first_on_top():
    image = np.zeros((10, 10, 4), bool)
    image[2, 3, 1] = image[7, 5, 3] = image[7, 5, 0] = True
    picture = render.observation_frame(image)
    assert picture.shape == (480, 480, 3)
    middles = picture[24::48, 24::48]
    assert tuple(middles[2, 3]) == render.CHANNELS[1] and tuple(middles[7, 5]) == render.CHANNELS[0]
    assert np.sum(np.any(middles != np.array(render.INK), axis=-1)) == 2


@pytest.mark.parametrize(
    "obs",
    [
        np.int32(3),
        np.array([0.5, -2.0, np.inf, np.nan]),
        np.zeros(0),
        np.zeros((3, 4)),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((84, 84, 4), np.uint8),
        np.zeros((2, 3, 4, 5)),
        {"a": np.zeros(2), "b": np.int32(1)},
    ],
)
def test_any_observation_can_be_drawn(obs):
    picture = render.observation_frame(obs)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[-1] == 3


def test_bars_point_up_and_down():
    picture = render.observation_frame(np.array([1.0, -1.0])).astype(int)
    upper, lower = picture[50], picture[110]
    left, right = slice(20, 60), slice(100, 140)
    paper = np.array(render.PAPER)
    assert np.all(upper[left] != paper) and np.all(lower[right] != paper)
    assert np.all(upper[right] == paper) and np.all(lower[left] == paper)


def test_drawing_does_not_write_into_the_cache():
    first = render.tiles([[0, 1]], GRID_TILES, size=16)
    keep = first.copy()
    first[:] = 0
    assert np.array_equal(render.tiles([[0, 1]], GRID_TILES, size=16), keep)


def test_file_changes_only_by_a_rename(tmp_path, monkeypatch):
    path = render.png(np.zeros((4, 4, 3), np.uint8), tmp_path / "a.png")
    before = path.read_bytes()

    def refuse(source, target):
        raise OSError("no rename")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no rename"):
        render.png(np.ones((4, 4, 3), np.uint8), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


# Overlays ------------------------------------------------------------------------------------------------


def test_wedges_hold_the_colour_of_each_way_out():
    q = np.array([[[0.0, 1.0, 2.0, 3.0]]])
    shown = render.overlay([[True]], q=q, headings=(3, 2, 1, 0), size=32)
    picture = render.tiles([[0]], GRID_TILES, shown.sprites, shown.shade, 32)
    # Actions 0 to 3 go up, right, down and left; the lowest is viridis' dark end, the highest its bright one.
    up, right, down, left = picture[4, 16], picture[16, 27], picture[27, 16], picture[16, 4]
    assert up.tolist() == [68, 1, 84] and left.tolist() == [253, 231, 37]
    assert right.sum() < down.sum() and right[1] < down[1]
    written = render.overlay([[True]], q=q, size=64).sprites[0][2]
    assert written.texts == ("0", "1", "2", "3")


def test_only_the_cells_named_are_drawn_on():
    where = np.array([[True, False], [False, True]])
    shown = render.overlay(where, q=np.zeros((4, 4)), policy=[0, 1, 2, 3])
    assert [(r, c) for r, c, _ in shown.sprites] == [(0, 0), (1, 1), (0, 0), (1, 1)]
    assert [tile.glyph for _, _, tile in shown.sprites[2:]] == ["left", "up"]
    shaded = render.overlay(where, visits=[9, 1, 2, 0])
    assert np.array_equal(np.isnan(shaded.shade), ~where) and shaded.shade[0, 0] == np.log(10)
    assert [tile.glyph.strip() for _, _, tile in shaded.sprites] == ["9", "0"]
    assert render.overlay(where, visits=[9, 1, 2, 0], size=20).sprites == []


def test_a_policy_may_hold_probabilities():
    policy = [[0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.1, 0.1, 0.7, 0.1]]
    shown = render.overlay(np.ones((1, 3), bool), policy=policy)
    assert [(c, tile.glyph) for _, c, tile in shown.sprites] == [(0, "left"), (0, "down"), (2, "right")]


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"values": [1.0, 2.0]}, r"`values` must have shape \(1, 3\), or flat cells, got \(2,\)"),
        ({"q": np.zeros((3, 2))}, r"`q` must have shape \(1, 3, 4\)"),
        ({"policy": [0, 1, 4]}, "`policy` must hold actions from 0 to 3"),
        ({"q": np.zeros((3, 4)), "headings": (0, 0, 1, 2)}, "`headings` must hold 0, 1, 2 and 3 once each"),
    ],
)
def test_overlays_that_do_not_fit_are_refused(known, message):
    with pytest.raises(ValueError, match=message):
        render.overlay(np.ones((1, 3), bool), **known)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.531, ".53"), (-0.049, "-.05"), (-1.004, "-1.0"), (12.6, "13"), (7, "7"), (0.004, "0")],
)
def test_numbers_in_cells_are_short(value, text):
    (sprite,) = render.overlay([[True]], values=[value]).sprites
    assert sprite[2].glyph.strip() == text


def test_policy_as_text():
    env, params = envs.make("CliffWalking-v1")
    lines = env.ascii(None, params, policy=np.arange(48) % 4).splitlines()
    assert lines[0] == "^>v<^>v<^>v<" and lines[3] == "^HHHHHHHHHHG"


def test_every_overlay_of_a_world_is_a_picture_of_the_same_size():
    env, params = envs.make("FrozenLake4x4-v1")
    q = np.linspace(0, 1, 64).reshape(16, 4)
    known = [{"values": q.max(1)}, {"visits": np.arange(16)}, {"q": q}, {"q": q, "policy": q.argmax(1)}]
    pictures = [env.frame(None, params, **shown) for shown in [{}, *known]]
    assert {picture.shape for picture in pictures} == {(256, 256, 3)}
    assert len({picture.tobytes() for picture in pictures}) == 5
    pits = np.asarray(params.cells) != 0
    for picture in pictures[1:]:
        changed = np.any(picture != pictures[0], axis=-1).reshape(4, 64, 4, 64).any(axis=(1, 3))
        assert np.array_equal(changed, ~pits)


def test_contact_sheet_holds_every_picture():
    red, wide = np.full((50, 50, 3), (200, 0, 0), np.uint8), np.full((10, 40, 3), (0, 0, 200), np.uint8)
    sheet = render.contact_sheet({"red": red, "wide": wide, "again": red}, columns=2, size=60)
    assert sheet.shape == (200, 160, 3)
    assert sheet[38, 40].tolist() == [200, 0, 0] and sheet[138, 40].tolist() == [200, 0, 0]
    assert sheet[38, 120].tolist() == [0, 0, 200] and tuple(sheet[12, 120]) == render.PAPER
    with pytest.raises(ValueError, match="`pictures` must not be empty"):
        render.contact_sheet({})
