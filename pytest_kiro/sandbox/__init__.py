"""F1, machines: the protocol that every sandbox keeps, and the local provider."""
