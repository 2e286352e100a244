"""Figures, a module each: what is drawn, and the command that draws it."""
