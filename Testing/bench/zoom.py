"""`python3 dev.py bench zoom --data FOLDER`: is a small lesion outlined better with a crop of its slice?

Each lesion (26-connected component) is prompted on a few of the slices that show at least 12 pixels of it, evenly
chosen, by prompts derived from the reference: a box 2 pixels outside the piece, one click at its deepest pixel, and
that click with a second one at the deepest pixel of the largest error that it left. The ways to a mask, with the edge
of the crop in pixels:

    whole      the slice, as without zoom
    crop N     the crop around the prompts alone
    second N   the slice first; then, in its place where the two agree, the crop with that mask, or its box, as a prompt
    zoom N     the mean of both, as the product has it (`SAMLiverTumorLib/inference/zoom.py`)

Dice is that of the slice, by the lesion's equivalent diameter; behind it what was gained over "whole".
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from bench.accuracy_data import Case, Lesion, find_pairs, read_case
from bench.accuracy_report import interval
from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.evaluation.trials import box_around, deepest_point, evenly, largest_error
from SAMLiverTumorLib.image.sampling import voxels_to_picture, within
from SAMLiverTumorLib.image.window import parse_window, plane_to_rgb
from SAMLiverTumorLib.inference.crop import crop_around, mask_prompt
from SAMLiverTumorLib.inference.pictures import grown_box
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.prediction import Prediction
from SAMLiverTumorLib.inference.predictor import Predictor
from SAMLiverTumorLib.inference.zoom import LEAST_AGREEMENT, ON, choose_crop, zoomed
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.prompts import PlanePrompts

# Equivalent diameters in millimeters.
STRATA = ((0.0, 8.0), (8.0, 15.0), (15.0, 30.0), (30.0, np.inf))
LEAST_PX = 12
WAYS = ("crop", "second", "zoom")


@dataclass(frozen=True)
class Row:
    """One slice of a lesion of so many mm, one way of prompting it, one way to a mask, and its Dice."""

    case: str
    lesion: int
    mm: float
    index: int
    model: str
    prompt: str
    way: str
    dice: float


def main(arguments: list[str]) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench zoom", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="image and label pairs")
    parser.add_argument("--cases", nargs="+", metavar="N", help="only these")
    parser.add_argument("--models", nargs="+", default=["liver-tumor", "lite-medsam", "mobile-sam"], metavar="ID|FILE")
    parser.add_argument("--edges", nargs="+", type=int, default=[128, 256], metavar="PX", help="default: 128 256")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="besides whole; default: all")
    parser.add_argument("--slices", type=int, default=2, metavar="N", help="of each lesion, at most (default: 2)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write all trials")
    args = parser.parse_args(arguments)
    try:
        pool = PredictorPool(lambda question: True, device="cpu", disk=None)
        rows = []
        for pair in find_pairs(args.data, args.cases):
            case = read_case(pair, 0.0)
            for model in args.models:
                rows += rows_of(case, pool.predictor(model), args.edges, args.ways, args.slices)
                print(f"{case.name} {model}: {len(rows)} masks", file=sys.stderr, flush=True)
    except SAMLiverTumorError as error:
        print(f"bench zoom: {error}", file=sys.stderr)
        return 2
    for line in summary(rows):
        print(line)
    if args.out:
        args.out.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    return 0


def rows_of(case: Case, predictor: Predictor, edges: Sequence[int], ways: Sequence[str], slices: int) -> Iterator[Row]:
    """All masks of a case and a model."""
    info = predictor.model.info
    window = case.window or parse_window(info.default_window)
    for lesion in case.lesions:
        pieces = pieces_of(case, lesion)
        for index in evenly(list(pieces), slices):
            plane = slice_plane(case.volume, "axial", index)
            rgb, spacing = plane_to_rgb(case.volume, plane, window), plane.spacing[1::-1]
            embedding = predictor.embed(rgb, spacing)
            for prompt, given in _prompts(predictor, embedding, pieces[index]).items():
                whole = predictor.predict(embedding, given)
                masks = {"whole": whole.mask}
                for edge in edges:
                    masks.update(_masks(predictor, rgb, spacing, given, whole, edge, ways))
                for way, mask in masks.items():
                    mask = _kept(mask, given)
                    value = dice(mask, pieces[index])
                    yield Row(case.name, lesion.number, diameter_mm(lesion), index, info.id, prompt, way, value)


def pieces_of(case: Case, lesion: Lesion) -> dict[int, np.ndarray]:
    """By axial slice the largest 8-connected piece of a lesion there, bool (rows, columns), if it is no speck."""
    pieces = {}
    for index in np.flatnonzero(lesion.mask.any(axis=(1, 2))):
        picture = voxels_to_picture(lesion.mask, slice_plane(case.volume, "axial", int(index)))
        labels, _ = ndimage.label(picture, np.ones((3, 3)))
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        if sizes.max() >= LEAST_PX:
            pieces[int(index)] = labels == sizes.argmax()
    return pieces


def diameter_mm(lesion: Lesion) -> float:
    """Of the ball of the same volume."""
    return (6000.0 * lesion.ml / np.pi) ** (1 / 3)


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    """Of two masks, the second of which is not empty."""
    return 2.0 * np.count_nonzero(mask & truth) / (np.count_nonzero(mask) + np.count_nonzero(truth))


def _prompts(predictor: Predictor, embedding, truth: np.ndarray) -> dict[str, PlanePrompts]:
    prompts = {"box": PlanePrompts(box=box_around(truth))}
    if "points" in predictor.model.info.prompts:
        prompts["click"] = PlanePrompts([deepest_point(truth)], [1])
        error = largest_error(predictor.predict(embedding, prompts["click"]).mask, truth)
        if error is not None:
            (v, u), include = error
            prompts["2 clicks"] = PlanePrompts([deepest_point(truth), (u, v)], [1, int(include)])
    return prompts


def _masks(
    predictor: Predictor, rgb, spacing, given: PlanePrompts, whole: Prediction, edge: int, ways: Sequence[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """What the ways with crops of one size find; the whole slice's mask where nothing fits into one."""
    first, info = _kept(whole.mask, given), predictor.model.info
    if "crop" in ways:
        corners = [given.points[given.labels == 1]] + ([] if given.box is None else [np.reshape(given.box, (2, 2))])
        places = np.concatenate(corners)
        crop = crop_around((*places.min(axis=0), *places.max(axis=0)), edge, first.shape, spacing)
        found = first
        if crop is not None:
            piece = predictor.predict(predictor.embed(rgb, spacing, crop=crop), crop.prompts(given)).mask
            found = crop.onto(piece, np.zeros_like(first))
        yield f"crop {edge}", found
    crop = choose_crop(info, given, first, spacing, ON, edge)
    if "second" in ways:
        found = first
        if crop is not None:
            embedding = predictor.embed(rgb, spacing, crop=crop)
            asked = crop.prompts(given)
            if "mask" in info.prompts:
                asked = replace(asked, mask=mask_prompt(crop.of(whole.logits), embedding.geometry))
            else:
                asked = crop.prompts(replace(given, box=grown_box(first, 2)))
            piece = _kept(crop.onto(predictor.predict(embedding, asked).mask, np.zeros_like(first)), given)
            if np.count_nonzero(piece & first) >= LEAST_AGREEMENT * np.count_nonzero(piece | first):
                found = piece
        yield f"second {edge}", found
    if "zoom" in ways:
        yield f"zoom {edge}", zoomed(predictor, rgb, spacing, given, whole, ON, edge=edge)[0].mask


