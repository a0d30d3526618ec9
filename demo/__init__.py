"""``make demo``: the embedded stack with two trained models, ready to be called by curl."""
