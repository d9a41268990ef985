"""Differential privacy: noised embeddings, and what can be made of them afterwards."""
