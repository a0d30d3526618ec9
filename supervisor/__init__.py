"""The ``tollwayd`` command and the embedded stack (``tollwayd up``)."""
