"""Bandit policies, a module each: what to pull when every pull is both a gain and a measurement."""
