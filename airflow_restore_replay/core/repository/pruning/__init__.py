"""What retention keeps, and letting the rest go."""
