"""`sam-liver-tumor ircadb`: list cases of 3D-IRCADb, or convert their CT and structures to files."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.atomic import atomic_path, check_output
from SAMLiverTumorLib.listed import listed

if TYPE_CHECKING:
    from SAMLiverTumorLib.io.ircadb.cases import IrcadbCase

_DESCRIPTION = """\
List the content of 3D-IRCADb cases: folders or zip files as distributed, one patient or the whole set. With -o, write
each case as NAME_ct.nii.gz and NAME.seg.nrrd: liver tumors together in one segment and one by one, and every other
structure, with color and terminology. Masks are checked against LABELLED_DICOM. Zip files are read in memory.
"""

_FORMATS = ("nii.gz", "nrrd")


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the command to a program; its `run` is set as the parser's default."""
    parser = subparsers.add_parser(
        "ircadb",
        help="list or convert cases of 3D-IRCADb",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cases", nargs="+", type=Path, metavar="CASE_OR_SET", help="folder or zip file")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder to write to; created if missing")
    parser.add_argument("--format", choices=_FORMATS, default=_FORMATS[0], help="format of the CT (default: nii.gz)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """List the cases and, with -o, write them; returns 0.

    :raises InputError: a case is incomplete, or an archive is refused; the other cases are still read.
    :raises OutputError: a file cannot be written; cases before it have been written.
    """
    from SAMLiverTumorLib.cli.terminal import bar
    from SAMLiverTumorLib.io.ircadb.cases import LICENSE, find_ircadb, read_ircadb

    found = [case for path in args.cases for case in find_ircadb(path)]
    if args.output is not None:
        try:
            args.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"Folder '{args.output}' cannot be created ({error.strerror}); choose another."
            ) from error
        for name in {case.name for case in found}:
            _outputs(args, name)
    failed: dict[str, InputError] = {}
    for each in found:
        try:
            with bar(f"reading {each.name}", "slice") as progressed:
                case = read_ircadb(each.path, progress=progressed)
        except InputError as error:
            failed[each.name] = error
            print(f"{each.name}: not read\n  ! {error}\n")
            continue
        print("\n".join(describe(case)))
        if args.output is not None:
            for path in _write(args, case):
                print(f"  wrote {path}")
        print()
    print(LICENSE)
    if len(failed) == len(found) == 1:
        raise next(iter(failed.values()))
    if failed:
        raise InputError(f"{len(failed)} of {len(found)} cases could not be read: {listed(failed)}; see above.")
    return 0


def describe(case: IrcadbCase) -> list[str]:
    """Lines about a case: its voxels, every structure with its volume, and notes."""
    from SAMLiverTumorLib.io.ircadb.lits_cases import overlap_note

    size = " x ".join(map(str, case.volume.dimensions))
    spacing = " x ".join(f"{step:g}" for step in case.volume.spacing)
    lines = [f"{case.name}: {size} voxels of {spacing} mm"]
    rows = [(each.structure.name, f"{each.mask.volume_ml:,.2f} ml", _from(each)) for each in case.segments]
    if not case.tumors:
        rows.insert(0, ("(no liver tumor)", "", ""))
    widths = [max(len(row[n]) for row in rows) for n in range(2)]
    lines += [f"  {name:<{widths[0]}}  {ml:>{widths[1]}}  {source}".rstrip() for name, ml, source in rows]
    return [*lines, *(f"  ! {note}" for note in (*case.notes, overlap_note([case.name])) if note)]


def _from(each) -> str:
    """The folder that a segment came from, if its name differs."""
    folder = each.structure.folder
    if not folder:
        return "all folders of liver tumors"
    return f"MASKS_DICOM/{folder}" if folder != each.structure.name else ""


def _outputs(args: argparse.Namespace, name: str) -> tuple[Path, Path]:
    """The two files of a case.

    :raises OutputError: one of them cannot be written.
    """
    paths = args.output / f"{name}_ct.{args.format}", args.output / f"{name}.seg.nrrd"
    for path in paths:
        check_output(path, args.overwrite)
    return paths


def _write(args: argparse.Namespace, case: IrcadbCase) -> tuple[Path, Path]:
    """Both files of a case, or none."""
    from SAMLiverTumorLib.io.write_image import write_image
    from SAMLiverTumorLib.mrml.api.load_ircadb import addIrcadbCase
    from SAMLiverTumorLib.mrml.application.headless_scene import createScene
    from SAMLiverTumorLib.mrml.scene_files import saveSegmentation

    ct, segments = _outputs(args, case.name)
    _volumeNode, segmentationNode = addIrcadbCase(createScene(), case)
    # segments that do not overlap share a layer, which makes the file five times smaller
    segmentationNode.GetSegmentation().CollapseBinaryLabelmaps(False)
    with ExitStack() as outputs:
        write_image(case.volume.array, case.volume.ijk_to_ras, outputs.enter_context(atomic_path(ct, args.overwrite)))
        saveSegmentation(segmentationNode, segments, args.overwrite)
    return ct, segments
