"""What adapters of simulators share: which constants a model takes."""

import jax.numpy as jnp
import numpy as np
import pytest

from envs.adapters.simulator import SystemParams, check_system, replaced

# As MuJoCo has them, the world first.
MODEL = {
    "opt.timestep": jnp.float32(0.01),
    "body_mass": jnp.array([0.0, 2.0]),
    "body_inertia": jnp.array([[0.0, 0.0, 0.0], [0.1, 0.2, 0.3]]),
    "vel_damping": jnp.float32(-1.0),
    "geom_friction": jnp.array([[1.0, 0.1, 0.1]]),
    "actuator_gear": jnp.array([-1.0]),
}


def check(**changed):
    named = {name.replace("__", "."): jnp.asarray(x, jnp.float32) for name, x in changed.items()}
    check_system(SystemParams(sys=MODEL | named, max_steps=jnp.int32(10)), MODEL)


def test_what_a_model_has_is_taken():
    check()
    check(body_mass=[0.0, 9.0], vel_damping=2.0, actuator_gear=[3.0], geom_friction=[[0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"opt__timestep": -0.01}, "`opt.timestep` must be positive and finite, got -0.01"),
        ({"body_mass": [0.0, 0.0]}, "`body_mass` must be positive and finite, got 0 at index 1"),
        ({"body_mass": [-1.0, 2.0]}, "`body_mass` must be positive and finite, got -1 at index 0"),
        (
            {"body_inertia": [[0.0, 0.0, 0.0], [0.1, 0.2, -0.3]]},
            r"`body_inertia` must be positive and finite, got -0.3 at index \(1, 2\)",
        ),
        (
            {"geom_friction": [[1.0, -0.1, 0.1]]},
            r"`geom_friction` must be at least 0 and finite, got -0.1 at index \(0, 1\)",
        ),
        ({"vel_damping": np.inf}, "`vel_damping` must be finite, got inf"),
        ({"actuator_gear": 1.0}, r"`actuator_gear` must have shape \(1,\), .* got \(\)"),
        ({"body_mas": [0.0, 1.0]}, "unknown field of `params.sys` 'body_mas'; did you mean 'body_mass'.*"),
    ],
)
def test_what_has_no_physics_or_no_place_is_refused_by_name(changed, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        check(**changed)


def test_an_unknown_leaf_is_not_passed_over():
    assert replaced({"body_mass": 1.0, "n": 2}, {"body_mass": 3.0}) == {"body_mass": 3.0, "n": 2}
    with pytest.raises(ValueError, match="unknown field of the model 'body_mas'; did you mean 'body_mass'"):
        replaced({"body_mass": 1.0, "n": 2}, {"body_mas": 3.0})
