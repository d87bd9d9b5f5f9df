"""NIfTI files byte by byte, as other programs write them, and a small CT with a liver and two tumors to fill them."""

import struct

import numpy as np

SPACING = (1.5, 1.5, 4.0)
AFFINE = np.array([[-1.5, 0, 0, 30.0], [0, -1.5, 0, 24.0], [0, 0, 4.0, -300.0], [0, 0, 0, 1.0]])
"""Of a usual supine axial CT: i to the left, j to the back, k to the head."""

_CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280}


def scan():
    """(CT int16, labels uint8 with 1 liver and 2 tumor), both (k, j, i): 12 x 32 x 40."""
    k, j, i = np.mgrid[:12, :32, :40]
    ct = np.full((12, 32, 40), -1000, np.int16)
    ct[(i - 20) ** 2 / 361 + (j - 16) ** 2 / 225 < 1] = -90
    ct[(i - 20) ** 2 / 300 + (j - 16) ** 2 / 180 < 1] = 40
    labels = np.zeros(ct.shape, np.uint8)
    labels[(i - 16) ** 2 / 90 + (j - 15) ** 2 / 64 + (k - 6) ** 2 / 16 < 1] = 1
    labels[(i - 14) ** 2 + (j - 13) ** 2 + (k - 6) ** 2 * 4 < 10] = 2
    labels[3, 16, 17] = 2
    ct[labels == 1], ct[labels == 2] = 110, 55
    return ct, labels


def nifti_bytes(array, affine=AFFINE, *, order="<", version=1, extra_sizes=(), changes=()):
    """A file of one part with sform and qform, both code 1.

    :param array: (k, j, i).
    :param affine: 4x4 whose axes run along the patient's, i and j negative.
    :param extra_sizes: of further dimensions.
    :param changes: (offset, struct format, values) each, of fields to overwrite.
    """
    sizes = (*array.shape[::-1], *extra_sizes)
    dim = (len(sizes), *sizes, *(1,) * (7 - len(sizes)))
    spacing = tuple(float(x) for x in np.linalg.norm(affine[:3, :3], axis=0))
    code, bits = _CODES[array.dtype.str[1:]], 8 * array.dtype.itemsize
    # half a turn about the third axis
    place = (0.0, 0.0, 1.0, *(float(x) for x in affine[:3, 3]))
    rows = tuple(float(x) for x in affine[:3].ravel())
    pixdim = (1.0, *spacing, 1.0, 1.0, 1.0, 1.0)
    if version == 2:
        header = bytearray(544)
        fields = [
            (0, "i", (540,)),
            (4, "8s", (b"n+2\0\r\n\x1a\n",)),
            (12, "2h", (code, bits)),
            (16, "8q", dim),
            (104, "8d", pixdim),
            (168, "q", (544,)),
            (176, "2d", (1.0, 0.0)),
            (344, "2i", (1, 1)),
            (352, "6d", place),
            (400, "12d", rows),
            (500, "i", (2,)),
        ]
    else:
        header = bytearray(352)
        fields = [
            (0, "i", (348,)),
            (40, "8h", dim),
            (70, "2h", (code, bits)),
            (76, "8f", pixdim),
            (108, "3f", (352.0, 1.0, 0.0)),
            (123, "B", (2,)),
            (252, "2h", (1, 1)),
            (256, "6f", place),
            (280, "12f", rows),
            (344, "4s", (b"n+1\0",)),
        ]
    for at, kind, values in (*fields, *changes):
        struct.pack_into(order + kind, header, at, *values)
    return bytes(header) + array.astype(array.dtype.newbyteorder(order)).tobytes()


def write_nifti(path, array, affine=AFFINE, **options):
    """Write such a file, uncompressed; see `nifti_bytes`."""
    path.write_bytes(nifti_bytes(array, affine, **options))
    return path
