"""The neighbours that are measured, each in an environment of its own (see `setup.py`)."""
