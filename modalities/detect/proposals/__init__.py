"""Proposals: boxes in which something may be, by methods that know no labels."""
