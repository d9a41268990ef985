"""How close the new texts are to real ones."""
