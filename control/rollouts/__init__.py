"""Guarded canaries: evidence is gathered, a decision is taken, and kept with its numbers."""
