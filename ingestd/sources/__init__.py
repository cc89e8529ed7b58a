"""Where mail comes from: one module per protocol."""
