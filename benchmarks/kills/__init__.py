"""Kill tests: what clients see, and what the usage says, when processes are killed under load."""
