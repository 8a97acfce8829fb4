"""Teachers and students: KerasHub encoders, Hugging Face folders, and small models from scratch."""
