"""How fast usage is reported and taken in, with the roll-ups of ten million requests."""
