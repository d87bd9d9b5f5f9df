"""Versions of the software behind a result."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from SAMLiverTumorLib import __version__


def versions() -> dict[str, str]:
    """Versions of this library and of what computes with it, for provenance."""
    versions = {"sam-liver-tumor": __version__}
    for package in ("torch", "segment-anything"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # a source folder on the path rather than an installed package
            versions[package] = "unknown"
    return versions
