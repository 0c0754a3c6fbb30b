"""What an attacker sends, byte by byte, and what must come of it."""
