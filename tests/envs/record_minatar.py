"""`python tests/envs/record_minatar.py [steps] [path]`: play MinAtar itself, and keep what it did for tests.

Needs `pip install --no-deps MinAtar==1.0.15` (GPL-3.0; no part of this project). For each game it writes,
step by step, whether a game starts, the action, what chance decided, and MinAtar's reward, end and
observation. A half of the steps starts from a hard state and goes on where MinAtar says that a game is over,
for as long as it can, so that rare things happen: many enemies, new waves, six divers, the last level.
"""

import copy
import importlib
import sys
from pathlib import Path

import numpy as np

GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
HAS_HARD = ("asterix", "seaquest", "space_invaders")
FIRST, ACTION, REWARD, OVER = range(4)


class Chance(np.random.RandomState):
    """A random state that remembers what it drew."""

    drawn: list

    def rand(self, *shape):
        return self.keep(super().rand(*shape))

    def randint(self, *args, **kwargs):
        return self.keep(super().randint(*args, **kwargs))

    def keep(self, x):
        self.drawn.append(np.copy(x))  # Freeway writes into what it drew
        return x


def draws_of(name, drawn, spawns):
    """Return the draws of a step as integers, as `tests/envs/test_minatar.py` reads them."""
    drawn = list(drawn)
    if name == "asterix":
        right, gold, lane = (*drawn, 0, 0, 0)[:3] if drawn else (1, 1, 0)
        return [right < 1 / 2, gold < 1 / 3, lane]
    if name == "freeway":
        return drawn[0] * np.sign(drawn[1] - 0.5) if drawn else [1] * 8
    if name == "seaquest":
        enemy = [drawn.pop(0) for _ in range(3)] if spawns[0] else [1, 1, 1]
        diver = [drawn.pop(0) for _ in range(2)] if spawns[1] else [1, 1]
        return [enemy[0] < 1 / 2, enemy[1] < 1 / 3, enemy[2], diver[0] < 1 / 2, diver[1]]
    return drawn or [0]


def survives(game, action, rng):
    trial = copy.deepcopy(game)
    trial.random = np.random.RandomState(rng.integers(2**31))
    over = trial.act(action)[1]
    return not over and not trial.act(0)[1]


def choose(name, game, rng, careful):
    """Return an action of a player that wants to see much, and rather not die."""
    if name == "breakout":
        wanted = 1 if game.ball_x < game.pos else 3 if game.ball_x > game.pos else 0
        return wanted if rng.random() < 0.8 else int(rng.integers(6))
    if name == "freeway":
        return 2 if rng.random() < 0.8 else int(rng.integers(6))
    order = rng.permutation(6)
    if rng.random() < 0.4:
        order = np.concatenate([[5], order])
    if name == "seaquest" and rng.random() < 0.5:
        goals = (
            [d[:2] for d in game.divers] if game.diver_count < 6 and game.oxygen > 40 else [[game.sub_x, 0]]
        )
        if goals:
            x, y = goals[0]
            towards = 1 if x < game.sub_x else 3 if x > game.sub_x else 2 if y < game.sub_y else 4
            order = np.concatenate([[towards], order])
    if careful:
        for action in order:
            if survives(game, int(action), rng):
                return int(action)
    return int(order[0])


def make_hard(name, game, rng):
    """Change a fresh game into a late one."""
    if name == "asterix":
        game.spawn_speed = game.spawn_timer = int(rng.integers(1, 4))
        game.move_speed = game.move_timer = int(rng.integers(1, 3))
        game.ramp_index = 7
        return [game.spawn_speed, game.move_speed]
    if name == "seaquest":
        game.e_spawn_speed = game.e_spawn_timer = int(rng.integers(1, 4))
        game.move_speed, game.ramp_index = 2, 19
        game.diver_count = int(rng.integers(0, 7))
        return [game.e_spawn_speed, game.diver_count]
    if name == "space_invaders":
        game.enemy_move_interval = game.alien_move_timer = int(rng.integers(6, 9))
        return [game.enemy_move_interval, 0]
    return [0, 0]


def play(name, steps, seed):
    """Return the record of `steps` steps of one game."""
    rng = np.random.default_rng(seed)
    game = importlib.import_module(f"minatar.environments.{name}").Env(ramping=True)
    game.random = Chance(seed)
    meta, draws, first_draws, hard, frames, firsts = [], [], [], [], [], []
    start = True
    for step in range(steps):
        late = step >= steps // 2
        first = start = start or (step == steps // 2 and name in HAS_HARD)
        if start:
            game.random.drawn = []
            game.reset()
            first_draws.append(draws_of(name, game.random.drawn, (False, False)))
            hard.append(make_hard(name, game, rng) if late else [-1, -1])
            firsts.append(np.packbits(game.state()))
            careful = bool(rng.random() < 0.8)
        spawns = (getattr(game, "e_spawn_timer", 1) == 0, getattr(game, "d_spawn_timer", 1) == 0)
        action = choose(name, game, rng, careful)
        game.random.drawn = []
        reward, over = game.act(action)
        draws.append(draws_of(name, game.random.drawn, spawns))
        meta.append([first, action, reward, over])
        frames.append(np.packbits(game.state()))
        start = bool(over)
        landed = name == "space_invaders" and game.alien_map[9].any()
        if late and over and name in HAS_HARD and not landed:
            game.terminal, start = False, bool(rng.random() < 0.02)
    return {
        "meta": np.array(meta, np.int8),
        "draws": np.array(draws, np.int8),
        "first_draws": np.array(first_draws, np.int8),
        "hard": np.array(hard, np.int8),
        "frames": np.array(frames),
        "firsts": np.array(firsts),
    }


def main():
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    path = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent / "data" / "minatar.npz"
    records = {}
    for seed, name in enumerate(GAMES):
        record = play(name, steps, seed)
        records |= {f"{name}/{key}": value for key, value in record.items()}
        meta = record["meta"]
        print(
            name,
            len(record["firsts"]),
            "games, return",
            int(meta[:, REWARD].sum()),
            "ends",
            int(meta[:, OVER].sum()),
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **records)
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
