"""Settings: their schema, and loading them."""
