"""Tests of what talks to MongoDB."""
