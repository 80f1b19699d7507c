"""Reading back what is stored."""
