"""The developer portal: pages over the management API, for browsers."""
