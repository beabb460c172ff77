"""A turn as a value: what was asked, said, done and changed."""
