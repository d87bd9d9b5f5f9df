"""`tr`: Slicer's translation of what the user reads; the text itself where there is no application."""

from __future__ import annotations

try:
    # Slicer tells by the calling file what the text belongs to, so it has to be its very function
    from slicer.i18n import tr
except ImportError:

    def tr(text: str) -> str:
        """The text as it is."""
        return text


__all__ = ["tr"]
