"""Sandboxes in Daytona's cloud: the same verbs as the local provider, over the unmodified SDK."""
