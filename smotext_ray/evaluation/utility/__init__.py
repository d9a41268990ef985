"""What classifiers gain from synthetic texts."""
