"""What a run is set to: one table of settings, read from options, ini keys and the environment."""
