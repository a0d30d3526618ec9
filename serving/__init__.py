"""The worker: an agent that follows the change stream, and the engine processes it runs."""
