"""ingestd keeps mailboxes in MongoDB. Start reading at `ingestd/ingest.py`."""
