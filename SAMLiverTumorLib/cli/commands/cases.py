"""`sam-liver-tumor cases`: accepted outlines, kept to train on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMLiverTumorLib.cli.options.liver import add_liver_label_option, check_liver_label, read_liver
from SAMLiverTumorLib.cli.options.prompts import add_prompt_options, read_prompts
from SAMLiverTumorLib.cli.options.series import add_series_option
from SAMLiverTumorLib.cli.text_table import aligned
from SAMLiverTumorLib.datasets.store.case_store import NEW, REPLACED, ROOT_VARIABLE, UNCHANGED, CaseStore
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.listed import listed

if TYPE_CHECKING:
    import numpy as np

    from SAMLiverTumorLib.datasets.store.case_record import KeptCase
    from SAMLiverTumorLib.io.labels.label_file import LabelFile

_DESCRIPTION = """\
Keep scans with accepted outlines of their tumors, to train on:

  sam-liver-tumor cases add CT SEGMENTATION [--segment NAME] [--liver FILE]
  sam-liver-tumor cases list
  sam-liver-tumor cases remove ID
  sam-liver-tumor cases export FOLDER
  sam-liver-tumor train --store --out RUN

Kept are voxels, spacing and directions, the models and prompts behind the outlines, and the day. Names, numbers and
dates of patient and study are left out, as are file names and the position in the scanner. Text burned into the pixels
stays there. A scan that is kept already is recognized by its voxels; its outlines are replaced.
"""
_STATES = {NEW: "kept", REPLACED: "kept in place of its earlier outlines", UNCHANGED: "is kept already, unchanged"}


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the command to a program; its `run` is set as the parser's default."""
    parser = subparsers.add_parser(
        "cases",
        help="keep accepted outlines to train on: add, list, remove, export",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser("add", help="keep a scan with its outlined tumors")
    add.add_argument("ct", type=Path, metavar="CT", help="as with segment")
    add_series_option(add)
    add.add_argument("segmentation", type=Path, metavar="SEGMENTATION", help="label map or .seg.nrrd of the same scan")
    add.add_argument(
        "--segment",
        action="append",
        default=[],
        metavar="NAME",
        help="segment, or value in a label map, that is tumor; repeatable (default: the only one, or those named so)",
    )
    add.add_argument("--liver", type=Path, metavar="FILE", help="labels of the liver, any value, for text prompts")
    add_liver_label_option(add)
    add.add_argument(
        "--liver-segment",
        metavar="NAME",
        help="segment or value of SEGMENTATION that is liver (default: that named so)",
    )
    add.add_argument("--name", metavar="NAME", help="name instead of a number; it is kept, so no patient's name")
    add.add_argument("--hold-out", type=Path, metavar="FILE", help="refuse patients listed in FILE, by CT's name")
    add_prompt_options(add)
    add.set_defaults(run=run_add)
    shown = actions.add_parser("list", help="list the cases")
    shown.add_argument("--json", action="store_true", help="as JSON, with models and prompts")
    shown.set_defaults(run=run_list)
    removed = actions.add_parser("remove", help="delete cases for good")
    removed.add_argument("cases", nargs="+", metavar="ID", help="number, its beginning, or name")
    removed.set_defaults(run=run_remove)
    exported = actions.add_parser("export", help="copy cases as images/NAME.nii.gz and labels/NAME.nii.gz")
    exported.add_argument("folder", type=Path, metavar="FOLDER", help="folder to write to; created if missing")
    exported.add_argument("cases", nargs="*", metavar="ID", help="cases to copy (default: all)")
    exported.add_argument("--overwrite", action="store_true", help="replace existing files")
    exported.set_defaults(run=run_export)
    for each in (add, shown, removed, exported):
        each.add_argument(
            "--store", type=Path, metavar="DIR", help=f"folder of the cases (default: {ROOT_VARIABLE}, or the user's)"
        )
    return parser


def run_add(args: argparse.Namespace) -> int:
    """Keep a case and print its name; returns 0.

    :raises SAMLiverTumorError: the user can fix it; nothing is kept then.
    """
    from SAMLiverTumorLib.datasets.cases import patient_of, read_hold_out, read_scan, refuse_held_out
    from SAMLiverTumorLib.datasets.store.anonymous_case import LIVER, TUMOR, TrainingCase
    from SAMLiverTumorLib.io.labels.grids import onto_grid
    from SAMLiverTumorLib.io.labels.region import read_named_labels

    check_liver_label(args)
    if args.hold_out:
        # the kept name is anonymous, so this is the last moment to check
        refuse_held_out([patient_of(args.ct), *([args.name] if args.name else [])], read_hold_out(args.hold_out))
    prompts = _prompts(args)
    volume = read_scan(args.ct, args.series, lambda note: print(f"note: {note}"))
    given = read_named_labels(args.segmentation)
    tumors, livers, taken = _chosen(given, args.segment, args.liver_segment, args.liver is None)
    moved, notes = onto_grid(given, volume.ijk_to_ras, volume.dimensions)
    labels = _painted(moved, livers, volume.array.shape) * LIVER
    said = [*given.notes, *taken, *notes]
    if (liver := read_liver(args, volume, said.append)) is not None:
        labels[liver] = LIVER
    labels[_painted(moved, tumors, volume.array.shape) > 0] = TUMOR
    provenance = [entry for name in tumors if name in given.details for entry in given.details[name].provenance_entries]
    case = TrainingCase(volume, labels, [*provenance, *prompts])
    added = CaseStore(args.store).add(case, args.name)
    for note in said:
        print(f"note: {note}")
    if not (labels == LIVER).any():
        print("note: there is no liver; with one, text prompts learn it, and slices without tumor can be used")
    print(f"{added.case.name} {_STATES[added.state]}: {_sizes(added.case)}; {added.case.folder}")
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Print the cases; returns 0.

    :raises InputError: the folder is not a store.
    """
    store = CaseStore(args.store)
    kept = store.list()
    if args.json:
        print(json.dumps([_plain(case) for case in kept], indent=1))
        return 0
    for line in _table(kept):
        print(line)
    for name in store.damaged():
        print(f"! {name} is damaged; remove it: sam-liver-tumor cases remove {name}")
    print(f"{len(kept)} case{'' if len(kept) == 1 else 's'} in {store.root}")
    return 0


def run_remove(args: argparse.Namespace) -> int:
    """Delete cases; returns 0.

    :raises SAMLiverTumorError: one of them does not exist; those named before it have been removed.
    """
    store = CaseStore(args.store)
    for name in args.cases:
        print(f"{store.remove(name)} removed")
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Copy cases as NIfTI files; returns 0.

    :raises SAMLiverTumorError: the user can fix it; cases named before it have been copied.
    """
    from SAMLiverTumorLib.datasets.store.nifti_export import export_case

    store = CaseStore(args.store)
    kept = [store.find(name) for name in args.cases] if args.cases else store.list()
    if not kept:
        raise InputError(f"No case is kept in '{store.root}' yet.")
    for case in kept:
        export_case(case, args.folder, args.overwrite)
    print(f"{len(kept)} case{'' if len(kept) == 1 else 's'} in {args.folder}: images and labels (1 liver, 2 tumor)")
    return 0


def _prompts(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The prompts given as options, as a provenance entry; empty without such options."""
    if not (args.roi or args.include or args.exclude or args.point or args.exclude_point or args.box):
        return [{"prompts": {"text": args.text}}] if args.text else []
    from SAMLiverTumorLib.mrml.application.headless_scene import createScene

    return [{"prompts": read_prompts(args, createScene()).as_dict() | ({"text": args.text} if args.text else {})}]


def _chosen(
    labels: LabelFile, wanted: Sequence[str], liver: str | None, with_liver: bool
) -> tuple[list[str], list[str], list[str]]:
    """(names of the segments that are tumor, names of those that are the liver, notes on what was not asked for).

    :param wanted, liver: names or values that the user gave.
    :param with_liver: whether a segment named liver is taken where none was given: no other file holds it.
    :raises InputError: there is no such segment, or there are several and none was chosen or is named a tumor.
    """
    from SAMLiverTumorLib.io.labels.liver import is_liver, is_liver_tumor

    found = {name: _named(labels, name) for name in [*wanted, *([liver] if liver else [])]}
    tumors = list(dict.fromkeys(found[name] for name in wanted))
    named = [name for name in labels.entries if is_liver(labels, name) and name not in tumors]
    livers = [found[liver]] if liver else named
    left = [name for name in labels.entries if name not in livers]
    tumors = tumors or [name for name in left if is_liver_tumor(labels, name)] or left
    if not wanted and (not left or (len(tumors) > 1 and not is_liver_tumor(labels, tumors[0]))):
        lits = " (in LiTS data --segment 2 --liver-segment 1)" if {"1", "2"} >= set(labels.entries) else ""
        held = listed(labels.entries, 20, quoted=True) or "no segment"
        raise InputError(f"'{labels.name}' has {held}; choose the tumor with --segment{lits}.")
    livers = livers if liver or with_liver else []
    said = [("tumor", tumors)] * (not wanted and len(labels.entries) > 1) + [("liver", livers)] * (not liver)
    told = "; ".join(f"{what} {listed(names, quoted=True)}" for what, names in said if names)
    return tumors, livers, [f"Taken from '{labels.name}': {told}."] if told else []


def _named(labels: LabelFile, wanted: str) -> str:
    """The segment of that name or value.

    :raises InputError: there is none, or several have the value.
    """
    from SAMLiverTumorLib.io.labels.liver import segments_named

    if found := segments_named(labels, wanted):
        return found[0]
    held = listed(labels.entries, 20, quoted=True) or "no segment"
    raise InputError(f"'{labels.name}' has no segment '{wanted}'; it has {held}.")


def _painted(labels: LabelFile, names: Sequence[str], shape: tuple[int, int, int]) -> np.ndarray:
    """uint8 (k, j, i): 1 inside any of the segments."""
    import numpy as np

    painted = np.zeros(shape, np.uint8)
    for name in names:
        painted[labels.segments[name]] = 1
    return painted


def _sizes(case: KeptCase) -> str:
    liver = "no liver" if case.liver_ml is None else f"liver {case.liver_ml:.0f} ml"
    return f"tumor {case.tumor_ml:.2f} ml, {liver}"


def _table(kept: Sequence[KeptCase]) -> list[str]:
    rows = [("name", "kept", "version", "voxels", "tumor ml", "liver ml", "models")]
    for case in kept:
        liver = "-" if case.liver_ml is None else f"{case.liver_ml:.0f}"
        size, models = " x ".join(map(str, case.voxels)), ", ".join(case.models) or "-"
        rows.append((case.name, case.stored, str(case.version), size, f"{case.tumor_ml:.2f}", liver, models))
    return aligned(rows) if kept else []


def _plain(case: KeptCase) -> dict[str, Any]:
    return {
        **{name: getattr(case, name) for name in ("id", "name", "version", "stored", "tumor_ml", "liver_ml")},
        "voxels": list(case.voxels),
        "spacing_mm": list(case.spacing_mm),
        "origin": list(case.origin),
        "image": str(case.image),
        "label": str(case.label),
    }
