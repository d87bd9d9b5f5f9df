"""Prompts from the command line: Slicer's markups files, and coordinates."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.errors import InputError, PromptError
from SAMLiverTumorLib.prompts import Box, Prompts


def add_prompt_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `read_prompts` understands."""
    prompts = parser.add_argument_group("prompts")
    prompts.add_argument("--roi", type=Path, metavar="FILE.mrk.json", help="box: a markups ROI saved by Slicer")
    prompts.add_argument("--include", type=Path, metavar="FILE.mrk.json", help="include points saved by Slicer")
    prompts.add_argument("--exclude", type=Path, metavar="FILE.mrk.json", help="exclude points saved by Slicer")
    prompts.add_argument("--point", action="append", default=[], metavar="R,A,S", help="include point; repeatable")
    prompts.add_argument("--exclude-point", action="append", default=[], metavar="R,A,S", help="exclude point")
    prompts.add_argument("--box", metavar="R1,A1,S1,R2,A2,S2", help="box between two opposite corners")
    prompts.add_argument(
        "--text",
        metavar="CONCEPT",
        help='find everything that a concept such as "liver tumor" names, without clicks; best with --liver',
    )


def read_prompts(args: argparse.Namespace, scene) -> Prompts:
    """Prompts from files and coordinates together.

    :raises PromptError: coordinates that are not numbers, or a box given twice.
    :raises InputError: a file that is no markups file, or holds another kind of markups than needed.
    """
    from SAMLiverTumorLib.mrml.nodes.conversions import boxFromNode, definedPointsRas
    from SAMLiverTumorLib.mrml.scene_files import loadMarkups

    points = {}
    for option, file, given in (("include", args.include, args.point), ("exclude", args.exclude, args.exclude_point)):
        parts = [_numbers(text, 3, "R,A,S") for text in given]
        if file:
            node = loadMarkups(scene, file)
            if not node.IsA("vtkMRMLMarkupsFiducialNode"):
                raise InputError(f"'{file}' holds no point list; give an ROI as --roi.")
            parts.extend(definedPointsRas(node))
        points[option] = np.array(parts).reshape(-1, 3)
    boxes = []
    if args.roi:
        node = loadMarkups(scene, args.roi)
        box = boxFromNode(node) if node.IsA("vtkMRMLMarkupsROINode") else None
        if box is None:
            raise InputError(f"'{args.roi}' holds no drawn ROI box; save one from Slicer's Markups module.")
        boxes.append(box)
    if args.box:
        corners = _numbers(args.box, 6, "R1,A1,S1,R2,A2,S2")
        boxes.append(Box.from_corners(corners[:3], corners[3:]))
    if len(boxes) > 1:
        raise PromptError("Give the box either as --roi or as --box, not both.")
    return Prompts(points["include"], points["exclude"], boxes[0] if boxes else None)


def _numbers(text: str, count: int, form: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise PromptError(f"'{text}' is not of the form {form} in millimeters.")
    return numbers
