"""The initialiser's algebra and distribution, the encoders, and networks against NumPy."""

import os
import subprocess
import sys
import textwrap

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats as scipy_stats

from envs.spaces import Box, Dict, Discrete, MultiDiscrete, flat_size
from jaxrl import nets
from jaxrl.nets.cnn import Convolution
from jaxrl.nets.recurrent import LSTMCell

SHAPES = [(1, 1), (1, 5), (5, 1), (4, 4), (64, 64), (64, 3), (3, 64), (33, 32), (9, 8)]


@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonal_has_orthonormal_rows_or_columns(shape):
    kernels = jax.jit(jax.vmap(lambda key: nets.orthogonal(2.0)(key, shape)))(
        jax.random.split(jax.random.key(0), 50)
    )
    kernels = np.asarray(kernels, np.float64)
    tall = kernels if shape[0] >= shape[1] else kernels.transpose(0, 2, 1)
    gram = tall.transpose(0, 2, 1) @ tall
    assert np.abs(gram - 4.0 * np.eye(min(shape))).max() < 2e-5
    assert len(np.unique(kernels.round(4), axis=0)) == (2 if shape == (1, 1) else 50)


@pytest.mark.parametrize(("shape", "axis"), [((3, 3, 4, 16), -1), ((3, 3, 4, 64), -1), ((8, 2, 5), 0)])
def test_orthogonal_takes_a_convolutions_kernel_as_jax_does(shape, axis):
    ours = nets.orthogonal(1.5, axis)(jax.random.key(0), shape)
    theirs = jax.nn.initializers.orthogonal(1.5, axis)(jax.random.key(0), shape)

    def gram(kernel):
        matrix = np.moveaxis(np.asarray(kernel, np.float64), axis, -1).reshape(-1, shape[axis])
        return matrix.T @ matrix if len(matrix) >= shape[axis] else matrix @ matrix.T

    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    np.testing.assert_allclose(gram(ours), gram(theirs), atol=1e-5)


def test_orthogonal_survives_bad_conditioning():
    """In one draw of a thousand a square Gaussian has a least singular value a thousandth of the typical."""
    from jaxrl.nets.initializers import _polar_factor

    u, _, vt = np.linalg.svd(np.random.default_rng(0).normal(size=(16, 16)))
    for least in (1e-2, 1e-4, 1e-6):
        singular = np.geomspace(1.0, least, 16)
        factor = np.asarray(_polar_factor(jnp.asarray((u * singular) @ vt, jnp.float32)), np.float64)
        assert np.abs(factor.T @ factor - np.eye(16)).max() < 1e-5
        if least > 1e-5:
            np.testing.assert_allclose(factor, u @ vt, atol=1e-6 / least)


def test_orthogonal_is_haar_distributed():
    """Every entry of a Haar matrix follows the law of a coordinate on the sphere; signs are even."""
    n = 5
    kernels = jax.jit(jax.vmap(lambda key: nets.orthogonal()(key, (n, n))))(
        jax.random.split(jax.random.key(1), 4000)
    )
    law = scipy_stats.beta(0.5, (n - 1) / 2)
    for i, j in ((0, 0), (0, 4), (4, 4), (2, 1)):
        entry = np.asarray(kernels[:, i, j])
        assert scipy_stats.kstest(entry**2, law.cdf).pvalue > 1e-3
        assert abs((entry > 0).mean() - 0.5) < 0.04
    assert abs((np.linalg.det(np.asarray(kernels)) > 0).mean() - 0.5) < 0.04


def test_orthogonal_dtypes_empty_shapes_and_vectors():
    initializer = nets.orthogonal()
    assert initializer(jax.random.key(0), (4, 3), jnp.bfloat16).dtype == jnp.bfloat16
    kernel = initializer(jax.random.key(0), (4, 3))
    assert kernel.dtype == jnp.float32 and not kernel.weak_type
    assert initializer(jax.random.key(0), (0, 3)).shape == (0, 3)
    with pytest.raises(ValueError, match=r"`shape` must have at least two axes, got \(3,\)"):
        initializer(jax.random.key(0), (3,))


def test_vmapped_initialisation_is_made_of_plain_operations():
    def program(initializer):
        keys = jax.random.split(jax.random.key(0), 4)
        return jax.jit(jax.vmap(lambda key: initializer(key, (4, 4)))).lower(keys).as_text()

    assert "custom_call" not in program(nets.orthogonal())
    assert "custom_call @lapack_sgeqrf" in program(jax.nn.initializers.orthogonal())


