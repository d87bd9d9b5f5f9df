"""Slices: what their headers say, which belong together, where they lie, and the regular grid around them."""
