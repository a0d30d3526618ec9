"""Benchmarks and kill tests: Tollway beside the service that one writes by hand, in one run."""
