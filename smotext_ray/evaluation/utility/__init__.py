"""What a classifier gains by the new texts."""
