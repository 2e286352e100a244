"""PPO in the pattern of PureJaxRL, our transcription: PureJaxRL is no package, and none of its code is here.

What makes the pattern, and is kept: everything in one scan over updates; seeds by `vmap` on one device;
gymnax's own `step`, which resets at every step; one network object with two towers, orthogonally initialised;
`jax.random.permutation` of a stacked batch in every epoch; optax's Adam with a schedule behind a global clip;
the `info` of every single step stacked over the whole training; time limits taken for terminal states; no
evaluation. The parameters are initialised outside the `vmap`, where LAPACK cannot deadlock it.

Runs with the Python of `.cache/peers/rejax` (gymnax 0.0.9). Prints one JSON object.
"""

import argparse
import json
import time
from importlib.metadata import version

SETTINGS = {
    "cartpole": {
        "env": "CartPole-v1",
        "num_envs": 4,
        "num_minibatches": 4,
        "learning_rate": 2.5e-4,
        "activation": "tanh",
    },
    "breakout": {
        "env": "Breakout-MinAtar",
        "num_envs": 64,
        "num_minibatches": 8,
        "learning_rate": 5e-3,
        "activation": "relu",
    },
}
NUM_STEPS = 128
NUM_EPOCHS = 4
GAMMA, LAMBDA, CLIP, ENTROPY_COEFFICIENT, VALUE_COEFFICIENT = 0.99, 0.95, 0.2, 0.01, 0.5


