"""What one run owns: its sandboxes, its budget, and how it is told to stop."""
