"""Files in and out: images, DICOM, labels, public sets; all of it checked before anything relies on it."""
