"""Worth of a model: quality, a verdict on the difference, speed, memory, and their tables.

Nothing is imported here, so that a process that measures its own memory stays small.
"""
