"""Fuzzing: damaged real files for every reader of the product (`python3 dev.py fuzz`)."""
