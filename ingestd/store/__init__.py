"""Where mail ends up: MongoDB, its documents, its ledger and its log."""
