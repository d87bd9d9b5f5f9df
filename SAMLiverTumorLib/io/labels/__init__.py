"""Segments out of files, on one voxel grid: names, voxels, codes and provenance, and label maps written."""
