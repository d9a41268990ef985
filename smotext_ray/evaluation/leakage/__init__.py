"""What the new texts give away."""
