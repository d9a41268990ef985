"""Settings: one model per section, and where they are read from."""
