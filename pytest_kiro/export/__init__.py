"""F7, other tools' formats: what runs are exported as."""
