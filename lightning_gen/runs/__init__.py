"""A run on disk, and what drives it."""
