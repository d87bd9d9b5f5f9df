"""Rigid registration of one scan to another of the same patient: reproducible, with a check of the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import numpy as np
import SimpleITK as sitk

from SAMLiverTumorLib.errors import Cancelled, InputError
from SAMLiverTumorLib.image.window import PRESETS, percentile_window
from SAMLiverTumorLib.io.images import set_image_affine
from SAMLiverTumorLib.volume import Volume, apply_affine

_RADIUS_MM = 100.0

# Both scans are resampled to voxels of this size: a liver is 150 mm, and the result is accurate to a part of a voxel.
_VOXEL_MM = 3.0
_FEWEST = 8

# Two runs with other random samples have to agree to this, at the corners of the first volume.
_AGREEMENT_MM = 5.0

# A larger rotation means another position of the patient, which rigid registration does not find by itself.
_MOST_DEGREES = 45.0

# For scans that are already aligned, random sampling alone changes the mutual information by less than this share.
_NOISE = 0.03

_BINS, _SAMPLED, _SEEDS = 32, 0.1, (1, 2)
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Registration:
    """The result of a registration.

    :param matrix: 4x4, from points of the first volume to those of the other, world RAS in mm.
    :param shift_mm: how far the center of the first volume is from its point in the other.
    :param rotation_degrees: angle of the rotation.
    :param information: Mattes mutual information of the two before (as they lay, 0 where they did not overlap) and
        after; more is better.
    :param uncertainty_mm: how far two runs lie apart at the corners of the first volume.
    """

    matrix: np.ndarray
    shift_mm: float
    rotation_degrees: float
    information: tuple[float, float]
    uncertainty_mm: float

    def describe(self, other: str, first: str) -> str:
        """One line for the user."""
        before, after = self.information
        return (
            f"'{other}' was moved onto '{first}': by {self.shift_mm:.1f} mm and {self.rotation_degrees:.1f} degrees; "
            f"mutual information {before:.2f} before, {after:.2f} after; two runs agree to {self.uncertainty_mm:.1f} "
            "mm."
        )

    def as_dict(self) -> dict:
        """What provenance says of it, JSON-ready."""
        return {
            "matrix": [[round(float(x), 6) for x in row] for row in self.matrix],
            "shift_mm": round(self.shift_mm, 3),
            "rotation_degrees": round(self.rotation_degrees, 3),
            "information": [round(x, 4) for x in self.information],
            "uncertainty_mm": round(self.uncertainty_mm, 3),
        }

    @classmethod
    def from_dict(cls, entry: dict) -> Registration:
        """Back from `as_dict`."""
        before, after = entry["information"]
        return cls(
            np.array(entry["matrix"], float).reshape(4, 4),
            float(entry["shift_mm"]),
            float(entry["rotation_degrees"]),
            (float(before), float(after)),
            float(entry["uncertainty_mm"]),
        )


def register_rigid(first: Volume, other: Volume, cancel: Callable[[], bool] | None = None) -> Registration:
    """Find the rotation and shift that align a scan with the first one, by Mattes mutual information.

    The modalities may differ. It runs twice with other random samples; the result is refused where the two runs differ
    or the scans match no better than before. Breathing and bending are not rigid: look at the result.

    :param cancel: asked at each step.
    :raises InputError: the two cannot be matched.
    :raises Cancelled: `cancel` answers true.

    >>> register_rigid(portal_venous, arterial).describe("arterial", "portal")              # doctest: +SKIP
    """
    with _one_thread():
        return _register_rigid(first, other, cancel or (lambda: False))


def _register_rigid(first: Volume, other: Volume, cancel: Callable[[], bool]) -> Registration:
    fixed, moving = _image(first), _image(other)
    start = sitk.Euler3DTransform()
    start.SetCenter(_center(fixed))
    centered = sitk.Euler3DTransform(start)
    centered.SetTranslation((np.array(_center(moving)) - _center(fixed)).tolist())
    # scans that are roughly aligned are best started from their own positions
    as_they_lie, from_centers = (_information(fixed, moving, transform) for transform in (start, centered))
    best = start if as_they_lie >= from_centers else centered
    try:
        found = [_registered(fixed, moving, best, seed, cancel) for seed in _SEEDS]
    except RuntimeError as error:
        raise InputError(_failed(first, other, "they do not overlap enough where they lie")) from error
    matrices = [_matrix(transform) for transform in found]
    corners = apply_affine(
        first.ijk_to_ras, np.array(list(product(*((0, n - 1) for n in first.dimensions))), dtype=float)
    )
    apart = float(np.linalg.norm(apply_affine(matrices[0], corners) - apply_affine(matrices[1], corners), axis=1).max())
    if apart > _AGREEMENT_MM:
        raise InputError(_failed(first, other, f"two runs lie {apart:.0f} mm apart"))
    after = _information(fixed, moving, found[0])
    if after < (1 - _NOISE) * max(as_they_lie, from_centers):
        raise InputError(_failed(first, other, "they match no better than before"))
    matrix = matrices[0]
    degrees = float(np.degrees(np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1))))
    if degrees > _MOST_DEGREES:
        raise InputError(_failed(first, other, f"one would have to be turned by {degrees:.0f} degrees"))
    center = corners.mean(axis=0)
    shift = float(np.linalg.norm(apply_affine(matrix, center)[0] - center))
    return Registration(matrix, shift, degrees, (as_they_lie, after), apart)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of several threads depend, in their last digits, on which comes first; ITK has no setting for one filter."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _image(volume: Volume) -> sitk.Image:
    """The volume in coarse voxels, its values from 0 to 1 within a window that shows organs."""
    factors = [max(round(_VOXEL_MM / mm), 1) for mm in volume.spacing]
    if min(n // factor for n, factor in zip(volume.dimensions, factors, strict=True)) < _FEWEST:
        raise InputError(f"'{volume.name}' is too thin to be matched with another scan: {volume.dimensions} voxels.")
    window = PRESETS["wide"] if volume.looks_like_hounsfield else percentile_window(volume)
    fine = sitk.GetImageFromArray(volume.array)
    set_image_affine(fine, volume.ijk_to_ras)
    coarse = sitk.BinShrink(fine, factors)
    values = sitk.GetArrayFromImage(coarse).astype(np.float32)
    image = sitk.GetImageFromArray((np.clip(values, window.low, window.high) - window.low) / (window.high - window.low))
    image.CopyInformation(coarse)
    return image


def _center(image: sitk.Image) -> list[float]:
    middle = [(n - 1) / 2 for n in image.GetSize()]
    return list(image.TransformContinuousIndexToPhysicalPoint(middle))


def _method(seed: int) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(_SAMPLED, seed)
    return method


def _information(fixed: sitk.Image, moving: sitk.Image, transform: sitk.Transform) -> float:
    """Mattes mutual information at a transform; 0 where there is no overlap."""
    method = _method(_SEEDS[0])
    method.SetInitialTransform(transform)
    try:
        return -method.MetricEvaluate(fixed, moving)
    except RuntimeError:
        return 0.0


def _registered(
    fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform, seed: int, cancel: Callable[[], bool]
) -> sitk.Transform:
    method = _method(seed)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=4.0, minStep=0.01, numberOfIterations=100, relaxationFactor=0.6
    )
    # a radian moves the edge of a liver by about as many millimeters as this
    method.SetOptimizerScales([*[_RADIUS_MM**2] * 3, 1.0, 1.0, 1.0])
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([6, 3, 0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(sitk.Euler3DTransform(start), inPlace=False)
    method.AddCommand(sitk.sitkIterationEvent, lambda: method.StopRegistration() if cancel() else None)
    transform = method.Execute(fixed, moving)
    if cancel():
        raise Cancelled("Cancelled.")
    return transform


def _matrix(transform: sitk.Transform) -> np.ndarray:
    """4x4 of a rigid transform, from points of the fixed to points of the moving image, RAS."""
    matrix = np.eye(4)
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    for axis in range(3):
        matrix[:3, axis] = np.array(transform.TransformPoint(np.eye(3)[axis].tolist())) - origin
    matrix[:3, 3] = origin
    return _LPS_TO_RAS @ matrix @ _LPS_TO_RAS


def _failed(first: Volume, other: Volume, reason: str) -> str:
    return (
        f"'{other.name}' cannot be moved onto '{first.name}' with certainty: {reason}. Register them in Slicer (module "
        "General Registration), look at the result, and give the registered volume."
    )
