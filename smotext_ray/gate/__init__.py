"""Which texts are accepted, and why others are not."""
