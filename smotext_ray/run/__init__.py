"""A run directory: its files, manifest and lease."""