def main() -> None:
    """Compile, run, and print seconds and steps/s."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", choices=sorted(SETTINGS), default="breakout")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=131_072, help="environment steps of each seed")
    args = parser.parse_args()

    import jax

    setting = SETTINGS[args.setting]
    num_updates = args.steps // (setting["num_envs"] * NUM_STEPS)
    init, train = make(num_updates, **setting)
    keys = jax.random.split(jax.random.PRNGKey(0), args.seeds)
    states = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *[init(key) for key in keys])
    begun = time.perf_counter()
    program = jax.jit(jax.vmap(train)).lower(states, keys).compile()
    compiled, used = time.perf_counter(), time.process_time()
    _, infos = jax.block_until_ready(program(states, keys))
    done, used = time.perf_counter(), time.process_time() - used
    steps = args.seeds * num_updates * setting["num_envs"] * NUM_STEPS
    ended = infos["returned_episode"][:, -max(num_updates // 10, 1) :]
    returns = infos["returned_episode_returns"][:, -max(num_updates // 10, 1) :]
    report = {
        "compile_seconds": compiled - begun,
        "run_seconds": done - compiled,
        "cpu_seconds": used,
        "steps": steps,
        "steps_per_second": steps / (done - compiled),
        "final_return": float((returns * ended).sum() / ended.sum()),
        "evaluations": 0,
        "versions": {name: version(name) for name in ("gymnax", "jax", "flax", "optax", "distrax")},
    }
    print(json.dumps(report))


def make(
    num_updates: int, env: str, num_envs: int, num_minibatches: int, learning_rate: float, activation: str
):
    """Return `init(key) -> TrainState` and `train(state, key) -> (state, infos)` of one seed."""
    import distrax
    import gymnax
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from flax import linen as nn
    from flax.training.train_state import TrainState
    from gymnax.wrappers.purerl import (  # pyright: ignore[reportMissingImports]
        FlattenObservationWrapper,
        LogWrapper,
    )

    world, world_params = gymnax.make(env)
    world = LogWrapper(FlattenObservationWrapper(world))
    batch_size = num_envs * NUM_STEPS
    squash = {"tanh": nn.tanh, "relu": nn.relu}[activation]

    class Towers(nn.Module):
        @nn.compact
        def __call__(self, x):
            def tower(out, scale):
                h = x
                for _ in range(2):
                    h = squash(nn.Dense(64, kernel_init=nn.initializers.orthogonal(np.sqrt(2)))(h))
                return nn.Dense(out, kernel_init=nn.initializers.orthogonal(scale))(h)

            logits = tower(world.action_space(world_params).n, 0.01)
            return distrax.Categorical(logits=logits), tower(1, 1.0)[..., 0]

    network = Towers()

    def rate(count):
        return learning_rate * (1.0 - (count // (num_minibatches * NUM_EPOCHS)) / num_updates)

    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(rate, eps=1e-5))

    def init(key):
        width = world.observation_space(world_params).shape
        return TrainState.create(
            apply_fn=network.apply, params=network.init(key, jnp.zeros(width)), tx=optimizer
        )

    def loss(params, minibatch):
        data, advantage, target = minibatch
        policy, value = network.apply(params, data["obs"])
        moved = data["value"] + jnp.clip(value - data["value"], -CLIP, CLIP)
        value_loss = 0.5 * jnp.maximum(jnp.square(value - target), jnp.square(moved - target)).mean()
        ratio = jnp.exp(policy.log_prob(data["action"]) - data["log_prob"])
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        surrogate = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage).mean()
        entropy = policy.entropy().mean()
        total = VALUE_COEFFICIENT * value_loss - surrogate - ENTROPY_COEFFICIENT * entropy
        return total, (value_loss, surrogate, entropy)

    def act_and_step(carry, _):
        state, env_state, obs, key = carry
        key, key_action, key_step = jax.random.split(key, 3)
        policy, value = network.apply(state.params, obs)
        action = policy.sample(seed=key_action)
        next_obs, env_state, reward, done, info = jax.vmap(world.step, in_axes=(0, 0, 0, None))(
            jax.random.split(key_step, num_envs), env_state, action, world_params
        )
        transition = {
            "obs": obs,
            "action": action,
            "value": value,
            "log_prob": policy.log_prob(action),
            "reward": reward,
            "done": done,
            "info": info,
        }
        return (state, env_state, next_obs, key), transition

    def advantages(data, last_value):
        def back(carry, data):
            advantage, next_value = carry
            going = 1 - data["done"]
            delta = data["reward"] + GAMMA * next_value * going - data["value"]
            advantage = delta + GAMMA * LAMBDA * going * advantage
            return (advantage, data["value"]), advantage

        start = (jnp.zeros_like(last_value), last_value)
        return jax.lax.scan(back, start, data, reverse=True, unroll=16)[1]

    def update(carry, _):
        carry, data = jax.lax.scan(act_and_step, carry, None, NUM_STEPS)
        state, env_state, obs, key = carry
        _, last_value = network.apply(state.params, obs)
        info = data.pop("info")
        advantage = advantages(data, last_value)
        batch = jax.tree.map(
            lambda x: x.reshape((batch_size, *x.shape[2:])), (data, advantage, advantage + data["value"])
        )

        def descend(state, minibatch):
            (total, parts), gradient = jax.value_and_grad(loss, has_aux=True)(state.params, minibatch)
            return state.apply_gradients(grads=gradient), (total, parts)

        def epoch(carry, _):
            state, key = carry
            key, key_order = jax.random.split(key)
            order = jax.random.permutation(key_order, batch_size)
            minibatches = jax.tree.map(
                lambda x: jnp.take(x, order, axis=0).reshape((num_minibatches, -1, *x.shape[1:])), batch
            )
            state, losses = jax.lax.scan(descend, state, minibatches)
            return (state, key), losses

        (state, key), _ = jax.lax.scan(epoch, (state, key), None, NUM_EPOCHS)
        return (state, env_state, obs, key), info

    def train(state, key):
        key, key_reset = jax.random.split(key)
        obs, env_state = jax.vmap(world.reset, in_axes=(0, None))(
            jax.random.split(key_reset, num_envs), world_params
        )
        carry, infos = jax.lax.scan(update, (state, env_state, obs, key), None, num_updates)
        return carry[0], infos

    return init, train


if __name__ == "__main__":
    main()
