"""Rigid bodies in a plane, moved by the coordinates of their joints: accelerations, energy, integration.

A robot says where its bodies are, `place(q) -> [L, 3]` (x, z and angle of each centre of mass), and its
equations of motion follow by differentiation:

    M(q) qdd = f + sum_l J_l^T W_l (g - dJ_l/dt qd),    M = diag(armature) + sum_l J_l^T W_l J_l

with J_l = d place_l / dq, W_l = diag(m_l, m_l, I_l) and g = (0, -gravity, 0).

Source: Featherstone (2008), Rigid Body Dynamics Algorithms, section 2.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

Place = Callable[[jax.Array], jax.Array]


def acceleration(
    place: Place,
    mass: jax.Array,
    inertia: jax.Array,
    gravity: jax.Array,
    armature: jax.Array,
    q: jax.Array,
    qd: jax.Array,
    force: jax.Array,
) -> jax.Array:
    """Return the accelerations `[D]` of the joints.

    Args:
      place: `[D] -> [L, 3]`, x, z and angle of each body's centre of mass.
      mass: `[L]` kg.
      inertia: `[L]` kg m^2, about the centre of mass.
      gravity: `[]` m/s^2, downwards.
      armature: `[]` or `[D]` kg m^2 (kg for a slide), what a joint's own motor adds to its inertia.
      q: `[D]` coordinates.
      qd: `[D]` velocities.
      force: `[D]` generalised forces of everything but gravity and inertia.

    >>> rod = lambda q: jnp.array([[0.5 * jnp.sin(q[0]), -0.5 * jnp.cos(q[0]), q[0]]])
    >>> ones, zero = jnp.ones(1), jnp.zeros(1)
    >>> float(acceleration(rod, ones, ones / 12, 9.81, 0.0, jnp.array([jnp.pi / 2]), zero, zero)[0])
    -14.715...
    """
    chex.assert_equal_shape([q, qd, force])
    chex.assert_equal_shape([mass, inertia])

    def velocity(q: jax.Array) -> jax.Array:
        return jax.jvp(place, (q,), (qd,))[1]

    jacobian = jax.jacfwd(place)(q)
    bias = jax.jvp(velocity, (q,), (qd,))[1]
    weight = jnp.stack([mass, mass, inertia], axis=-1)
    fall = jnp.stack([jnp.zeros(()), -jnp.asarray(gravity, jnp.float32), jnp.zeros(())])[None] - bias
    matrix = jnp.einsum("lcd,lc,lce->de", jacobian, weight, jacobian)
    matrix = matrix + jnp.diag(jnp.broadcast_to(armature, q.shape))
    return solve(matrix, force + jnp.einsum("lcd,lc,lc->d", jacobian, weight, fall))


def energy(
    place: Place, mass: jax.Array, inertia: jax.Array, gravity: jax.Array, q: jax.Array, qd: jax.Array
) -> jax.Array:
    """Return the kinetic and potential energy in J, `[]`; arguments as for `acceleration`."""
    where, speed = jax.jvp(place, (q,), (qd,))
    weight = jnp.stack([mass, mass, inertia], axis=-1)
    return 0.5 * jnp.sum(weight * jnp.square(speed)) + gravity * jnp.sum(mass * where[:, 1])


def solve(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """Return x with `matrix @ x = vector`, for a small symmetric positive definite matrix `[D, D]`.

    Gauss's elimination without pivots, written out: a call of LAPACK an environment would be slower, and a
    batch of them can block all threads of XLA's pool.

    >>> solve(jnp.array([[2.0, 1.0], [1.0, 3.0]]), jnp.array([3.0, 4.0])).tolist()
    [1.0, 1.0]
    """
    size = len(vector)
    rows = [jnp.append(matrix[i], vector[i]) for i in range(size)]
    for i in range(size):
        for j in range(i + 1, size):
            rows[j] = rows[j] - rows[j][i] / rows[i][i] * rows[i]
    x: list[jax.Array] = []
    for i in reversed(range(size)):
        known = sum((rows[i][size - 1 - k] * value for k, value in enumerate(x)), jnp.zeros(()))
        x.append((rows[i][size] - known) / rows[i][i])
    return jnp.stack(x[::-1])


def runge_kutta(derivative: Callable[[jax.Array], jax.Array], y: jax.Array, h: jax.Array) -> jax.Array:
    """Return y after a time h of `dy/dt = derivative(y)`, by the classic method of fourth order.

    >>> round(float(runge_kutta(lambda y: -y, jnp.float32(1.0), jnp.float32(0.1))), 5)  # exp(-0.1)
    0.90484
    """
    k1 = derivative(y)
    k2 = derivative(y + h / 2 * k1)
    k3 = derivative(y + h / 2 * k2)
    k4 = derivative(y + h * k3)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
