"""The data plane: identify, route, authorise, admit, forward, record."""
