"""Variations of a picture, by MONAI's transforms: each seeded by itself, so that a run can be repeated exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from SAMLiverTumorLib.training.samples.slice_images import Picture, zoomed

AUGMENTATION = 1
"""To be raised whenever the same picture and seed give another variation."""


def restyled(picture: Picture, seed: tuple[int, ...]) -> Picture:
    """The picture with other contrast, noise or sharpness, everything at its place.

    :param seed: the same seed gives the same picture.
    """
    return _changed(picture, np.random.default_rng(seed), seed[-1], places=False)


def augmented(picture: Picture, seed: tuple[int, ...]) -> Picture:
    """A zoom of the picture, mirrored, turned a little, with other contrast, noise or sharpness.

    :param seed: the same seed gives the same picture.
    """
    rng = np.random.default_rng(seed)
    return _changed(zoomed(picture, rng), rng, seed[-1], places=True)


def _changed(part: Picture, rng: np.random.Generator, copy: int, places: bool) -> Picture:
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
        # noise is the scanner's and the same in all three channels where they show the same
        "image": np.moveaxis(part.rgb[..., :1] if grey else part.rgb, 2, 0).astype(np.float32),
        "lesions": part.lesions[None].astype(np.float32),
        "liver": liver[None].astype(np.float32),
    }
    moves = (
        [
            RandFlipd(keys, prob=0.5, spatial_axis=1),
            RandFlipd(keys, prob=0.25, spatial_axis=0),
            RandRotated(keys, range_x=0.35, prob=0.5, mode=("bilinear", "nearest", "nearest"), padding_mode="zeros"),
        ]
        if places
        else []
    )
    change = Compose(
        [
            *moves,
            # of 255 grey levels: the window set a little otherwise, another phase of contrast, another dose
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
