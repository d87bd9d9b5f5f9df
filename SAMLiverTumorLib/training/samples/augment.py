"""Augmented copies of slice images, by MONAI's transforms; each has its own seed, so that a run can be repeated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from SAMLiverTumorLib.training.samples.slice_images import SliceImage, zoomed

AUGMENTATION = 1
"""Version of the augmentation: raise it whenever the same slice image and seed give another copy."""


def augmented(image: SliceImage, seed: tuple[int, ...]) -> SliceImage:
    """A zoomed copy: mirrored, rotated a little, with other contrast, noise or sharpness.

    :param seed: the same seed gives the same copy.
    """
    rng = np.random.default_rng(seed)
    return _transformed(zoomed(image, rng), rng, seed[-1])


def _transformed(part: SliceImage, rng: np.random.Generator, copy: int) -> SliceImage:
    from monai.transforms import (
        Compose,
        RandAdjustContrastd,
        RandFlipd,
        RandGaussianNoised,
        RandGaussianSmoothd,
        RandRotated,
        RandScaleIntensityd,
        RandShiftIntensityd,
    )

    keys = ["image", "lesions", "liver"]
    liver = part.liver if part.liver is not None else np.zeros_like(part.lesions, bool)
    grey = bool((part.rgb == part.rgb[..., :1]).all())
    data = {
        # noise comes from the scanner, so it is the same in all three channels of a grey image
        "image": np.moveaxis(part.rgb[..., :1] if grey else part.rgb, 2, 0).astype(np.float32),
        "lesions": part.lesions[None].astype(np.float32),
        "liver": liver[None].astype(np.float32),
    }
    change = Compose(
        [
            RandFlipd(keys, prob=0.5, spatial_axis=1),
            RandFlipd(keys, prob=0.25, spatial_axis=0),
            RandRotated(keys, range_x=0.35, prob=0.5, mode=("bilinear", "nearest", "nearest"), padding_mode="zeros"),
            # in levels of 0 to 255: another window, contrast phase or dose
            RandScaleIntensityd("image", factors=0.15, prob=0.5),
            RandShiftIntensityd("image", offsets=15.0, prob=0.5),
            RandAdjustContrastd("image", prob=0.3, gamma=(0.8, 1.25)),
            RandGaussianNoised("image", prob=0.3, std=8.0),
            RandGaussianSmoothd("image", prob=0.2, sigma_x=(0.3, 1.2), sigma_y=(0.3, 1.2)),
        ]
    )
    change.set_random_state(seed=int(rng.integers(2**31)))
    changed = {key: np.asarray(value) for key, value in change(data).items() if key in keys}
    shown = np.rint(np.clip(np.moveaxis(changed["image"], 0, 2), 0, 255)).astype(np.uint8)
    return replace(
        part,
        name=f"{part.name} copy {copy}",
        rgb=np.repeat(shown, 3, axis=2) if grey else shown,
        lesions=np.rint(changed["lesions"][0]).astype(np.uint8),
        liver=None if part.liver is None else changed["liver"][0] > 0.5,
    )