@pytest.mark.multidevice
def test_vmapped_initialisation_over_seeds_and_two_host_devices_does_not_deadlock():
    """With LAPACK's QR this blocks every worker of XLA's pool on a machine of two cores, nearly always."""
    code = """
    import jax, jax.numpy as jnp
    from jax.sharding import NamedSharding, PartitionSpec
    from jaxrl import nets

    assert len(jax.devices()) == 2
    network = nets.ActorCritic(size=4, hidden_sizes=(64, 64, 64))
    over_seeds = NamedSharding(jax.make_mesh((2,), ("seed",)), PartitionSpec("seed"))
    init = jax.jit(jax.vmap(lambda key: network.init(key, jnp.zeros(64))), out_shardings=over_seeds)
    for repeat in range(10):
        keys = jax.device_put(jax.random.split(jax.random.key(repeat), 8), over_seeds)
        params = jax.block_until_ready(init(keys))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    print("initialised")
    """
    environment = {
        **{name: value for name, value in os.environ.items() if name != "NPROC"},
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "initialised", done.stderr


SPACES = [
    Discrete(4),
    MultiDiscrete((2, 3)),
    Box(-1.0, 1.0, (3,)),
    Box(0.0, 1.0),
    Box(0, 1, (2, 3, 2), jnp.bool_),
    Box(0, 255, (2, 2, 1), jnp.uint8),
    Box(-5, 5, (2,), jnp.int32),
    Dict({"b": Discrete(2), "a": Box(0, 1, (2, 2)), "c": Dict({"d": MultiDiscrete((2, 2))})}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_encode_gives_float32_of_the_promised_shape_for_any_batch(space):
    keys = jax.random.split(jax.random.key(0), 6)
    batch = jax.vmap(space.sample)(keys)
    single = jax.vmap(lambda obs: nets.encode(obs, space))(batch)
    assert single.dtype == jnp.float32 and not single.weak_type
    assert single.shape == (6, *nets.encoded_shape(space)) == (6, flat_size(space))
    np.testing.assert_array_equal(nets.encode(batch, space), single)
    nested = jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), batch)
    np.testing.assert_array_equal(nets.encode(nested, space).reshape(6, -1), single)


def test_encode_hand_values():
    assert nets.encode(jnp.int32(1), Discrete(3)).tolist() == [0.0, 1.0, 0.0]
    assert nets.encode(jnp.array([1, 0]), MultiDiscrete((2, 3))).tolist() == [0.0, 1.0, 1.0, 0.0, 0.0]
    assert nets.encode(jnp.array([True, False]), Box(0, 1, (2,), jnp.bool_)).tolist() == [1.0, 0.0]
    assert nets.encode(jnp.array([0, 255], jnp.uint8), Box(0, 255, (2,), jnp.uint8)).tolist() == [0.0, 1.0]
    assert nets.encode(jnp.array([0, 7], jnp.uint8), Box(0, 9, (2,), jnp.uint8)).tolist() == [0.0, 7.0]
    assert nets.encode(jnp.float32(0.5), Box(0.0, 1.0)).tolist() == [0.5]
    joined = Dict({"b": Discrete(2), "a": Box(0, 9, (1, 2), jnp.int32)})
    assert nets.encode({"b": jnp.int32(1), "a": jnp.array([[5, 6]])}, joined).tolist() == [5.0, 6.0, 0.0, 1.0]


def test_encode_keeps_images_when_asked_and_refuses_other_shapes():
    space = Box(0, 1, (10, 10, 4), jnp.bool_)
    assert nets.encode(jnp.zeros((7, 10, 10, 4), bool), space, flatten=False).shape == (7, 10, 10, 4)
    assert nets.encoded_shape(space, flatten=False) == (10, 10, 4)
    assert nets.encoded_shape(space) == (400,)
    with pytest.raises(
        ValueError, match=r"`obs` must end with the space's shape \(10, 10, 4\), got \(10, 4\)"
    ):
        nets.encode(jnp.zeros((10, 4), bool), space)
    with pytest.raises(TypeError, match="`space` must be"):
        nets.encode(jnp.zeros(2), "a space")


def test_actor_critic_matches_numpy():
    network = nets.ActorCritic(size=3, hidden_sizes=(8, 5), activation="tanh", has_scale=True)
    x = jax.random.normal(jax.random.key(1), (6, 4))
    variables = jax.jit(network.init)(jax.random.key(0), x[0])
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])

    def tower(name):
        hidden = np.asarray(x, np.float64)
        for i in range(2):
            layer = params[f"{name}_torso"][f"Dense_{i}"]
            hidden = np.tanh(hidden @ layer["kernel"] + layer["bias"])
        layer = params[f"{name}_head"]["Dense_0"]
        return hidden @ layer["kernel"] + layer["bias"]

    log_std = np.broadcast_to(params["actor_head"]["log_std"], (6, 3))
    outputs, value = network.apply(variables, x)
    np.testing.assert_allclose(outputs, np.concatenate([tower("actor"), log_std], -1), atol=1e-5)
    np.testing.assert_allclose(value, tower("critic")[:, 0], atol=1e-5)
    np.testing.assert_array_equal(network.apply(variables, x, method="actor"), outputs)
    np.testing.assert_array_equal(network.apply(variables, x, method="critic"), value)


