"""The data as its readers see it: the published shape, and the documented queries."""
