"""Input to checked rows."""
