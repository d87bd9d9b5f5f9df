"""Segmentations as NRRD text and bytes, with the fields of Slicer as other programs write them too."""

import gzip

import numpy as np
from support.nifti_files import AFFINE

_TYPES = {"uint8": "unsigned char", "int16": "short", "uint16": "unsigned short"}


def write_segmentation(path, layers, segments, affine=AFFINE, kinds=None, further=()):
    """Write a segmentation.

    :param layers: (k, j, i), or (layer, k, j, i) for a list axis that counts fastest.
    :param segments: a dict of fields for each: Name, LabelValue, Layer, ID and so on.
    :param kinds: of the axes; "" leaves them out, as pynrrd does.
    :param further: other header lines.
    """
    lps = np.diag([-1, -1, 1, 1]) @ affine
    directions = ["({:g},{:g},{:g})".format(*lps[:3, axis]) for axis in range(3)]
    sizes, names = layers.shape[:-4:-1], ["domain"] * 3
    if layers.ndim == 4:
        sizes, directions, names = (len(layers), *sizes), ["none", *directions], ["list", *names]
        layers = np.moveaxis(layers, 0, -1)
    kinds = " ".join(names) if kinds is None else kinds
    lines = [
        "NRRD0005",
        f"type: {_TYPES[layers.dtype.name]}",
        f"dimension: {layers.ndim}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {' '.join(directions)}",
        *([f"kinds: {kinds}"] if kinds else []),
        "endian: little",
        "encoding: gzip",
        "space origin: ({:g},{:g},{:g})".format(*lps[:3, 3]),
        *further,
        *(f"Segment{n}_{key}:={value}" for n, fields in enumerate(segments) for key, value in fields.items()),
    ]
    body = gzip.compress(np.ascontiguousarray(layers).tobytes(), mtime=0)
    path.write_bytes(("\n".join(lines) + "\n\n").encode() + body)
    return path


def named(name, value=1, layer=0, **fields):
    """The fields of a segment."""
    return {"ID": name, "Name": name, "LabelValue": value, "Layer": layer, **fields}
