"""A small cohort: phantoms with one dark lesion each, prompts for them, and the program over them."""

import json
from pathlib import Path

import numpy as np
from cli_case import CENTER, write_volume

from SAMLiverTumorLib.batch.jobs import BatchSettings, Job, TumorPrompts
from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.io.atomic import TEMPORARY_PREFIX
from SAMLiverTumorLib.models.registry import get_model
from SAMLiverTumorLib.volume import Volume

R, A, S = CENTER
BOX = ((R - 15, A - 16, S), (R + 15, A + 16, S))
ROW = f"{R - 15},{A - 16},{S},{R + 15},{A + 16},{S},"
MODEL = "liver-tumor"


def write_scans(folder: Path, phantom: Volume, names) -> Path:
    """A phantom's middle slices, three since each takes a second, for each name; no two are alike."""
    folder.mkdir()
    affine = phantom.ijk_to_ras.copy()
    affine[:3, 3] += 9 * affine[:3, 2]
    for n, name in enumerate(names):
        array = np.roll(phantom.array[9:12], n, axis=2)
        write_volume(folder / f"{name}.nrrd", Volume(array, affine, name))
    return folder


def write_prompts(path: Path, names) -> Path:
    """A box on the lesion's middle slice for each name."""
    path.write_text("case,kind,r,a,s,r2,a2,s2,segment\n" + "".join(f"{name},box,{ROW}\n" for name in names))
    return path


def settings(**changes) -> BatchSettings:
    """The bundled model on one thread."""
    return BatchSettings(**{"model": MODEL, "hashes": ((MODEL, get_model(MODEL).sha256),), "threads": 1, **changes})


def jobs_of(folder: Path, out: Path) -> list[Job]:
    """A job with one box for each scan."""
    tumors = (TumorPrompts("Liver tumor", box=BOX),)
    return [Job(path.stem, path, out, tumors) for path in sorted(folder.iterdir())]


def batch(*words) -> int:
    """Exit status of `sam-liver-tumor batch ...` with the bundled model."""
    return main(["batch", *map(str, words), "--model", MODEL])


def cases_of(out: Path) -> dict[str, dict]:
    """Rows of summary.json by case."""
    report = json.loads((out / "summary.json").read_text())
    names = [row["case"] for row in report["cases"]]
    assert len(names) == len(set(names))
    return {row["case"]: row for row in report["cases"]}


def whole(out: Path, names) -> None:
    """Assert that a finished batch's folder holds each case once, and nothing else, whole or half.

    A process killed in the middle of writing leaves its hidden folder, which goes a day later.
    """
    from cli_case import read_segment

    def shown(folder: Path) -> set[str]:
        return {path.name for path in folder.iterdir() if not path.name.startswith(TEMPORARY_PREFIX)}

    expected = {"records", "summary.csv", "summary.json", "summary.md"} | {f"{name}.seg.nrrd" for name in names}
    assert shown(out) == expected
    assert shown(out / "records") == {f"{name}.json" for name in names}
    for name in names:
        mask, _ = read_segment(out / f"{name}.seg.nrrd")
        record = json.loads((out / "records" / f"{name}.json").read_text())
        assert int(mask.sum()) == record["segments"][0]["voxels"] > 0
