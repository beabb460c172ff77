"""Keeps secrets out of what is shown and written."""

#: Variables whose values are secrets wherever they stand; where none is set, plain tests need no redaction.py.
VARIABLES = ("KIRO_API_KEY", "DAYTONA_API_KEY")
