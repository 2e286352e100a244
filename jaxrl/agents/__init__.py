"""Learning algorithms, one a file."""
