"""Evaluations that control runs for users: the client library's own command, in a process each."""
