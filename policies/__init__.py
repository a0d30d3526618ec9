"""What a request must satisfy before it is forwarded: one policy per file, and their chain."""
