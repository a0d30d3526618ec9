"""Evaluations: how well a version answers rows whose truth is known, measured on its own engine."""
