"""Exact solutions of a known `TabularMDP`: its values, its best policies, and where they lead.

Everything but `validate` and `linear_programme` is a pure function of arrays: jit it, vmap it over
models, rewards, discounts and policies. A policy is its probabilities `[S, A]`. The value of a
terminal state is 0 throughout. With gamma = 1 every policy that is evaluated must end, and the solvers
agree where every policy that never ends is worth minus infinity. The solvers `validate` a model that is
concrete, and refuse a result at gamma = 1 that is none; what is traced they trust.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jax.core import Tracer

from envs.tabular import TabularMDP
from jaxrl.config import check_unit_interval
from jaxrl.tabular.arguments import check_discount, check_number
from jaxrl.tabular.linear import solve

Scalar = float | jax.Array


@struct.dataclass
class Solution:
    """The optimum of an MDP.

    Attributes:
      value: `[S]` float32.
      q: `[S, A]` float32, the action values that belong to `value`.
      policy: `[S, A]` float32, the probabilities of a best policy.
      iterations: `[]` int32, how many were done.
      residual: `[]` float32, the largest change of a value in the last one. The error of `value` is at
        most `gamma / (1 - gamma)` times that.
    """

    value: jax.Array
    q: jax.Array
    policy: jax.Array
    iterations: jax.Array
    residual: jax.Array


def q_from_v(mdp: TabularMDP, value: jax.Array, gamma: Scalar) -> jax.Array:
    """Return the action values of one step ahead, `[S, A]`.

        Q(s, a) = R(s, a) + gamma * sum_s' P(s' | s, a) V(s')

    Args:
      mdp: the model.
      value: `[S]` float; entries of terminal states count as 0.
      gamma: `[]` float in [0, 1].

    >>> q_from_v(_chain(), jnp.array([0.0, 2.0, 0.0]), 0.5).tolist()
    [[0.0, 1.0], [1.0, 2.0], [0.0, 0.0]]
    """
    check_discount(gamma)
    following = jnp.where(mdp.terminal, 0.0, value)
    return mdp.R + gamma * jnp.einsum("sat,t->sa", mdp.P, following, precision=lax.Precision.HIGHEST)


def v_from_q(q: jax.Array, policy: jax.Array) -> jax.Array:
    """Return the values under a policy, `[S]`: the mean of `q` `[S, A]` over its actions."""
    return jnp.sum(policy * q, axis=-1)


def uniform_policy(mdp: TabularMDP) -> jax.Array:
    """Return the policy that takes every action alike, `[S, A]`."""
    return jnp.full(mdp.R.shape, 1.0 / mdp.R.shape[-1], jnp.float32)


def greedy(q: jax.Array) -> jax.Array:
    """Return the policy that takes the first action of the highest value, `[S, A]` zeros and ones.

    >>> greedy(jnp.array([[0.0, 1.0], [2.0, 2.0]])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    return jax.nn.one_hot(jnp.argmax(q, axis=-1), q.shape[-1], dtype=jnp.float32)


def soft(q: jax.Array, temperature: Scalar) -> jax.Array:
    """Return the policy of probabilities in proportion to `exp(q / temperature)`, `[S, A]`.

    Raises:
      ValueError: if a concrete `temperature` is not positive.

    >>> [round(p, 4) for p in soft(jnp.array([[0.0, 1.0]]), 1.0)[0].tolist()]
    [0.2689, 0.7311]
    """
    _check_temperature(temperature)
    return jax.nn.softmax(q / temperature, axis=-1)


def epsilon_soft(mdp: TabularMDP, epsilon: Scalar) -> TabularMDP:
    """Return the world that replaces every action by a uniformly random one with probability `epsilon`.

    Its best policy is the best epsilon-greedy policy of `mdp`; its optimal values are the fixed point of
    SARSA and of expected SARSA with that epsilon.

    Raises:
      ValueError: if a concrete `epsilon` is not in [0, 1].

    Source: Sutton and Barto (2018), section 5.4, "moved inside the environment".
    """
    check_unit_interval(epsilon=epsilon)
    return replace(
        mdp,
        P=(1.0 - epsilon) * mdp.P + epsilon * jnp.mean(mdp.P, axis=1, keepdims=True),
        R=(1.0 - epsilon) * mdp.R + epsilon * jnp.mean(mdp.R, axis=1, keepdims=True),
    )


def evaluate(mdp: TabularMDP, policy: jax.Array, gamma: Scalar) -> jax.Array:
    """Return the values of a policy, `[S]`, by solving the linear equations.

        V = R_pi + gamma * P_pi V

    Args:
      mdp: the model.
      policy: `[S, A]` probabilities.
      gamma: `[]` float in [0, 1].

    Raises:
      ValueError: as `validate` does, for what is concrete.

    >>> evaluate(_chain(), uniform_policy(_chain()), 1.0).tolist()
    [2.0, 2.0, 0.0]

    Source: Sutton and Barto (2018), equation 4.4.
    """
    _check(mdp, gamma, policy)
    return solve(_discounted_flow(mdp, policy, gamma), v_from_q(mdp.R, policy))


def evaluate_iteratively(
    mdp: TabularMDP,
    policy: jax.Array,
    gamma: Scalar,
    tolerance: Scalar = 1e-7,
    max_iterations: int = 10_000,
) -> jax.Array:
    """Return the values of a policy, `[S]`, by repeated backups from 0.

    Stops when no value changes by more than `tolerance` times the largest value (at least 1), or after
    `max_iterations`.

    Raises:
      ValueError: as `validate` does, for what is concrete.

    >>> [round(v, 4) for v in evaluate_iteratively(_chain(), uniform_policy(_chain()), 1.0).tolist()]
    [2.0, 2.0, 0.0]

    Source: Sutton and Barto (2018), section 4.1.
    """
    _check(mdp, gamma, policy)

    def backup(value):
        return v_from_q(q_from_v(mdp, value, gamma), policy)

    return _iterate(backup, jnp.zeros_like(mdp.R[:, 0]), tolerance, max_iterations)[0]


def value_iteration(
    mdp: TabularMDP, gamma: Scalar, tolerance: Scalar = 1e-7, max_iterations: int = 10_000
) -> Solution:
    """Return the optimum by repeated optimal backups from 0.

        V(s) <- max_a Q(s, a)

    Args:
      mdp: the model.
      gamma: `[]` float in [0, 1].
      tolerance: stop when no value changes by more than that times the largest value (at least 1).
      max_iterations: stop after so many in any case.

    Raises:
      ValueError: as `validate` does, and if gamma is 1 and the values still change, for what is concrete.

    >>> value_iteration(_chain(), 0.5).value.tolist()
    [1.0, 2.0, 0.0]

    Source: Sutton and Barto (2018), section 4.4.
    """
    _check(mdp, gamma)

    def backup(value):
        return jnp.max(q_from_v(mdp, value, gamma), axis=-1)

    value, iterations, residual = _iterate(backup, jnp.zeros_like(mdp.R[:, 0]), tolerance, max_iterations)
    _refuse_endless(mdp, gamma, value, residual, tolerance)
    q = q_from_v(mdp, value, gamma)
    return Solution(value, q, greedy(q), iterations, residual)


def soft_value_iteration(
    mdp: TabularMDP,
    gamma: Scalar,
    temperature: Scalar,
    tolerance: Scalar = 1e-7,
    max_iterations: int = 10_000,
) -> Solution:
    """Return the optimum of reward plus `temperature` times the policy's entropy.

        V(s) <- temperature * log sum_a exp(Q(s, a) / temperature)

    The policy is `soft(q, temperature)`.

    Args:
      mdp: the model.
      gamma: `[]` float in [0, 1].
      temperature: `[]` float, positive; towards 0 the solution becomes that of `value_iteration`.
      tolerance: as in `value_iteration`.
      max_iterations: as in `value_iteration`.

    Raises:
      ValueError: as `value_iteration` does, or if `temperature` is not positive, for what is concrete.

    Source: Haarnoja et al. (2017), https://arxiv.org/abs/1702.08165, theorem 2.
    """
    _check(mdp, gamma)
    _check_temperature(temperature)

    def backup(value):
        q = q_from_v(mdp, value, gamma)
        smooth = temperature * jax.nn.logsumexp(q / temperature, axis=-1)
        return jnp.where(mdp.terminal, 0.0, smooth)

    value, iterations, residual = _iterate(backup, jnp.zeros_like(mdp.R[:, 0]), tolerance, max_iterations)
    _refuse_endless(mdp, gamma, value, residual, tolerance)
    q = q_from_v(mdp, value, gamma)
    return Solution(value, q, soft(q, temperature), iterations, residual)


def policy_iteration(
    mdp: TabularMDP, gamma: Scalar, tolerance: Scalar = 1e-6, max_iterations: int = 100
) -> Solution:
    """Return the optimum by evaluating exactly and improving in turn, at gamma < 1 from the uniform policy.

    A choice is kept while none is better by more than `tolerance` times the largest value (at least 1),
    so that ties do not go round; ends when the policy stays. With gamma = 1 every policy on the way ends:
    the first takes all actions that can lead nearer to an end, and where an improved one would not end, the
    choices stay. The optimum is then that of the policies that end; its probabilities need not be 0 and 1.

    Raises:
      ValueError: as `validate` does; with gamma = 1, if the result does not solve the optimality equation
        or if never to end is worth more (0) than it. For what is concrete.

    >>> policy_iteration(_chain(), 0.5).value.tolist()
    [1.0, 2.0, 0.0]

    Source: Howard (1960); Sutton and Barto (2018), section 4.3.
    """
    _check(mdp, gamma)
    _check_tolerance(tolerance)
    undiscounted = jnp.asarray(gamma, jnp.float32) == 1.0

    def improve(loop):
        policy, before, iterations, _, _ = loop
        value = evaluate(mdp, policy, gamma)
        q = q_from_v(mdp, value, gamma)
        slack = tolerance * jnp.maximum(jnp.max(jnp.abs(value)), 1.0)
        kept = v_from_q(q, policy) >= jnp.max(q, axis=-1) - slack
        kept &= undiscounted | (jnp.max(policy, axis=-1) == 1.0)
        improved = jnp.where(kept[:, None], policy, greedy(q))
        # The policy before ends from everywhere; so does the improved one, if it is used only where it ends.
        endless = undiscounted & ~_ends(mdp, improved)
        improved = jnp.where(endless[:, None], policy, improved)
        residual = jnp.max(jnp.abs(value - before))
        return improved, value, iterations + 1, residual, jnp.all(improved == policy)

    zeros = jnp.zeros_like(mdp.R[:, 0])
    start = jnp.where(undiscounted, _policy_that_ends(mdp), uniform_policy(mdp))
    first = (start, zeros, jnp.int32(0), jnp.float32(jnp.inf), jnp.zeros((), bool))
    policy, value, iterations, residual, _ = lax.while_loop(
        lambda loop: ~loop[-1] & (loop[2] < max_iterations), improve, first
    )
    solution = Solution(value, q_from_v(mdp, value, gamma), policy, iterations, residual)
    _refuse_endless(mdp, gamma, value, jnp.max(jnp.abs(jnp.max(solution.q, axis=-1) - value)), 1e-4)
    return solution


def modified_policy_iteration(
    mdp: TabularMDP,
    gamma: Scalar,
    sweeps: int = 10,
    tolerance: Scalar = 1e-7,
    max_iterations: int = 10_000,
) -> Solution:
    """Return the optimum by improving the policy and backing it up `sweeps` times, in turn.

    One sweep is value iteration, infinitely many are policy iteration.

    Raises:
      ValueError: if `sweeps` is below 1, and as `value_iteration` does, for what is concrete.

    >>> modified_policy_iteration(_chain(), 0.5).value.tolist()
    [1.0, 2.0, 0.0]

    Source: Puterman and Shin (1978), "Modified policy iteration algorithms for discounted Markov
    decision problems".
    """
    _check(mdp, gamma)
    if sweeps < 1:
        raise ValueError(f"`sweeps` must be at least 1, got {sweeps}; 1 is value iteration")

    def backup(value):
        q = q_from_v(mdp, value, gamma)
        policy = greedy(q)

        def sweep(_, value):
            return v_from_q(q_from_v(mdp, value, gamma), policy)

        return lax.fori_loop(0, sweeps - 1, sweep, jnp.max(q, axis=-1))

    # From a value that no return lies below, every backup improves on the one before.
    lowest = jnp.minimum(jnp.min(mdp.R), 0.0) / jnp.where(gamma < 1.0, 1.0 - gamma, jnp.inf)
    first = jnp.where(mdp.terminal, 0.0, lowest)
    value, iterations, residual = _iterate(backup, first, tolerance, max_iterations)
    _refuse_endless(mdp, gamma, value, residual, tolerance)
    q = q_from_v(mdp, value, gamma)
    return Solution(value, q, greedy(q), iterations, residual)


def backward_induction(
    mdp: TabularMDP, horizon: int, gamma: Scalar = 1.0, final_value: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Return the optimum of an episode of `horizon` steps: `(value [H + 1, S], q [H, S, A])`, by time.

    `value[0]` is worth at the start, `value[H]` is `final_value`; `greedy(q)` are the policies `[H, S, A]`.

    Args:
      mdp: the model.
      horizon: H, at least 1.
      gamma: `[]` float in [0, 1].
      final_value: `[S]` float, what the state after the last step is worth; 0 by default.

    Raises:
      ValueError: if `horizon` is no integer from 1 or `final_value` is not finite, and as `validate`
        does, for what is concrete.

    >>> value, q = backward_induction(_chain(), horizon=1)
    >>> value.tolist()
    [[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]

    Source: Puterman (1994), Markov Decision Processes, section 4.5.
    """
    check_discount(gamma)
    _check(mdp, 0.0)
    if not isinstance(horizon, int | np.integer) or horizon < 1:
        raise ValueError(f"`horizon` must be at least 1 step, an integer, got {horizon}")
    last = jnp.zeros_like(mdp.R[:, 0]) if final_value is None else jnp.asarray(final_value, mdp.R.dtype)
    if last.shape != mdp.terminal.shape:
        raise ValueError(f"`final_value` must be [S] = {mdp.terminal.shape}, got shape {last.shape}")
    if not isinstance(last, Tracer) and not np.isfinite(last).all():
        raise ValueError(f"`final_value` must be finite, got {last}")

    def backup(value, _):
        q = q_from_v(mdp, value, gamma)
        return jnp.max(q, axis=-1), (jnp.max(q, axis=-1), q)

    _, (value, q) = lax.scan(backup, last, length=horizon, reverse=True)
    return jnp.concatenate([value, last[None]]), q


def occupancy(mdp: TabularMDP, policy: jax.Array, gamma: Scalar, start: jax.Array | None = None) -> jax.Array:
    """Return how often, discounted, a policy takes each action in each state of an episode, `[S, A]`.

        d(s, a) = sum_t gamma^t P(s_t = s, a_t = a)

    The policy's return is `sum(d * R)`. Terminal states count 0; without them the sum is 1 / (1 - gamma).

    Args:
      mdp: the model.
      policy: `[S, A]` probabilities.
      gamma: `[]` float in [0, 1].
      start: `[S]` probabilities of the first state; `mdp.start` by default.

    Raises:
      ValueError: as `validate` does, for what is concrete.

    >>> occupancy(_chain(), greedy(jnp.array([[0.0, 1.0]] * 3)), 0.5).tolist()
    [[0.0, 1.0], [0.0, 0.5], [0.0, 0.0]]

    Source: Puterman (1994), Markov Decision Processes, section 6.9.
    """
    if start is not None:
        mdp = replace(mdp, start=jnp.asarray(start, mdp.R.dtype))
    _check(mdp, gamma, policy)
    first = jnp.where(mdp.terminal, 0.0, mdp.start)
    visits = solve(_discounted_flow(mdp, policy, gamma).T, first)
    return jnp.where(mdp.terminal, 0.0, visits)[:, None] * policy


def linear_programme(
    mdp: TabularMDP, gamma: float, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the optimum `(value [S], occupancy [S, A])` in float64, by linear programming on the host.

        minimise sum_s w(s) V(s)    subject to    V(s) >= R(s, a) + gamma * sum_s' P(s' | s, a) V(s')

    The occupancy is the dual solution: that of a best policy which starts in s with weight w(s). An
    independent check of the other solvers; imports SciPy.

    With gamma = 1 the value is that of the best policy that ends; it is the optimum where every policy that
    never ends is worth minus infinity, or no more than ending. A loop that pays more than 0 is refused as
    without bound; one that pays 0 is not, even where to stay in it would be better than any end.

    Args:
      mdp: one model, concrete.
      gamma: in [0, 1].
      weights: `[S]` positive weights w; 1 / S each by default.

    Raises:
      ValueError: as `validate` does, or if the programme has no optimum (a value without bound).

    >>> linear_programme(_chain(), 0.5)[0].tolist()
    [1.0, 2.0, 0.0]

    Source: d'Epenoux (1963); Puterman (1994), section 6.9.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    _check(mdp, gamma)
    P, R, terminal = (np.asarray(x) for x in (mdp.P, mdp.R, mdp.terminal))
    num_states, num_actions = R.shape
    states = np.flatnonzero(~terminal)
    value, visits = np.zeros(num_states), np.zeros((num_states, num_actions))
    if len(states) == 0:
        return value, visits
    w = np.full(num_states, 1.0 / num_states) if weights is None else np.asarray(weights, np.float64)
    flow = gamma * P[states][:, :, states].astype(np.float64) - np.eye(len(states))[:, None, :]
    found = linprog(
        w[states],
        A_ub=csr_array(flow.reshape(-1, len(states))),
        b_ub=-R[states].astype(np.float64).reshape(-1),
        bounds=(None, None),
        method="highs",
    )
    if found.status != 0:
        raise ValueError(f"`mdp` must have a finite optimum at gamma = {gamma}, got: {found.message}")
    value[states] = found.x
    visits[states] = -found.ineqlin.marginals.reshape(len(states), num_actions)
    return value, visits


def validate(
    mdp: TabularMDP, gamma: Scalar = 0.99, tolerance: float = 1e-5, policy: jax.Array | None = None
) -> None:
    """Check on the host that `mdp` is a Markov decision process in which every episode can end at `gamma` 1.

    With gamma below 1 all values are then finite. With gamma = 1 those of policies that end are (`policy`,
    where it is given); the optimal ones need not be, if a loop pays 0 or more.

    Args:
      mdp: one concrete model.
      gamma: `[]` float.
      tolerance: by how much a row of probabilities may miss 1.
      policy: `[S, A]` concrete probabilities, checked too; what it does in terminal states does not matter.

    Raises:
      ValueError: naming the row and the value: for shapes that do not fit, numbers that are not finite,
        negative probabilities, rows that do not sum to 1, terminal states that are left or pay, a `gamma`
        outside [0, 1], or, with gamma = 1, a state from which no action (of the policy) leads to an end.

    >>> validate(_chain(), 1.0)
    >>> validate(_chain().replace(R=jnp.full((3, 2), jnp.nan)))
    Traceback (most recent call last):
    ValueError: `mdp.R` must be finite, got nan for state 0, action 0
    """
    check_discount(gamma)
    P, R, terminal, start = (np.asarray(x) for x in (mdp.P, mdp.R, mdp.terminal, mdp.start))
    if R.ndim != 2 or P.shape != (*R.shape, R.shape[0]):
        raise ValueError(f"`mdp.P` must be [S, A, S] and `mdp.R` [S, A], got shapes {P.shape} and {R.shape}")
    for name, array in (("terminal", terminal), ("start", start)):
        if array.shape != (R.shape[0],):
            raise ValueError(f"`mdp.{name}` must be [S] = ({R.shape[0]},), got shape {array.shape}")

    def refuse(name: str, rule: str, wrong: np.ndarray, values: np.ndarray) -> None:
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            labels = ("state", "action", "next state")
            where = ", ".join(f"{label} {i}" for label, i in zip(labels, at, strict=False))
            raise ValueError(f"`{name}` must {rule}, got {values[at]:.6g} for {where}")

    for name, array in (("mdp.P", P), ("mdp.R", R), ("mdp.start", start)):
        refuse(name, "be finite", ~np.isfinite(array), array)
    refuse("mdp.P", "not be negative", P < 0, P)
    refuse("mdp.start", "not be negative", start < 0, start)
    total = P.sum(axis=-1, dtype=np.float64)
    refuse("mdp.P", "have rows that sum to 1", np.abs(total - 1) > tolerance, total)
    if abs(start.sum(dtype=np.float64) - 1) > tolerance:
        raise ValueError(f"`mdp.start` must sum to 1, got {start.sum():.6g}")
    stay = P[np.arange(len(P)), :, np.arange(len(P))]
    left = terminal[:, None] & (np.abs(stay - 1) > tolerance)
    refuse("mdp.P", "keep a terminal state in itself with probability 1", left, stay)
    refuse("mdp.R", "be 0 in a terminal state", terminal[:, None] & (R != 0), R)
    taken = np.ones(R.shape) if policy is None else np.asarray(policy)
    if taken.shape != R.shape:
        raise ValueError(f"`policy` must be [S, A] = {R.shape}, got shape {taken.shape}")
    refuse("policy", "hold probabilities", ~terminal[:, None] & ~(taken >= 0), taken)
    chosen = taken.sum(axis=-1, dtype=np.float64)
    if policy is not None:
        refuse("policy", "have rows that sum to 1", ~terminal & ~(np.abs(chosen - 1) <= tolerance), chosen)
    if np.asarray(gamma) == 1.0:
        leads = ((P > 0) & (taken > 0)[..., None]).any(axis=1)
        ends, before = terminal.copy(), np.zeros_like(terminal)
        while np.any(ends != before):
            before, ends = ends, ends | (leads & ends).any(axis=1)
        if not ends.all():
            absorbing = ~ends & np.all(stay == 1, axis=1)
            if absorbing.any():
                state, kind = np.flatnonzero(absorbing)[0], "is absorbing without being terminal"
            else:
                state = np.flatnonzero(~ends)[0]
                kind = "leads to no terminal state" + ("" if policy is None else " under `policy`")
            raise ValueError(
                f"`gamma` must be less than 1 where an episode may never end, got 1.0 and state {state}, "
                f"which {kind}"
            )


def _discounted_flow(mdp: TabularMDP, policy: jax.Array, gamma: Scalar) -> jax.Array:
    """Return `I - gamma * P_pi`, `[S, S]`, with nothing flowing on from terminal states."""
    flow = jnp.einsum("sa,sat->st", policy, mdp.P, precision=lax.Precision.HIGHEST)
    return jnp.eye(flow.shape[0], dtype=flow.dtype) - gamma * jnp.where(mdp.terminal, 0.0, flow)


def _iterate(backup, value, tolerance, max_iterations):
    """Return `(value, iterations, residual)` once `backup` changes no value by more than the tolerance."""
    _check_tolerance(tolerance)

    def unfinished(loop):
        value, iterations, residual = loop
        scale = jnp.maximum(jnp.max(jnp.abs(value)), 1.0)
        return (residual > tolerance * scale) & (iterations < max_iterations)

    def body(loop):
        value, iterations, _ = loop
        new = backup(value)
        return new, iterations + 1, jnp.max(jnp.abs(new - value))

    return lax.while_loop(unfinished, body, (value, jnp.int32(0), jnp.float32(jnp.inf)))


def _check(mdp: TabularMDP, gamma: Scalar, policy: jax.Array | None = None) -> None:
    """Check on the host what is concrete of a model, a discount and a policy."""
    check_discount(gamma)
    if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((mdp, policy))):
        validate(mdp, 0.0 if isinstance(gamma, Tracer) else gamma, policy=policy)


def _check_tolerance(tolerance: Scalar) -> None:
    check_number("tolerance", tolerance, "at least 0", lambda x: x >= 0)


def _check_temperature(temperature: Scalar) -> None:
    check_number("temperature", temperature, "greater than 0 (use value_iteration for 0)", lambda x: x > 0)


def _ends(mdp: TabularMDP, policy: jax.Array) -> jax.Array:
    """Return from where `policy` can reach a terminal state, `[S]` bool."""
    leads = jnp.einsum("sa,sat->st", policy, mdp.P) > 0

    def extend(loop):
        ends, _ = loop
        more = ends | jnp.any(leads & ends[None], axis=1)
        return more, jnp.any(more != ends)

    return lax.while_loop(lambda loop: loop[1], extend, (mdp.terminal, jnp.ones((), bool)))[0]


def _policy_that_ends(mdp: TabularMDP) -> jax.Array:
    """Return the policy that takes alike all actions that can lead a step nearer to an end, `[S, A]`."""
    possible = mdp.P > 0

    def extend(loop):
        ends, policy, _ = loop
        nearer = jnp.any(possible & ends[None, None], axis=-1)
        new = ~ends & jnp.any(nearer, axis=-1)
        taken = nearer / jnp.maximum(jnp.sum(nearer, axis=-1, keepdims=True), 1)
        return ends | new, jnp.where(new[:, None], taken, policy), jnp.any(new)

    first = (jnp.asarray(mdp.terminal), uniform_policy(mdp), jnp.ones((), bool))
    return lax.while_loop(lambda loop: loop[-1], extend, first)[1]


def _refuse_endless(mdp: TabularMDP, gamma, value, residual, tolerance) -> None:
    """Raise for a concrete solution at gamma = 1 that did not settle, or is below that of never ending."""
    leaves = jax.tree.leaves((mdp, gamma, value, residual, tolerance))
    if any(isinstance(leaf, Tracer) for leaf in leaves) or np.asarray(gamma) != 1.0:
        return
    P, R, terminal, found = (np.asarray(x) for x in (mdp.P, mdp.R, mdp.terminal, value))
    # float32 cannot settle closer than this.
    slack = max(tolerance, 1e-6) * max(np.abs(found).max(), 1.0)
    # The states that can be stayed among for ever without a loss.
    stays, before = ~terminal, terminal
    while np.any(stays != before):
        before, stays = stays, stays & ((R >= 0) & ~((P > 0) & ~stays).any(axis=-1)).any(axis=-1)
    below = stays & (found < -slack)
    if not (np.isfinite(found).all() and residual <= slack) or below.any():
        got = (
            f"state {np.flatnonzero(below)[0]}, which never ending is better for"
            if below.any()
            else (f"values that still change by {float(residual):.3g}")
        )
        raise ValueError(
            "`gamma` = 1 needs that every policy that never ends is worth minus infinity, got "
            f"{got}; use gamma < 1 (or more `max_iterations`, if the values do settle)"
        )


def _chain() -> TabularMDP:
    """Return the example of the docstrings: 0 -> 1 -> end by action 1, which pays 2; action 0 stays."""
    P = np.zeros((3, 2, 3), np.float32)
    P[[0, 1, 2], 0, [0, 1, 2]] = 1.0
    P[[0, 1, 2], 1, [1, 2, 2]] = 1.0
    R = np.zeros((3, 2), np.float32)
    R[1, 1] = 2.0
    return TabularMDP(
        P=jnp.asarray(P),
        R=jnp.asarray(R),
        terminal=jnp.array([False, False, True]),
        start=jnp.array([1.0, 0.0, 0.0]),
    )
