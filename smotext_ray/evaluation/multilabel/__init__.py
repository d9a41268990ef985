"""What new texts are worth where texts have several labels."""
