"""The gate (quality filter): which texts are accepted, and why others are rejected."""
