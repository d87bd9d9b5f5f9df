"""One patient, stored in every way a file can store it."""

from itertools import permutations, product

import numpy as np

from SAMLiverTumorLib.volume import Volume

PATIENT_DIMENSIONS = (7, 6, 5)
PATIENT_SPACING = np.array([0.9, 1.3, 2.1])
PATIENT_ORIGIN = np.array([-2211.5, 1087.25, -3640.75])

# (order, signs): voxel axis n runs along patient axis order[n], toward R, A or S where signs[n] is 1.
STORAGE_ORDERS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def patient_value(r, a, s):
    """Grey value of the patient at grid position (r, a, s), counted toward right, anterior and superior."""
    return 100 * np.asarray(r) + 10 * np.asarray(a) + np.asarray(s)


def rotation(axis, degrees):
    """3x3 rotation about an axis (Rodrigues' formula)."""
    x, y, z = np.array(axis, float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def patient_ras(r, a, s, turn=None):
    """World position (mm) of a grid position of the patient, who lies turned by a 3x3 rotation."""
    turn = np.eye(3) if turn is None else turn
    return turn @ (PATIENT_ORIGIN + np.array([r, a, s]) * PATIENT_SPACING)


def stored(order, signs, turn=None):
    """The patient as a volume with the given axis order and directions, filled voxel by voxel."""
    dimensions = [PATIENT_DIMENSIONS[p] for p in order]
    array = np.zeros(dimensions[::-1], np.int16)

    def position(*ijk):
        grid = [0, 0, 0]
        for n, p in enumerate(order):
            grid[p] = ijk[n] if signs[n] > 0 else dimensions[n] - 1 - ijk[n]
        return grid

    for i, j, k in product(*map(range, dimensions)):
        array[k, j, i] = patient_value(*position(i, j, k))
    affine = np.eye(4)
    affine[:3, 3] = patient_ras(*position(0, 0, 0), turn)
    for n in range(3):
        neighbor = [0, 0, 0]
        neighbor[n] = 1
        affine[:3, n] = patient_ras(*position(*neighbor), turn) - affine[:3, 3]
    return Volume(array, affine, "patient")


def reordered(volume, order, signs):
    """The same volume with other voxel axes, and the 4x4 matrix from its voxels (i, j, k) to the original ones.

    Axis n runs along the original axis order[n], reversed if signs[n] < 0.
    """
    flips = tuple(slice(None, None, sign) for sign in signs)
    array = volume.array.transpose(2, 1, 0).transpose(order)[flips].transpose(2, 1, 0)
    to_original = np.zeros((4, 4))
    to_original[3, 3] = 1
    for axis, (source, sign) in enumerate(zip(order, signs, strict=True)):
        to_original[source, axis] = sign
        to_original[source, 3] = 0 if sign > 0 else volume.dimensions[source] - 1
    return Volume(np.ascontiguousarray(array), volume.ijk_to_ras @ to_original, "reordered"), to_original


def in_original_order(array, to_original, shape):
    """An array (k, j, i) on a reordered volume's voxels, as an array of the original shape."""
    place = np.argwhere(array)
    back = np.rint(place[:, ::-1] @ to_original[:3, :3].T + to_original[:3, 3]).astype(int)
    original = np.zeros(shape, array.dtype)
    original[tuple(back[:, ::-1].T)] = array[tuple(place.T)]
    return original
