"""The registry's SQL, and the database and change log that it shares with ``control.store``."""
