"""Smaller and faster files: recipes, LiteRT conversion, and the gate every file must pass."""
