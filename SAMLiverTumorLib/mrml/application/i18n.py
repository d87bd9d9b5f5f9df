"""`tr`: Slicer's translation of text for the user; the text itself outside the application."""

from __future__ import annotations

try:
    # Slicer derives the translation context from the calling file, so its own function must be called
    from slicer.i18n import tr
except ImportError:

    def tr(text: str) -> str:
        """The unchanged text."""
        return text


__all__ = ["tr"]