def test_actor_critic_is_initialised_as_cleanrl():
    network = nets.ActorCritic(size=2, hidden_sizes=(16, 16), has_scale=True)
    params = jax.jit(network.init)(jax.random.key(0), jnp.zeros(16))["params"]
    gains = {
        ("actor_torso", "Dense_0"): 2**0.5,
        ("actor_torso", "Dense_1"): 2**0.5,
        ("critic_torso", "Dense_0"): 2**0.5,
        ("critic_torso", "Dense_1"): 2**0.5,
        ("actor_head", "Dense_0"): 0.01,
        ("critic_head", "Dense_0"): 1.0,
    }
    for (part, layer), gain in gains.items():
        singular = np.linalg.svd(params[part][layer]["kernel"], compute_uv=False)
        np.testing.assert_allclose(singular, gain, rtol=1e-5)
        assert not params[part][layer]["bias"].any()
    assert params["actor_head"]["log_std"].tolist() == [0.0, 0.0]
    assert not np.allclose(
        params["actor_torso"]["Dense_0"]["kernel"], params["critic_torso"]["Dense_0"]["kernel"]
    )


def test_the_towers_share_nothing():
    network = nets.ActorCritic(size=2)
    x = jnp.ones((3, 4))
    variables = jax.jit(network.init)(jax.random.key(0), x)
    for method, silent in (("actor", "critic"), ("critic", "actor")):
        gradient = jax.grad(lambda v, m=method: jnp.square(network.apply(v, x, method=m)).sum())(variables)
        for part, leaves in gradient["params"].items():
            norm = sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(leaves))
            assert (norm == 0.0) == part.startswith(silent), part


def test_a_seed_of_a_batch_equals_the_seed_alone():
    network = nets.ActorCritic(size=2)
    keys = jax.random.split(jax.random.key(0), 3)
    init = jax.jit(lambda key: network.init(key, jnp.zeros(4)))
    batch = jax.jit(jax.vmap(init))(keys)
    for i in range(3):
        alone = init(keys[i])
        for leaf, single in zip(jax.tree.leaves(batch), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(leaf[i], single, atol=2e-5)


def test_cnn_matches_a_slow_convolution():
    network = nets.CNN(channels=(2,), hidden_sizes=(3,), activation="relu")
    image = jax.random.normal(jax.random.key(1), (5, 6, 2))
    variables = jax.jit(network.init)(jax.random.key(0), image)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    kernel, pixels = params["Convolution_0"]["kernel"], np.asarray(image, np.float64)
    features = np.zeros((3, 4, 2))
    for row in range(3):
        for column in range(4):
            patch = pixels[row : row + 3, column : column + 3]
            features[row, column] = np.einsum("hwc,hwcf->f", patch, kernel) + params["Convolution_0"]["bias"]
    dense = params["MLP_0"]["Dense_0"]
    expected = np.maximum(np.maximum(features, 0).reshape(-1) @ dense["kernel"] + dense["bias"], 0)
    np.testing.assert_allclose(network.apply(variables, image), expected, atol=1e-5)
    batch = jnp.stack([image, 2 * image]).reshape(2, 1, 5, 6, 2)
    np.testing.assert_allclose(network.apply(variables, batch)[0, 0], expected, atol=1e-5)


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (2, 2), (4, 3), (1, 2)])
def test_convolution_matches_flax(size, stride, padding):
    image = jax.random.normal(jax.random.key(1), (2, 3, 9, 8, 2))
    kernel = jax.random.normal(jax.random.key(0), (size, size, 2, 5))
    variables = {"params": {"kernel": kernel, "bias": jnp.arange(5.0)}}
    expected = nn.Conv(5, (size, size), (stride, stride), padding).apply(variables, image)
    result = Convolution(5, size, stride, padding).apply(variables, image)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_cnn_defaults_are_minatars():
    params = jax.jit(nets.CNN().init)(jax.random.key(0), jnp.zeros((10, 10, 4)))["params"]
    assert params["Convolution_0"]["kernel"].shape == (3, 3, 4, 16)
    assert params["MLP_0"]["Dense_0"]["kernel"].shape == (8 * 8 * 16, 128)


