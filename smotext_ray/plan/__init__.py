"""Plan the target points: arithmetic on embeddings."""
