"""Text to vector, vector to soft prompt, soft prompt to text."""
