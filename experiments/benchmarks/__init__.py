"""Published tables, each a TOML file of this folder that `jaxrl benchmark NAME` computes anew.

    title = "..."               what the table is called
    reference = "cleanrl"       a file of experiments/references, whose scores stand beside ours (optional)
    training_episodes = 100     a training return is the mean of at least so many last episodes of a seed
    notes = ["..."]             what a reader must know (optional)

    [shared]                    fields of `experiments.spec.RunSpec` that all runs have
    total_steps = 500_000
    seeds = 10                  a number of them, or their ids

    [[runs]]                    one row for each environment: the rest of the spec, and
    envs = ["CartPole-v1"]      in which environments
    label = "ppo, CNN"          what the algorithm is called (optional)
    wanted = { CartPole-v1 = 498.0 }  the least training return (optional)

What came out is tracked beside it, in `results/NAME.json` and as a table in `results/NAME.md`.
"""
