"""What the roles say to each other: documents, frames, errors. Pure; imports nothing of ours."""
