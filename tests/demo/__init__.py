"""The demo: its mail, and what it shows."""
