"""The audit log: read, exported, signed, verified, and asked which version answered when."""
