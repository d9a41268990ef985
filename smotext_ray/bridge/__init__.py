"""The xRAG bridge: projector, prompt and training."""
