"""Who makes a request: users, passwords, sessions, tokens, identity providers, and how often."""
