"""Reads settings from options, ini keys and the environment by one table."""
