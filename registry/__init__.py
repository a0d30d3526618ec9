"""Models, immutable versions, content-addressed blobs, aliases, lifecycle."""
