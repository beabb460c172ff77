"""`python -m pytest_kiro COMMAND`: what one does beside running evals."""
