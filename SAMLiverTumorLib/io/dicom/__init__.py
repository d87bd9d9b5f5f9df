"""DICOM: images as volumes with their true geometry, segmentations (SEG) read and written."""
