"""Sandboxes of bubblewrap: namespaces of their own on this machine (Linux)."""
