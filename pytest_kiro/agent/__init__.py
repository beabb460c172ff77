"""F4, agent: what a user holds. `kiro` runs turns; a `Turn` is a value; a `Workspace` is what is left."""
