"""The built-in modalities. Each folder is a plug-in: it imports the core, never a sibling; an entry point finds it."""
