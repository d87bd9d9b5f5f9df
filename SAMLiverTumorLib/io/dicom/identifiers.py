"""Identifiers that a DICOM SEG refers to its source by, and those made up, with the user's consent, where they lack."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.errors import InputError

if TYPE_CHECKING:
    import pydicom

    from SAMLiverTumorLib.io.dicom.slices.frames import Frame

_NEEDED = {
    "StudyInstanceUID": "study",
    "SeriesInstanceUID": "series",
    "SOPInstanceUID": "images",
    "SOPClassUID": "kind of image",
    "FrameOfReferenceUID": "frame of reference",
}

_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


class MissingIdentifiers(InputError):
    """A series lacks what a DICOM SEG refers to it by; it can be made up if the user agrees.

    :param lacking: attribute -> what is wrong with it.
    """

    def __init__(self, text: str, lacking: dict[str, str]) -> None:
        super().__init__(text)
        self.lacking = lacking


def complete(headers: Sequence[pydicom.Dataset], frames: Sequence[Frame], derive: bool, where: str) -> tuple[str, ...]:
    """Give headers of one volume the identifiers that they lack or that differ from slice to slice.

    They are UIDs made from the SeriesInstanceUID, the same ones each time.

    :param headers: changed in place.
    :param derive: whether the user agrees.
    :param where: the series' place, for messages.
    :return: notes for the reader: what was made up.
    :raises MissingIdentifiers: something lacks and the user did not agree.
    """
    lacking = _lacking(headers)
    if not lacking:
        return ()
    if not derive:
        raise MissingIdentifiers(_refusal(lacking, where), lacking)
    if "SOPClassUID" in lacking and headers[0].get("Modality") != "CT":
        raise InputError(f"The series in '{where}' does not say what kind of image it is (SOPClassUID), and is no CT.")
    seed = _seed(frames)
    made = {}
    for n, header in enumerate(headers):
        for attribute in lacking:
            if attribute == "SOPClassUID":
                value = str(getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID", "")) or _CT_IMAGE
            elif attribute == "SOPInstanceUID":
                value = derived_uid(seed, attribute, str(n))
            else:
                value = derived_uid(seed, attribute)
            setattr(header, attribute, value)
            made[attribute] = value
    notes = []
    if "FrameOfReferenceUID" in lacking:
        notes.append(
            f"FrameOfReferenceUID {made['FrameOfReferenceUID']} was made from the series' UID, since the series has "
            f"{lacking['FrameOfReferenceUID']}; it is the same for all segmentations of this series."
        )
    if others := [f"{name} (the series has {what})" for name, what in lacking.items() if name != "FrameOfReferenceUID"]:
        notes.append(f"Made from the series' UID, and so in no file of the series: {', '.join(others)}.")
    return tuple(notes)


def derived_uid(*words: str) -> str:
    """A UID made of words, always the same one (PS3.5, B.2).

    >>> derived_uid("1.2.3", "FrameOfReferenceUID")
    '2.25.54535285162136787653259344605796022984'
    """
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, ' '.join(words)).int}"


def _lacking(headers: Sequence[pydicom.Dataset]) -> dict[str, str]:
    """Attribute -> what the series has of it, such as "none"."""
    lacking = {}
    for attribute in _NEEDED:
        values = {str(header.get(attribute) or "") for header in headers}
        if "" in values:
            lacking[attribute] = "none" if len(values) == 1 else "none in some slices"
        elif attribute == "SOPInstanceUID" and len(values) < len(headers):
            lacking[attribute] = f"{len(values)} for {len(headers)} images"
        elif attribute not in ("SOPInstanceUID", "SOPClassUID") and len(values) > 1:
            lacking[attribute] = f"{len(values)} of them"
    return lacking


def _refusal(lacking: dict[str, str], where: str) -> str:
    said = ", ".join(f"no {name}" if what == "none" else f"not one {name} ({what})" for name, what in lacking.items())
    what = ", ".join(_NEEDED[name] for name in lacking)
    return (
        f"The series in '{where}' has {said}, as in de-identified series and 3D-IRCADb, and a DICOM SEG has to say "
        f"which {what} it is of. Add --derive-frame-of-reference (in the panel, answer Yes) to have it made from the "
        "series' UID, or export a .seg.nrrd or .nii.gz."
    )


def _seed(frames: Sequence[Frame]) -> str:
    """What identifiers are made from: the series' UID, else the study's, else where the slices lie."""
    for values in ([frame.series_uid for frame in frames], [frame.study_uid for frame in frames]):
        if all(values) and len(set(values)) == 1:
            return values[0]
    places = np.round([frame.position for frame in frames], 2) + 0.0
    uids = " ".join(sorted({frame.series_uid for frame in frames} | {frame.instance_uid for frame in frames}))
    return hashlib.sha256(places.tobytes() + uids.encode()).hexdigest()
