"""The main job shown for real: a private mail server, a sample mailbox, the daemon's own pass."""
