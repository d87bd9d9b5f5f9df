"""Pairs of image and label files for trainings of whole networks."""

import SimpleITK as sitk


def write_scans(folder, hu, label, names=("liver_6", "liver_7")):
    """Write the same HU and labels, both (k, j, i), as several patients' NIfTI files of 1 x 1 x 2 mm."""
    folder.mkdir()
    for name in names:
        for kind, array in (("ct", hu), ("label", label)):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing((1.0, 1.0, 2.0))
            sitk.WriteImage(image, str(folder / f"{name}_{kind}.nii.gz"))
