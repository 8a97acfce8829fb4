"""What goes into exported folders, for programs without tfkd: copied as it is, imports aside."""
