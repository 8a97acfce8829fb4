"""Tests of what a run shows to people."""
