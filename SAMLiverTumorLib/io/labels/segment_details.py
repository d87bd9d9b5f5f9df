"""What is known of a segment beside its voxels: color, meaning, where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from SAMLiverTumorLib.io.json_text import parse_json
from SAMLiverTumorLib.io.labels.terminology import Terminology, terminology_of_name

PROVENANCE_TAG = "SAMLiverTumor.Provenance"
"""Name of the segment tag that holds the provenance, a JSON list, in Slicer and in its files."""

TERMINOLOGY_TAG = "TerminologyEntry"

# Slicer's importer of DICOM SEG keeps these.
ALGORITHM_TAG, ALGORITHM_TYPE_TAG = "DICOM.SegmentAlgorithmName", "DICOM.SegmentAlgorithmType"

# It drops these, but leaves them alone where they are: one finding keeps its identity from scan to scan.
TRACKING_UID_TAG, TRACKING_ID_TAG = "DICOM.TrackingUID", "DICOM.TrackingID"

TAGS = (TERMINOLOGY_TAG, PROVENANCE_TAG, ALGORITHM_TAG, ALGORITHM_TYPE_TAG, TRACKING_UID_TAG, TRACKING_ID_TAG)

MANUAL, SEMIAUTOMATIC, AUTOMATIC = "MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"
"""How a segment was made, in DICOM's words."""


@dataclass(frozen=True)
class SegmentDetails:
    """What is known of a segment beside its voxels.

    :param color: RGB in 0..1; None where the file has none.
    :param terminology: what it stands for; None where the file does not say.
    :param provenance: this project's JSON text on how it was made; empty where there is none.
    :param algorithm: name of the algorithm that made it, as the file says; empty where it does not.
    :param algorithm_type: MANUAL, SEMIAUTOMATIC or AUTOMATIC, as the file says; empty where it does not.
    :param tracking_uid: DICOM's identifier of the finding that is followed; empty where there is none.
    :param tracking_id: its name.
    """

    color: tuple[float, float, float] | None = None
    terminology: Terminology | None = None
    provenance: str = ""
    algorithm: str = ""
    algorithm_type: str = ""
    tracking_uid: str = ""
    tracking_id: str = ""

    def meaning(self, name: str) -> Terminology:
        """What the segment stands for; by its name where no codes are known."""
        return self.terminology or terminology_of_name(name)

    @property
    def tags(self) -> dict[str, str]:
        """What Slicer keeps in a segment's tags; without the terminology, which may be known from a name alone."""
        tags = {
            PROVENANCE_TAG: self.provenance,
            ALGORITHM_TAG: self.algorithm,
            ALGORITHM_TYPE_TAG: self.algorithm_type,
            TRACKING_UID_TAG: self.tracking_uid,
            TRACKING_ID_TAG: self.tracking_id,
        }
        # Slicer joins tags with "|" and does not escape it; JSON does without it
        instead = {PROVENANCE_TAG: "\\u007c"}
        return {tag: value.replace("|", instead.get(tag, "/")) for tag, value in tags.items() if value}

    @cached_property
    def provenance_entries(self) -> list[dict]:
        """The provenance, oldest entry first; empty where there is none, or none that can be read."""
        try:
            entries = parse_json(self.provenance or "[]")
        except ValueError:
            return []
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

    @property
    def models(self) -> list[dict]:
        """The models of the provenance (id, sha256, window), each once, in the order they were used."""
        found: dict[tuple, dict] = {}
        for entry in self.provenance_entries:
            for model in entry.get("models", ()):
                if isinstance(model, dict) and "id" in model:
                    found[str(model["id"]), str(model.get("sha256", ""))] = model
        return list(found.values())


def details_of_tags(tags: Mapping[str, str], color: tuple[float, float, float] | None = None) -> SegmentDetails:
    """The details of a segment of Slicer by its tags; `TAGS` are those that count."""
    return SegmentDetails(
        color,
        Terminology.parse(tags.get(TERMINOLOGY_TAG, "")),
        tags.get(PROVENANCE_TAG, ""),
        tags.get(ALGORITHM_TAG, ""),
        tags.get(ALGORITHM_TYPE_TAG, ""),
        tags.get(TRACKING_UID_TAG, ""),
        tags.get(TRACKING_ID_TAG, ""),
    )


def details_of_fields(tags: str, color: str) -> SegmentDetails:
    """The details of a segment in a .seg.nrrd.

    :param tags: "name:value|name:value|", as Slicer joins them.
    :param color: "r g b" in 0..1.
    """
    named = (tag.partition(":") for tag in tags.split("|"))
    return details_of_tags({name: value for name, colon, value in named if colon}, _color(color))


def _color(text: str) -> tuple[float, float, float] | None:
    try:
        red, green, blue = (min(max(float(part), 0.0), 1.0) for part in text.split())
    except ValueError:
        return None
    return red, green, blue
