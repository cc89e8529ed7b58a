"""Tests of the unit, and of what it is told."""
