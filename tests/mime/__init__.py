"""The MIME parser."""
