"""Runs: specifications, runner, store, tables, plots and the command line; every side effect lives here."""
