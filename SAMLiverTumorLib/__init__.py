"""Segment liver tumors in CT with the Segment Anything Model, inside and outside 3D Slicer.

Nothing heavy is imported here: torch, segment_anything and SimpleITK load with the functions that need them.
"""

__version__ = "0.2.0"
