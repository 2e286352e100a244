"""Blackjack against a dealer with fixed rules, by the rules of Gymnasium, with its exact model."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.core import Step
from envs.mdps.exact import sample_index
from envs.spaces import Discrete, MultiDiscrete, Space, as_action
from envs.tabular import Outcomes

STICK, HIT = range(2)
# The dealer's result: a sum of 17 to 21, a bust, or a natural; as a score to compare with the player's sum.
_DEALER_SCORES = (17, 18, 19, 20, 21, 0, 21)
_BUST, _NATURAL = 5, 6
# States: hands by sum 4..21, dealer's card 1..10 and usable ace; naturals by dealer's card; the end.
_HANDS = 18 * 10 * 2
_OVER = _HANDS + 10
_MOST_STEPS = 20


@struct.dataclass
class BlackjackParams:
    """The deck and the bonus; every field may be traced and mapped over.

    Attributes:
      cards: `[10]` float32, the probabilities of an ace, 2, ..., 9, and a card of value 10.
      dealer: `[10, 7]` float32, the probabilities of the dealer's result (17, ..., 21, bust, natural) by the
        shown card; `dealer_results(cards)` gives them and must be called anew where `cards` change.
      natural_wins: `[]` bool; a player's natural beats all but the dealer's (Gymnasium's `sab=True`).
      natural_pay: `[]` float32, the reward for winning with a natural, unless `natural_wins`
        (1.5 is Gymnasium's `natural=True`).
    """

    cards: jax.Array
    dealer: jax.Array
    natural_wins: jax.Array
    natural_pay: jax.Array


@struct.dataclass
class BlackjackState:
    """The player's hand, the dealer's shown card and whether the game is over; all `[]`.

    Attributes:
      total: int32, the player's sum, a usable ace counted as 11.
      dealer: int32, the shown card, 1 (ace) to 10.
      ace: bool, whether the player holds a usable ace.
      natural: bool, whether the player was dealt an ace and a ten and holds no more.
      over: bool.
    """

    total: jax.Array
    dealer: jax.Array
    ace: jax.Array
    natural: jax.Array
    over: jax.Array


@dataclass(frozen=True)
class Blackjack:
    """Stick (0) or hit (1): +1 for winning, -1 for losing, 0 for a draw, with an infinite deck.

    The rules are Gymnasium's, `sab=True` by default as there. The dealer hits below 17 and sticks on any
    other sum. Since a natural may be worth more than another 21, it is a state of its own, so that the index
    is a Markov state. Best expected return: -0.0431, or -0.0466 with `sab=False`. An episode takes at most
    20 steps and is never truncated.

    Args:
      observation: "index" for the number of the state, 0 to 370 (370 where the game is over); "tuple" for
        Gymnasium's three numbers: sum, dealer's card, usable ace.
      natural: pay 1.5 for winning with a natural, as Gymnasium's option; no effect with `sab`.
      sab: the rules of Sutton and Barto: a natural wins unless the dealer has one, too.

    Raises:
      ValueError: if `observation` is another word.

    >>> env = Blackjack(observation="tuple")
    >>> params = env.default_params()
    >>> hand = env.state_at(hand_index(20, 10, False), params)
    >>> env.ascii(hand, params)
    'player 20, dealer shows 10'
    >>> stick = env.outcomes(hand_index(20, 10, False), 0, params)
    >>> round(float(stick.probability @ stick.reward), 3)
    0.435

    Source: Sutton and Barto, Reinforcement Learning, 2nd edition, example 5.1; Gymnasium,
    `envs/toy_text/blackjack.py`.
    """

    id: str = "Blackjack-v1"
    observation: str = "index"
    natural: bool = False
    sab: bool = True

    def __post_init__(self):
        if self.observation not in ("index", "tuple"):
            raise ValueError(f"`observation` must be 'index' or 'tuple', got {self.observation!r}")

    @property
    def num_states(self) -> int:
        """The number of hands, naturals, and one for the end."""
        return _OVER + 1

    def default_params(self) -> BlackjackParams:
        """Return an infinite deck of 52 cards and the chosen rules."""
        cards = jnp.asarray([1 / 13] * 9 + [4 / 13], jnp.float32)
        return BlackjackParams(
            cards=cards,
            dealer=dealer_results(cards),
            natural_wins=jnp.bool_(self.sab),
            natural_pay=jnp.float32(1.5 if self.natural else 1.0),
        )

    def time_limit(self, params: BlackjackParams) -> jax.Array:
        """Return 20, for after as many hits the sum of any hand exceeds 21."""
        return jnp.int32(_MOST_STEPS)

    def observation_space(self, params: BlackjackParams) -> Space:
        """Return `Discrete(371)`, or Gymnasium's `MultiDiscrete((32, 11, 2))`."""
        return Discrete(self.num_states) if self.observation == "index" else MultiDiscrete((32, 11, 2))

    def action_space(self, params: BlackjackParams) -> Discrete:
        """Return stick (0) and hit (1)."""
        return Discrete(2)

    def reset(self, key: jax.Array, params: BlackjackParams) -> tuple[BlackjackState, jax.Array]:
        """Return a dealt game and its observation."""
        first, second, dealer = (sample_index(each, params.cards) + 1 for each in jax.random.split(key, 3))
        total, ace = _deal(first, second)
        state = BlackjackState(total, dealer, ace, total == 21, jnp.bool_(False))
        return state, self._observe(state)

    def step(
        self, key: jax.Array, state: BlackjackState, action: jax.Array, params: BlackjackParams
    ) -> tuple[BlackjackState, Step]:
        """Return the next state and what happened; where the game is over nothing happens."""
        action = as_action(self.action_space(params), action)
        key_card, key_dealer = jax.random.split(key)
        hit = action >= HIT
        total, ace = _add(state.total, state.ace, sample_index(key_card, params.cards) + 1)
        result = sample_index(key_dealer, params.dealer[state.dealer - 1])
        stuck = self._rewards(state.total, state.natural, params)[result]
        reward = jnp.where(hit, jnp.where(total > 21, -1.0, 0.0), stuck)
        reward = jnp.where(state.over, 0.0, reward)
        taken = hit & ~state.over
        state = BlackjackState(
            total=jnp.where(taken, total, state.total),
            dealer=state.dealer,
            ace=jnp.where(taken, ace, state.ace),
            natural=state.natural & ~taken,
            over=state.over | ~hit | (total > 21),
        )
        return state, Step(self._observe(state), reward, state.over, jnp.bool_(False))

    def state_index(self, state: BlackjackState, params: BlackjackParams) -> jax.Array:
        """Return the number of the hand: see `hand_index`."""
        index = hand_index(state.total, state.dealer, state.ace)
        index = jnp.where(state.natural, _HANDS + state.dealer - 1, index)
        return jnp.where(state.over, _OVER, index).astype(jnp.int32)

    def state_at(self, index: jax.Array, params: BlackjackParams) -> BlackjackState:
        """Return the state of number `index`."""
        index = jnp.asarray(index, jnp.int32)
        natural = (index >= _HANDS) & (index < _OVER)
        hand = jnp.minimum(index, _HANDS - 1)
        return BlackjackState(
            total=jnp.where(natural, 21, 4 + hand // 20),
            dealer=jnp.where(natural, index - _HANDS + 1, 1 + hand // 2 % 10),
            ace=natural | (hand % 2 == 1),
            natural=natural,
            over=index >= _OVER,
        )

    def start_distribution(self, params: BlackjackParams) -> jax.Array:
        """Return the `[371]` probabilities of the dealt games."""
        values = jnp.arange(1, 11)
        first, second, dealer = jnp.meshgrid(values, values, values, indexing="ij")
        total, ace = _deal(first, second)
        state = BlackjackState(total, dealer, ace, total == 21, jnp.zeros_like(ace))
        cards = params.cards / jnp.sum(params.cards)
        chance = cards[:, None, None] * cards[None, :, None] * cards[None, None, :]
        return jnp.zeros(self.num_states).at[self.state_index(state, params)].add(chance)

    def outcomes(self, state_index: jax.Array, action: jax.Array, params: BlackjackParams) -> Outcomes:
        """Return what may follow: K = 10, the cards if hit, the dealer's 7 results (and 3 blanks) if not."""
        state = self.state_at(state_index, params)
        total, ace = _add(state.total, state.ace, jnp.arange(1, 11))
        bust = total > 21
        hands = hand_index(jnp.minimum(total, 21), state.dealer, ace)
        hit = Outcomes(
            probability=params.cards / jnp.sum(params.cards),
            next_state=jnp.where(bust, _OVER, hands).astype(jnp.int32),
            reward=jnp.where(bust, -1.0, 0.0),
            terminated=bust,
        )
        stick = Outcomes(
            probability=jnp.pad(params.dealer[state.dealer - 1], (0, 3)),
            next_state=jnp.full(10, _OVER, jnp.int32),
            reward=jnp.pad(self._rewards(state.total, state.natural, params), (0, 3)),
            terminated=jnp.ones(10, bool),
        )
        stays = stick._replace(reward=jnp.zeros(10))
        return jax.tree.map(
            lambda a, b, c: jnp.where(state.over, c, jnp.where(action >= HIT, a, b)), hit, stick, stays
        )

    def ascii(self, state: BlackjackState, params: BlackjackParams) -> str:
        """Return the hand in words."""
        ace = " with a usable ace" if bool(state.ace) else ""
        over = ", over" if bool(state.over) else ""
        return f"player {int(state.total)}{ace}, dealer shows {_name(int(state.dealer))}{over}"

    def frame(self, state: BlackjackState, params: BlackjackParams) -> np.ndarray:
        """Return a picture of the table, `[240, 360, 3]` uint8."""
        from envs import render

        canvas = render.Canvas(360, 240, (0, 3), (0, 2), (35, 105, 75))
        for x, label, text in (
            (0.85, "dealer", _name(int(state.dealer))),
            (2.15, "player", str(int(state.total))),
        ):
            canvas.polygon([(x - 0.42, 0.3), (x + 0.42, 0.3), (x + 0.42, 1.5), (x - 0.42, 1.5)], render.PAPER)
            canvas.text((x, 0.9), text, 54, render.INK)
            canvas.text((x, 1.75), label, 22, render.PAPER)
        if bool(state.ace):
            canvas.text((2.15, 0.45), "usable ace", 16, render.ORANGE)
        if bool(state.over):
            canvas.text((1.5, 0.13), "bust" if int(state.total) > 21 else "stuck", 20, render.PAPER)
        return canvas.array()

    def _rewards(self, total: jax.Array, natural: jax.Array, params: BlackjackParams) -> jax.Array:
        """Return the `[7]` rewards for sticking on `total`, by the dealer's result."""
        reward = jnp.sign(total - jnp.asarray(_DEALER_SCORES)).astype(jnp.float32)
        wins = natural & (jnp.arange(len(_DEALER_SCORES)) != _NATURAL)
        paid = jnp.where(natural & (reward > 0), params.natural_pay, reward)
        return jnp.where(params.natural_wins, jnp.where(wins, 1.0, reward), paid)

    def _observe(self, state: BlackjackState) -> jax.Array:
        if self.observation == "index":
            return self.state_index(state, None)  # type: ignore[arg-type]
        return jnp.stack([state.total, state.dealer, state.ace.astype(jnp.int32)])


def hand_index(total: jax.Array | int, dealer: jax.Array | int, ace: jax.Array | bool) -> jax.Array | int:
    """Return the number of the state with sum `total` (4 to 21), shown card `dealer` (1 to 10) and `ace`.

    >>> hand_index(4, 1, False), hand_index(21, 10, True)
    (0, 359)
    """
    return ((total - 4) * 10 + dealer - 1) * 2 + ace


@jax.jit
def dealer_results(cards: jax.Array) -> jax.Array:
    """Return the `[10, 7]` probabilities of the dealer's result by the shown card.

    Args:
      cards: `[10]`, the probabilities of an ace, 2, ..., 9, and a card of value 10.

    >>> results = dealer_results(jnp.full(10, 0.1))
    >>> results.shape, round(float(results[9, 6]), 6)
    ((10, 7), 0.1)
    """
    cards = cards / jnp.sum(cards)
    values = jnp.arange(1, 11)
    # Hands are (sum 0..26, usable ace); those of 17 and more absorb.
    totals, aces = jnp.meshgrid(jnp.arange(27), jnp.array([False, True]), indexing="ij")
    following, ace = jax.vmap(_add, (None, None, 0))(totals, aces, values)
    drawn = jax.nn.one_hot(jnp.minimum(following, 26) * 2 + ace, 54).reshape(10, 54, 54)
    draw = jnp.tensordot(cards, drawn, axes=1)
    stands = (totals >= 17).reshape(-1, 1)
    draw = jnp.where(stands, jnp.eye(54), draw)

    total, ace = _deal(values[:, None], values[None, :])
    natural = total == 21
    second = jax.nn.one_hot(total * 2 + ace, 54) * (cards[None] * ~natural)[..., None]
    hands = jnp.sum(second, axis=1)
    # A hand grows by at least 1 a card, counted hard, so that 16 cards bring any to an end.
    hands = jax.lax.fori_loop(0, 16, lambda _, hands: hands @ draw, hands)
    sums = hands.reshape(10, 27, 2).sum(-1)
    return jnp.concatenate(
        [
            sums[:, 17:22],
            sums[:, 22:].sum(-1, keepdims=True),
            jnp.sum(natural * cards[None], axis=1, keepdims=True),
        ],
        axis=1,
    )


def _add(total: jax.Array, ace: jax.Array, card: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the sum and whether an ace is usable after one more card."""
    soft = (card == 1) & (total <= 10)
    total = total + jnp.where(soft, 11, card)
    ace = ace | soft
    hardens = ace & (total > 21)
    return total - jnp.where(hardens, 10, 0), ace & ~hardens


def _deal(first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
    zero = jnp.zeros_like(first)
    return _add(*_add(zero, zero > 0, first), second)


def _name(card: int) -> str:
    return "A" if card == 1 else str(card)
