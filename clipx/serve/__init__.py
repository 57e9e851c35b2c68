"""A local page that searches an index by anything, draws, names and estimates depth; ``app`` is its ASGI app."""
