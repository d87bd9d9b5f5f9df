"""Fuzzing: mutated real files against everything of the product that reads a file (`python3 dev.py fuzz`)."""
