"""Keeps what turns said and left: a folder for each test."""
