"""Webhooks: what happens here is told to receivers elsewhere, signed, until they have taken it."""
