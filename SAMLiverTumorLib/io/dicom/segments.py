"""Items of DICOM's Segment Sequence to names and details, and back to codes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from SAMLiverTumorLib import __version__
from SAMLiverTumorLib.io.labels.segment_details import AUTOMATIC, MANUAL, SEMIAUTOMATIC, SegmentDetails
from SAMLiverTumorLib.io.labels.terminology import Code, Terminology

if TYPE_CHECKING:
    import highdicom
    import pydicom

# A private element of this project in each segment: DICOM has no place for so long a text that every
# viewer may skip.
_CREATOR, _GROUP, _PROVENANCE_ELEMENT = "SAM LIVER TUMOR", 0x0073, 0x01


def segment_of_item(item: pydicom.Dataset) -> tuple[str, SegmentDetails]:
    """(name, details) of a segment; old objects name its algorithm in another place than new ones."""
    kind, category = (
        _code(item, "SegmentedPropertyTypeCodeSequence"),
        _code(item, "SegmentedPropertyCategoryCodeSequence"),
    )
    terminology = None
    if kind is not None and category is not None:
        types = item.SegmentedPropertyTypeCodeSequence[0]
        regions = item.get("AnatomicRegionSequence")
        terminology = Terminology(
            category,
            kind,
            _code(item, "AnatomicRegionSequence"),
            _code(types, "SegmentedPropertyTypeModifierCodeSequence"),
            _code(regions[0], "AnatomicRegionModifierSequence") if regions else None,
        )
    algorithm = str(item.get("SegmentAlgorithmName") or "")
    if not algorithm and (identification := item.get("SegmentationAlgorithmIdentificationSequence")):
        algorithm = str(identification[0].get("AlgorithmName") or "")
    meaning = kind.meaning if kind else ""
    name = str(item.get("SegmentLabel") or "").strip() or meaning or f"Segment {item.SegmentNumber}"
    details = SegmentDetails(
        _color(item),
        terminology,
        _provenance(item),
        algorithm,
        str(item.get("SegmentAlgorithmType") or ""),
        str(item.get("TrackingUID") or ""),
        str(item.get("TrackingID") or ""),
    )
    return name, details


def set_provenance(item: pydicom.Dataset, text: str) -> None:
    """Put this project's provenance (JSON) into a segment."""
    block = item.private_block(_GROUP, _CREATOR, create=True)
    block.add_new(_PROVENANCE_ELEMENT, "UT", text)


def _provenance(item: pydicom.Dataset) -> str:
    try:
        text = item.private_block(_GROUP, _CREATOR)[_PROVENANCE_ELEMENT].value
    except KeyError:
        return ""
    # a reader that does not know the element, in implicit syntax, gives bytes
    return text.decode("utf-8", "replace").rstrip("\0 ") if isinstance(text, bytes) else str(text)


def _code(holder: pydicom.Dataset, name: str) -> Code | None:
    items = holder.get(name)
    if not items:
        return None
    item = items[0]
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue")
    if not value:
        return None
    return Code(str(value), str(item.get("CodingSchemeDesignator") or ""), str(item.get("CodeMeaning") or ""))


def _color(item: pydicom.Dataset) -> tuple[float, float, float] | None:
    value = item.get("RecommendedDisplayCIELabValue")
    if not value or len(value) != 3:
        return None
    try:
        from highdicom.color import CIELabColor
    except ImportError:  # an optional package; a color is not worth an error
        return None
    red, green, blue = CIELabColor.from_dicom_value(tuple(map(int, value))).to_rgb()
    return red / 255.0, green / 255.0, blue / 255.0


def describe(number: int, name: str, details: SegmentDetails, algorithm: str = "") -> highdicom.seg.SegmentDescription:
    """A segment's item for highdicom.

    :param number: from 1.
    :param algorithm: what made it, where its details do not say; empty for by hand.
    """
    import highdicom
    from pydicom.sr.codedict import codes

    meaning = details.meaning(name)
    kind, known = _algorithm(details, algorithm)
    identification = None
    if known is not None:
        identification = highdicom.AlgorithmIdentificationSequence(family=codes.cid7162.ArtificialIntelligence, **known)
    item = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=_concept(meaning.category),
        segmented_property_type=_concept(meaning.type),
        algorithm_type=kind,
        algorithm_identification=identification,
        # tags of Slicer may have been edited by hand
        tracking_uid=details.tracking_uid if _is_uid(details.tracking_uid) else highdicom.UID(),
        tracking_id=details.tracking_id or name,
        anatomic_regions=[_concept(meaning.region)] if meaning.region else None,
        display_color=highdicom.color.CIELabColor.from_rgb(*_bytes(details.color)) if details.color else None,
    )
    if meaning.type_modifier:
        type_item = item.SegmentedPropertyTypeCodeSequence[0]
        type_item.SegmentedPropertyTypeModifierCodeSequence = [_concept(meaning.type_modifier)]
    if meaning.region and meaning.region_modifier:
        item.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [_concept(meaning.region_modifier)]
    return item


def _algorithm(details: SegmentDetails, default: str) -> tuple[str, dict | None]:
    """(how it was made, highdicom's arguments for the algorithm; None for by hand)."""
    if models := details.models:
        entries = details.provenance_entries
        prompted = any("text" not in (entry.get("prompts") or {}) for entry in entries)
        version = next(
            (v["sam-liver-tumor"] for e in reversed(entries) if "sam-liver-tumor" in (v := e.get("versions") or {})),
            __version__,
        )
        parameters = {}
        for n, model in enumerate(models, 1):
            which = f" {n}" if len(models) > 1 else ""
            parameters[f"model{which}"] = str(model["id"])
            parameters[f"sha256{which}"] = str(model.get("sha256", "unknown"))
            if window := model.get("window"):
                parameters[f"window{which}"] = " to ".join(f"{value:g}" for value in window)
        ids = ", ".join(dict.fromkeys(str(model["id"]) for model in models))
        return SEMIAUTOMATIC if prompted else AUTOMATIC, {
            "name": f"SAM Liver Tumor: {ids}"[:64],
            "version": str(version)[:64],
            "source": "SAM Liver Tumor",
            "parameters": parameters,
        }
    name = details.algorithm or default
    kind = details.algorithm_type if details.algorithm_type in (SEMIAUTOMATIC, AUTOMATIC, MANUAL) else AUTOMATIC
    if not name or kind == MANUAL:
        return MANUAL, None
    return kind, {"name": name[:64], "version": "unknown"}


def _is_uid(text: str) -> bool:
    return len(text) <= 64 and re.fullmatch(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+", text) is not None


def _concept(code: Code):
    import highdicom

    return highdicom.sr.CodedConcept(code.value, code.scheme, code.meaning[:64])


def _bytes(color: tuple[float, float, float]) -> tuple[int, ...]:
    return tuple(round(channel * 255) for channel in color)
