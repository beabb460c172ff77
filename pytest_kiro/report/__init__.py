"""F5 and F6, report: what people see of a run."""
