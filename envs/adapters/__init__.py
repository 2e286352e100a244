"""Foreign environments behind our protocol: one suite a file, its package imported on first use."""
