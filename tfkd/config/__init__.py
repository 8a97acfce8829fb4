"""The settings of every verb: how a setting is declared and checked, and which there are."""
