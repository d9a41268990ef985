"""How close synthetic texts are to real ones."""
