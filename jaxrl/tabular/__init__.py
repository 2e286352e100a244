"""Small worlds, exactly: planning on known models, prediction and control with tables."""
