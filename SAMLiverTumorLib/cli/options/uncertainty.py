"""Options of `segment --mode volume` that fuse several passes, and write how certain the result is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.plane import ORIENTATIONS

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.segmentation_request import SegmentationResult
    from SAMLiverTumorLib.inference.uncertainty.orientation_passes import Ensemble
    from SAMLiverTumorLib.voxel_map import VoxelMap


def add_fusion_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that the other functions here understand."""
    fusion = parser.add_argument_group("uncertainty (--mode volume)")
    fusion.add_argument(
        "--fuse",
        metavar="PLANES",
        help=f"fuse with passes through other planes ({', '.join(ORIENTATIONS)}), comma-separated",
    )
    fusion.add_argument("--probability", type=Path, metavar="OUT.nrrd", help="write each voxel's probability, percent")
    fusion.add_argument("--uncertainty", type=Path, metavar="OUT.nrrd", help="write each voxel's uncertainty, percent")


def given_options(args: argparse.Namespace) -> list[str]:
    """Names of these options that were given, for a mode that has no use for them."""
    return [name for name in ("fuse", "probability", "uncertainty") if getattr(args, name)]


def check_fusion_options(args: argparse.Namespace) -> None:
    """Refuse what cannot be, before anything is read or loaded.

    :raises InputError: an unknown plane.
    :raises OutputError: a map that cannot be written under its name.
    """
    from SAMLiverTumorLib.io.atomic import check_output
    from SAMLiverTumorLib.io.maps import check_map_name

    for path in filter(None, (args.probability, args.uncertainty)):
        check_map_name(path)
        check_output(path, args.overwrite)
    ensemble_of(args)


def ensemble_of(args: argparse.Namespace) -> Ensemble:
    """The passes asked for.

    :raises InputError: an unknown plane.
    """
    from SAMLiverTumorLib.inference.uncertainty.orientation_passes import Ensemble

    names = [name.strip() for name in args.fuse.split(",") if name.strip()] if args.fuse else []
    for name in names:
        if name not in ORIENTATIONS:
            raise InputError(f"--fuse knows no '{name}'; name planes ({', '.join(ORIENTATIONS)}).")
    return Ensemble(tuple(names))


def maps_of(args: argparse.Namespace, result: SegmentationResult) -> dict[Path, VoxelMap]:
    """What to write where."""
    both = {args.probability: result.probability, args.uncertainty: result.uncertainty}
    return {path: values for path, values in both.items() if path}
