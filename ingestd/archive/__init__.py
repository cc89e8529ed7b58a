"""The reading side: what is stored, without any mail server."""
