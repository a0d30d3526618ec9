"""Routes that change under load: no answer fails, and each is of the version that it names."""
