"""Read and validate the input corpus."""
