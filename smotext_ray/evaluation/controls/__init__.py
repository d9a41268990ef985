"""Controls decoded by the LLM."""
