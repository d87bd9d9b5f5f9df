"""NIfTI-1, NIfTI-2 and Analyze files read without ITK: every type and byte order, and all that they say of place."""
