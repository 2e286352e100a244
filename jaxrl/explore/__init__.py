"""Exploration: schedules and action selection."""
