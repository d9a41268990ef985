"""Which points to make: arithmetic on embeddings."""
