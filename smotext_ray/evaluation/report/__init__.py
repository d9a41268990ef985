"""Report files: JSON and HTML."""
