"""What a run keeps of its turns and tests, as values."""
