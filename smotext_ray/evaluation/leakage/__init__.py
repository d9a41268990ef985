"""What synthetic texts leak about the corpus."""
