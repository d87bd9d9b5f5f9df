"""What fast quality costs in Dice: boxes and single clicks on LiTS slices, against full quality."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import reference_table

from SAMLiverTumorLib.image.window import Window, plane_to_rgb
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.prompts import PlanePrompts

# 4, 8, 9 and 10 are held out: nothing is tuned on them
CASES = (0, 1, 2, 3, 5, 6, 7)


def losses(data: Path, model: str, slices: int, device: str = "cpu") -> list[dict]:
    """One entry for each case and kind of prompt: trials, mean Dice in full and in fast quality.

    :param data: the folder that holds `lits8`.
    :param slices: at most so many of each case, spread over those with tumor.
    """
    predictor = PredictorPool(confirm=lambda question: True, device=device, disk=None).predictor(model)
    found = []
    for case in CASES:
        volume, labels = reference_table.read_case(data, case)
        trials = reference_table.trials(volume, labels)
        chosen = np.unique(np.linspace(0, len(trials) - 1, min(slices, len(trials))).round().astype(int))
        dices = defaultdict(list)
        for k in np.array(list(trials))[chosen]:
            plane = slice_plane(volume, "axial", int(k))
            rgb = plane_to_rgb(volume, plane, Window(*reference_table.WINDOW))
            for mask in trials[k]:
                kinds = {"box": PlanePrompts(box=reference_table.box_around(mask))}
                if "points" in predictor.model.info.prompts:
                    kinds["click"] = PlanePrompts([reference_table.deepest_point(mask)], [1])
                for kind, prompts in kinds.items():
                    for quality, around in (("full", None), ("fast", prompts)):
                        embedding = predictor.embed(rgb, plane.spacing[1::-1], around=around)
                        predicted = predictor.predict(embedding, prompts).mask
                        dices[kind, quality].append(reference_table.dice(predicted, mask))
        for kind in sorted({kind for kind, _ in dices}):
            full, fast = (float(np.mean(dices[kind, quality])) for quality in ("full", "fast"))
            trials_count = len(dices[kind, "full"])
            found.append({"case": case, "prompt": kind, "trials": trials_count, "full": full, "fast": fast})
    return found


def lines(found: list[dict]) -> list[str]:
    """The table, with the mean over all trials last."""
    rows = list(found)
    for kind in sorted({entry["prompt"] for entry in found}):
        mine = [entry for entry in found if entry["prompt"] == kind]
        weights = [entry["trials"] for entry in mine]
        means = {
            quality: float(np.average([e[quality] for e in mine], weights=weights)) for quality in ("full", "fast")
        }
        rows.append({"case": "all", "prompt": kind, "trials": sum(weights), **means})
    return [
        f"case {row['case']!s:4} {row['prompt']:6} n={row['trials']:4d}   full {row['full']:.3f}   "
        f"fast {row['fast']:.3f}   loss {row['full'] - row['fast']:+.4f}"
        for row in rows
    ]
