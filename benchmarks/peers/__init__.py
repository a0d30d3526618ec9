"""Systems to compare with. They run in an environment of their own and import nothing of ours."""
