"""What a GPU does with this project's shapes: torch, transformers and this repository alone.

Speed depends on shapes and not on weights, so all models are random and made on the spot. Each
module measures one thing: ``measure(toy, home)`` returns its figures and one ``line`` that says
them; ``toy`` is for machines without a GPU, where it checks the script.
"""