def _kept(mask: np.ndarray, given: PlanePrompts) -> np.ndarray:
    return mask if given.box is None else mask & within(given.box, mask.shape)


def summary(rows: Sequence[Row]) -> list[str]:
    """A Markdown table: mean Dice by model, prompt, way and stratum, and of all with the 95% interval of the gain."""
    names = [f"{low:g} to {high:g} mm" if high < np.inf else f"over {low:g} mm" for low, high in STRATA]
    by_key: dict[tuple, dict[tuple, Row]] = defaultdict(dict)
    for row in rows:
        by_key[row.model, row.prompt, row.way][row.case, row.lesion, row.index] = row
    lines = [
        "| model | prompt | way | " + " | ".join(names) + " | all | gain, 95% |",
        "|" + " --- |" * (len(names) + 5),
    ]
    for (model, prompt, way), found in by_key.items():
        whole = by_key[model, prompt, "whole"]
        cells, all_gains = [], []
        for low, high in (*STRATA, (0.0, np.inf)):
            mine = [trial for trial, row in found.items() if low <= row.mm < high]
            gains = [found[trial].dice - whole[trial].dice for trial in mine]
            all_gains = gains
            mean = f"{np.mean([found[trial].dice for trial in mine]):.3f}" if mine else "-"
            about = f"n = {len(mine)}" if way == "whole" else f"{np.mean(gains):+.3f}" if mine else ""
            cells.append(f"{mean} ({about})" if mine else "-")
        gain = "-" if way == "whole" else "{:+.3f} to {:+.3f}".format(*interval(all_gains))
        lines.append(f"| {model} | {prompt} | {way} | " + " | ".join(cells) + f" | {gain} |")
    return lines
