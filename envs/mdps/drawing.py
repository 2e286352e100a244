"""Pictures of finite processes: states as discs on a ring, likely transitions as arrows."""

from itertools import pairwise

import numpy as np

from envs import render

MOST_ARROWS = 80


def graph(P: np.ndarray, terminal: np.ndarray, here: int | None = None, line: bool = False) -> np.ndarray:
    """Return a picture of a process, `[height, width, 3]` uint8.

    Arrows stand for transitions to other states of probability 0.02 and more, one colour an action, thicker
    if likelier. Where they are more than `MOST_ARROWS`, only those of the marked state are drawn.

    Args:
      P: `[S, A, S]` transition probabilities.
      terminal: `[S]` bool, drawn green.
      here: the state to mark.
      line: place the states on a line instead of a ring.

    >>> graph(np.eye(3)[:, None], np.zeros(3, bool), here=1).shape
    (480, 480, 3)
    """
    states = len(P)
    if line:
        points, spacing = np.stack([np.arange(states) + 0.5, np.zeros(states)], axis=-1), 1.0
        canvas = render.Canvas(_line_width(states), 140, (0, states), _line_range(states))
    else:
        angle = np.pi / 2 - 2 * np.pi * np.arange(states) / states
        points = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        spacing = min(2 * np.sin(np.pi / max(states, 2)), 1.0)
        canvas = render.Canvas(480, 480, (-1.5, 1.5), (-1.5, 1.5))
    radius = 0.3 * spacing if line else min(0.22, 0.36 * spacing)
    arrows = [(P[s, a, to], s, a, to) for s, a, to in np.argwhere(P >= 0.02) if s != to and not terminal[s]]
    if len(arrows) > MOST_ARROWS:
        arrows = [arrow for arrow in arrows if arrow[1] == here]
    for weight, s, a, to in arrows:
        bend = spacing * (0.16 + 0.1 * a)
        color = render.CHANNELS[a % len(render.CHANNELS)]
        _arrow(canvas, points[s], points[to], bend, radius, 1 + 3 * float(weight), color)
    for s, point in enumerate(points):
        color = render.GREEN if terminal[s] else render.WALL_GREY
        canvas.disc(point, radius, render.ORANGE if s == here else color)
        if states <= 40:
            size = 0.9 * radius * (480 / 3 if not line else _line_width(states) / states)
            canvas.text(point, str(s), size, render.PAPER)
    return canvas.array()


def _line_width(states: int) -> int:
    return int(np.clip(80 * states, 240, 960))


def _line_range(states: int) -> tuple[float, float]:
    half = 70 * states / _line_width(states)
    return -half, half


def _arrow(
    canvas: render.Canvas,
    start: np.ndarray,
    end: np.ndarray,
    bend: float,
    radius: float,
    width: float,
    color: render.RGB,
) -> None:
    """Draw a curve that leaves the straight line by `bend` to its left, with a head at its end."""
    along = end - start
    left = np.array([-along[1], along[0]]) / np.hypot(*along)
    control = (start + end) / 2 + 2 * bend * left
    share = np.linspace(0, 1, 33)[:, None]
    curve = (1 - share) ** 2 * start + 2 * share * (1 - share) * control + share**2 * end
    outside = np.minimum(np.hypot(*(curve - start).T), np.hypot(*(curve - end).T)) > radius * 1.05
    curve = curve[outside]
    if len(curve) < 3:
        return
    tip, heading = curve[-1], curve[-1] - curve[-3]
    heading = heading / np.hypot(*heading) * radius * 0.45
    side = np.array([-heading[1], heading[0]]) * 0.5
    for a, b in pairwise(curve[:-1]):
        canvas.line(a, b, width, color)
    canvas.polygon([tuple(tip), tuple(tip - heading + side), tuple(tip - heading - side)], color)
