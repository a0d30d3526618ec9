"""What the roles say to each other: documents, frames, error codes. Pure; imports nothing of ours."""