def test_actor_critic_on_images():
    network = nets.ActorCritic(size=3, hidden_sizes=(8,), channels=(4, 4), activation="relu")
    images = jnp.ones((2, 7, 7, 1))
    variables = jax.jit(network.init)(jax.random.key(0), images[0])
    outputs, value = network.apply(variables, images)
    assert outputs.shape == (2, 3) and value.shape == (2,)
    assert variables["params"]["critic_torso"]["Convolution_1"]["kernel"].shape == (3, 3, 4, 4)


def test_bad_layers_are_named():
    with pytest.raises(ValueError, match="unknown activation 'rellu'; did you mean 'relu'"):
        nets.MLP((4,), "rellu").init(jax.random.key(0), jnp.zeros(2))
    with pytest.raises(ValueError, match=r"`kernel_sizes` must fit the image, got 3 for \(2, 2\)"):
        nets.CNN().init(jax.random.key(0), jnp.zeros((2, 2, 1)))
    with pytest.raises(ValueError, match=r"`x` must be an image .* got shape \(4,\)"):
        nets.CNN().init(jax.random.key(0), jnp.zeros(4))
    with pytest.raises(ValueError, match="must have one entry a convolution"):
        nets.CNN(channels=(4, 4), kernel_sizes=(3,)).init(jax.random.key(0), jnp.zeros((9, 9, 1)))


def test_mlp_layer_norm_and_identity():
    x = jax.random.normal(jax.random.key(1), (5, 3))
    assert nets.MLP(()).apply({}, x) is x
    network = nets.MLP((64,), "relu", layer_norm=True)
    variables = jax.jit(network.init)(jax.random.key(0), x)
    kernel = np.asarray(variables["params"]["Dense_0"]["kernel"], np.float64)
    hidden = np.asarray(x, np.float64) @ kernel
    normal = (hidden - hidden.mean(-1, keepdims=True)) / np.sqrt(hidden.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(network.apply(variables, x), np.maximum(normal, 0), atol=1e-4)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_recurrent_layers_forget_where_an_episode_begins(cell):
    network, key = nets.Recurrent(8, cell), jax.random.key(0)
    x = jax.random.normal(key, (7, 3, 4))
    first = jnp.zeros((7, 3), bool).at[4, 1].set(True)
    start = network.initial_carry((3,))
    variables = network.init(key, start, x, first)
    carry, whole = network.apply(variables, start, x, first)
    own_carry, own = network.apply(variables, network.initial_carry(), x[4:, 1], first[4:, 1])
    np.testing.assert_allclose(whole[4:, 1], own, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, atol=1e-6), carry, own_carry)
    without = network.apply(variables, start, x, jnp.zeros_like(first))[1]
    assert np.abs(without[4:, 1] - own).max() > 1e-3
    np.testing.assert_allclose(without[:, [0, 2]], whole[:, [0, 2]], atol=1e-6)


