"""Alembic migrations of the one database, the registry's tables included."""
