"""From the bytes of a message to what they mean: pure, total, and bounded in memory."""
