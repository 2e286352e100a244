"""bsuite: 23 experiments with their published settings and scores (Osband et al. 2020, arXiv 1908.03568).

`suite` says what they are, `runner` trains an agent on them, `scores` judges the logs, `report` shows them;
`jaxrl bsuite AGENT` does all of it.
"""
