"""Image files by what is in them, through the reader that knows it."""
