"""The control plane's composition root: management API, registry API, change stream, usage."""
