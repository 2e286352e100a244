"""Tabular control: one method a file, one loop for all (`driver`)."""
