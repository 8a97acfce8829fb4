"""What a run shows to people: answers row by row, pictures, the page and the model card."""
