"""The picture of the junction: roads, lights, cars and people from above."""

from envs import render
from envs.traffic import intersection as junction

GRASS: render.RGB = (214, 228, 205)
ASPHALT: render.RGB = (120, 126, 140)
LANE_MARK: render.RGB = (198, 203, 212)
RED: render.RGB = (214, 62, 56)
AMBER: render.RGB = (240, 178, 50)
CAR_BLUE: render.RGB = (66, 110, 180)
WIDTH, HEIGHT = 360, 560
X, Y = (-36.0, 36.0), (-66.0, 46.0)


def picture(
    position: float,
    speed: float,
    cars: list[list[float]],
    walked: list[float],
    phase: int,
    change: float,
    violations: int,
    destination: float,
):
    """Return the picture, `[560, 360, 3]` uint8; the arguments are those of the state, as numbers."""
    canvas = render.Canvas(WIDTH, HEIGHT, X, Y, GRASS)
    _roads(canvas, destination)
    own = (render.GREEN, AMBER, RED, RED, RED, RED)[phase]
    cross = (RED, RED, RED, render.GREEN, AMBER, RED)[phase]
    _box(canvas, 0.2, 3.8, -0.6, 0.0, render.PAPER)
    _box(canvas, -9.6, -9.0, 5.2, 8.8, render.PAPER)
    _box(canvas, 9.0, 9.6, 9.2, 12.8, render.PAPER)
    _light(canvas, (6.5, -2.0), own)
    _light(canvas, (-11.5, 2.6), cross)
    _light(canvas, (11.5, 15.4), cross)
    for stream, fronts in enumerate(cars):
        middle = 7.0 if stream == junction.EAST else 11.0
        for front in fronts:
            nose, tail = (junction._on_map(stream, front - back) for back in (0.0, junction.CAR_LENGTH))
            _car(canvas, (nose, middle), (tail, middle), CAR_BLUE)
    _car(canvas, (2.0, position), (2.0, position - junction.CAR_LENGTH), render.ORANGE)
    for side, way in enumerate(walked):
        if way >= 0:
            spot = junction._walker_x(side, way), sum(junction.CROSSWALKS[side]) / 2
            canvas.disc(spot, 1.0, render.PAPER)
            canvas.disc(spot, 0.75, (90, 60, 150))
    canvas.text((-20.5, 42.0), f"{3.6 * speed:.0f} km/h", 15, render.INK)
    canvas.text((-20.5, 38.0), f"light changes in {change:.1f} s", 11, render.INK)
    if violations:
        word = "violation" if violations == 1 else "violations"
        canvas.text((-20.5, 34.0), f"{violations} {word}", 13, RED)
    return canvas.array()


def _roads(canvas: render.Canvas, destination: float) -> None:
    _box(canvas, -4.3, 4.3, *Y, render.PAPER)
    _box(canvas, *X, 4.7, 13.3, render.PAPER)
    _box(canvas, -4.0, 4.0, *Y, ASPHALT)
    _box(canvas, *X, 5.0, 13.0, ASPHALT)
    for start in range(int(Y[0]), int(Y[1]), 4):
        if start + 2 <= 0 or start >= 23:
            _box(canvas, -0.15, 0.15, start, start + 2, LANE_MARK)
    for start in range(int(X[0]), int(X[1]), 4):
        if start + 2 <= -9 or start >= 9:
            _box(canvas, start, start + 2, 8.85, 9.15, LANE_MARK)
    for low, high in junction.CROSSWALKS:
        for stripe in range(-4, 4):
            _box(canvas, stripe + 0.2, stripe + 0.8, low, high, render.PAPER)
    for low, high in ((-8.0, -5.0), (5.0, 8.0)):
        for stripe in range(5, 13):
            _box(canvas, low, high, stripe + 0.2, stripe + 0.8, render.PAPER)
    _box(canvas, 0.2, 3.8, destination - 0.4, destination + 0.4, render.GREEN)


def _box(
    canvas: render.Canvas, left: float, right: float, low: float, high: float, color: render.RGB
) -> None:
    canvas.polygon([(left, low), (right, low), (right, high), (left, high)], color)


def _light(canvas: render.Canvas, centre: render.Point, color: render.RGB) -> None:
    canvas.disc(centre, 1.7, render.INK)
    canvas.disc(centre, 1.2, color)


def _car(canvas: render.Canvas, nose: render.Point, tail: render.Point, color: render.RGB) -> None:
    """Draw a car from its nose to its tail, with a windscreen."""
    along = ((nose[0] - tail[0]) / junction.CAR_LENGTH, (nose[1] - tail[1]) / junction.CAR_LENGTH)

    def at(back: float, aside: float) -> render.Point:
        return nose[0] - back * along[0] + aside * along[1], nose[1] - back * along[1] - aside * along[0]

    half = junction.CAR_WIDTH / 2
    corners = ((0.0, half - 0.35), (0.45, half), (4.2, half), (4.5, half - 0.25))
    body = [at(*corner) for corner in corners] + [at(back, -aside) for back, aside in reversed(corners)]
    canvas.polygon(body, color)
    canvas.polygon([at(1.2, 0.72), at(1.9, 0.62), at(1.9, -0.62), at(1.2, -0.72)], render.INK)
    canvas.polygon([at(3.5, 0.6), at(3.9, 0.65), at(3.9, -0.65), at(3.5, -0.6)], render.INK)
