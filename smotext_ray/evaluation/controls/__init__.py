"""Controls that the LLM decodes."""
