"""What a cycle decides, as tables and pure functions. Whoever carries a decision out reads it here."""
