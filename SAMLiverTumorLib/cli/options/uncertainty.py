"""Options of `segment --mode volume` that combine several passes, and write how sure the result is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.plane import ORIENTATIONS

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.uncertainty.fusion import Fusion
    from SAMLiverTumorLib.inference.uncertainty.next_best_slice import NextSlice
    from SAMLiverTumorLib.inference.uncertainty.orientation_passes import Ensemble
    from SAMLiverTumorLib.voxel_map import VoxelMap


def add_fusion_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that the other functions here understand."""
    fusion = parser.add_argument_group("how sure it is (--mode volume)")
    fusion.add_argument(
        "--fuse",
        metavar="PLANES",
        help=f"combine with passes through other planes ({', '.join(ORIENTATIONS)}), comma-separated",
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


def maps_of(args: argparse.Namespace, fusion: Fusion) -> dict[Path, VoxelMap]:
    """What to write where."""
    both = {args.probability: fusion.probability, args.uncertainty: fusion.uncertainty}
    return {path: values for path, values in both.items() if path}


def fusion_report(args: argparse.Namespace, fusion: Fusion, best: NextSlice | None) -> dict:
    """What the report says of it: JSON-ready."""
    return {
        "passes": list(fusion.passes),
        "probability": str(args.probability) if args.probability else None,
        "uncertainty": str(args.uncertainty) if args.uncertainty else None,
        "next_best_slice": best.as_dict() if best is not None else None,
    }


def told(fusion: Fusion, best: NextSlice | None) -> list[str]:
    """The same for the user, line by line."""
    lines = []
    if len(fusion.passes) > 1:
        lines.append(f"fused: {', '.join(p['orientation'] for p in fusion.passes)}")
    if best is not None:
        r, a, s = best.center_ras
        lines.append(
            f"next best slice: {best.orientation} {best.index} at R {r:.1f}, A {a:.1f}, S {s:.1f} mm ({best.reason})"
        )
    return lines
