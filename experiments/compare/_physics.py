"""Our PPO on a Brax task, as a process of its own: prints one JSON object. `physics.py` starts it.

The program is `Algorithm.step` over as many iterations as there are between two evaluations, compiled ahead
and called for each; evaluations lie between the calls, so that their seconds are not those of training.
"""

import json
import sys
import time
from typing import Any

from experiments.compare.physics import EVAL_EPISODES, EVALUATIONS


def main() -> None:
    """Train, and print seconds, steps/s and the curve."""
    wanted = json.loads(sys.argv[1])

    import jax
    import jax.numpy as jnp

    import jaxrl
    from jaxrl.agents import ppo

    env, params, config = make_setting(wanted)
    algorithm = ppo.make(env, params, config)
    steps_of_chunk = -(-wanted["num_timesteps"] // EVALUATIONS)
    repeat = wanted["action_repeat"]
    iterations = -(-steps_of_chunk // (algorithm.steps_per_iteration * repeat))

    def chunk(state, start):
        return jax.lax.scan(algorithm.step, state, start + jnp.arange(iterations, dtype=jnp.int32))

    def assess(state, key):
        policy = algorithm.policy(state)
        return jaxrl.evaluate(policy, env, params, key, EVAL_EPISODES, 1000 // repeat).return_

    key, key_eval = jax.random.split(jax.random.key(wanted["seed"]))
    begun = time.perf_counter()
    init = jax.jit(algorithm.init).lower(key).compile()
    state = jax.block_until_ready(init(key))
    train = jax.jit(chunk, donate_argnums=0).lower(state, jnp.int32(0)).compile()
    compiled = time.perf_counter() - begun
    evaluate = jax.jit(assess).lower(state, key_eval).compile()

    curve, seconds, diverged = [_point(0, evaluate(state, key_eval))], 0.0, 0.0
    for done in range(EVALUATIONS):
        begun = time.perf_counter()
        state, metrics = jax.block_until_ready(train(state, jnp.int32(done * iterations)))
        seconds += time.perf_counter() - begun
        diverged += float(jnp.nansum(metrics["episode_diverged"] * metrics["episodes"]))
        steps = (done + 1) * iterations * algorithm.steps_per_iteration * repeat
        curve.append(_point(steps, evaluate(state, jax.random.fold_in(key_eval, done))))
        print(f"{steps:>12,} steps, {seconds:8.1f} s, return {curve[-1]['mean']:.1f}", file=sys.stderr)
    report = {
        "compile_seconds": compiled,
        "run_seconds": seconds,
        "steps": curve[-1]["steps"],
        "steps_per_second": curve[-1]["steps"] / seconds,
        "diverged_episodes": diverged,
        "curve": curve,
        "device": jax.devices()[0].device_kind,
    }
    print(json.dumps(report))


def make_setting(wanted: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Return `(env, params, config)`: Brax's settings in our words.

    What stays different: the last step of a truncated episode is bootstrapped (Brax: left out of the loss);
    the entropy is exact (Brax: of one sample); observations are standardised by the statistics of earlier
    batches, and bounded (Brax: the update already counts its own batch, as with `normalize_own_rollout`); and
    an advantage is GAE's (Brax: its later part divided by lambda).
    """
    import envs
    from envs.wrappers import ActionRepeat
    from jaxrl.agents import ppo

    env, params = envs.make(f"brax/{wanted['task']}", backend=wanted["backend"])
    if wanted["action_repeat"] > 1:
        env = ActionRepeat(env, count=wanted["action_repeat"])
        params = env.default_params()
    samples = wanted["batch_size"] * wanted["num_minibatches"] * wanted["unroll_length"]
    config = ppo.Config(
        learning_rate=wanted["learning_rate"],
        gamma=wanted["discounting"],
        gae_lambda=0.95,
        clip_epsilon=0.3,
        entropy_coefficient=wanted["entropy_cost"],
        value_coefficient=0.5,
        max_grad_norm=1e9,
        adam_epsilon=1e-8,
        reward_scale=wanted["reward_scaling"],
        num_envs=wanted["num_envs"],
        num_steps=samples // wanted["num_envs"],
        segment_length=wanted["unroll_length"],
        num_epochs=wanted["num_updates_per_batch"],
        num_minibatches=wanted["num_minibatches"],
        recompute_advantages="minibatch",
        anneal_learning_rate=False,
        clip_value=False,
        normalize_observations=True,
        initializer="lecun_uniform",
        hidden_sizes=(32,) * 4,
        critic_hidden_sizes=(256,) * 5,
        activation="silu",
        squash_actions=True,
        state_dependent_scale=True,
        reset="first",
    )
    return env, params, config


def _point(steps: int, returns: Any) -> dict[str, Any]:
    values = [float(x) for x in returns]
    return {"steps": steps, "mean": sum(values) / len(values), "returns": values}


if __name__ == "__main__":
    main()
