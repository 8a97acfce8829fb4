"""Text and labels: where they come from and how they are read, checked and batched."""
