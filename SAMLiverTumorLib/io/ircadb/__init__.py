"""3D-IRCADb: its patients, slices and structures, and which LiTS cases are the same patients."""