def test_an_lstm_is_that_of_flax_with_forget_gates_that_begin_open():
    size, key = 5, jax.random.key(3)
    cell, x = LSTMCell(size), jax.random.normal(key, (4, 3))
    carry = (jax.random.normal(key, (4, size)), jnp.tanh(x @ jnp.ones((3, size))))
    variables = cell.init(key, carry, x)
    of_x, of_h = (variables["params"][name]["kernel"] for name in ("input", "recurrent"))
    for kernel in np.split(np.asarray(of_h), 4, axis=-1):
        np.testing.assert_allclose(kernel.T @ kernel, np.eye(size), atol=1e-5)
    bias = variables["params"]["recurrent"]["bias"]
    np.testing.assert_array_equal(bias, 0.0)
    gates = zip("ifgo", *(jnp.split(part, 4, axis=-1) for part in (of_x, of_h, bias)), strict=True)
    theirs = {}
    for name, own, recurrent, zero in gates:
        theirs[f"i{name}"] = {"kernel": own}
        theirs[f"h{name}"] = {"kernel": recurrent, "bias": zero + (name == "f")}
    expected = nn.OptimizedLSTMCell(size).apply({"params": theirs}, carry, x)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), cell.apply(variables, carry, x), expected
    )


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_recurrent_layers_run_in_pieces(cell):
    network, key = nets.Recurrent(8, cell), jax.random.key(0)
    x, first = jax.random.normal(key, (6, 3, 4)), jax.random.bernoulli(key, 0.3, (6, 3))
    start = network.initial_carry((3,))
    variables = network.init(key, start, x, first)
    whole = network.apply(variables, start, x, first)[1]
    carry, before = network.apply(variables, start, x[:2], first[:2])
    after = network.apply(variables, carry, x[2:], first[2:])[1]
    np.testing.assert_allclose(jnp.concatenate([before, after]), whole, atol=1e-6)


@pytest.mark.parametrize("noisy", [False, True])
def test_kernels_of_action_values_start_orthogonal_or_as_flaxs_do(noisy):
    def kernels(initializer):
        network = nets.QNetwork(2, hidden_sizes=(256, 128), noisy=noisy, initializer=initializer)
        params = network.init(jax.random.key(0), jnp.zeros(512))["params"]
        return [np.asarray(layer["kernel"]) for _, layer in sorted(params.items())]

    for kernel, gain in zip(kernels("orthogonal"), (2, 2, 1), strict=True):
        np.testing.assert_allclose(kernel.T @ kernel, gain * np.eye(kernel.shape[1]), atol=1e-4)
    for kernel in kernels("lecun_normal")[:2]:
        assert kernel.std() == pytest.approx(kernel.shape[0] ** -0.5, rel=0.02)
        assert np.abs(kernel.T @ kernel - np.eye(kernel.shape[1])).max() > 0.05


@pytest.mark.parametrize("channels", [(), (4,)], ids=["vector", "image"])
def test_kernels_of_an_actor_critic_start_orthogonal_or_as_braxs_do(channels):
    x = jnp.zeros((6, 6, 16) if channels else 576)

    def kernels(initializer):
        network = nets.ActorCritic(256, (512,), channels=channels, initializer=initializer)
        params = network.init(jax.random.key(0), x)["params"]
        flat = {
            "/".join(str(key.key) for key in path): np.asarray(leaf)
            for path, leaf in jax.tree.leaves_with_path(params)
        }
        return {
            name: leaf.reshape(-1, leaf.shape[-1]) for name, leaf in flat.items() if name.endswith("kernel")
        }

    for name, kernel in kernels("orthogonal").items():
        gain = {"actor_head": 0.01, "critic_head": 1.0}.get(name.split("/")[0], 2**0.5)
        gram = kernel.T @ kernel if kernel.shape[0] >= kernel.shape[1] else kernel @ kernel.T
        np.testing.assert_allclose(gram, gain**2 * np.eye(len(gram)), atol=1e-4)
    for kernel in kernels("lecun_uniform").values():
        width = (3 / kernel.shape[0]) ** 0.5
        assert 0.97 * width < np.abs(kernel).max() <= width
        assert kernel.std() == pytest.approx(width / 3**0.5, rel=0.05)


def test_kernels_of_implicit_quantiles_start_from_the_initializer():
    def kernels(initializer):
        network = nets.ImplicitQuantileNetwork(2, hidden_sizes=(256, 128), initializer=initializer)
        params = network.init(jax.random.key(0), jnp.zeros(512), jnp.zeros(4))["params"]
        return [np.asarray(params[f"Dense_{i}"]["kernel"]) for i in (0, 2)]

    for kernel in kernels("orthogonal"):
        np.testing.assert_allclose(kernel.T @ kernel, 2 * np.eye(kernel.shape[1]), atol=1e-4)
    for kernel in kernels("lecun_normal"):
        assert kernel.std() == pytest.approx(kernel.shape[0] ** -0.5, rel=0.02)
