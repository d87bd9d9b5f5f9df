"""A color table for maps over grey CT: from violet (low) to yellow (high), with uniformly increasing lightness."""

from __future__ import annotations

import numpy as np
import slicer

# Marks the table as ours; all maps of a scene share one.
HEAT_ATTRIBUTE = "SAMLiverTumor.HeatColors"

_COLORS = 256

# CIE L*a*b* in polar form, from the first color to the last: lightness, chroma, hue in degrees. Lightness alone orders
# the colors, so that they can be read with any kind of color vision.
_LIGHTNESS, _CHROMA, _HUE = (35.0, 92.0), (70.0, 75.0), (305.0, 460.0)

_D65 = np.array([0.95047, 1.0, 1.08883])
_XYZ_TO_RGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])


def heatColors() -> np.ndarray:
    """The colors as sRGB, (256, 3), 0 to 1, from low to high.

    CIE 1976 L*a*b* to sRGB by the formulas of IEC 61966-2-1; the chroma of out-of-gamut colors is reduced.
    """
    share = np.linspace(0.0, 1.0, _COLORS)
    lightness, hue = np.interp(share, (0, 1), _LIGHTNESS), np.radians(np.interp(share, (0, 1), _HUE))
    chroma = np.interp(share, (0, 1), _CHROMA)
    colors = np.zeros((_COLORS, 3))
    for paler in np.linspace(0.0, 1.0, 101):
        rgb = _rgb(lightness, chroma * paler, hue)
        shown = ((rgb >= 0.0) & (rgb <= 1.0)).all(axis=1)
        colors[shown] = rgb[shown]
    return colors


def heatColorNode(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    """The scene's table of these colors, made on first use."""
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode")):
        node = scene.GetNthNodeByClass(n, "vtkMRMLColorTableNode")
        if node.GetAttribute(HEAT_ATTRIBUTE):
            return node
    node = slicer.vtkMRMLColorTableNode()
    node.SetTypeToUser()
    node.SetName("SAM uncertainty")
    node.SetAttribute(HEAT_ATTRIBUTE, "1")
    node.SetHideFromEditors(False)
    node.SetNumberOfColors(_COLORS)
    for n, (red, green, blue) in enumerate(heatColors()):
        node.SetColor(n, f"{100 * n / (_COLORS - 1):.0f} %", float(red), float(green), float(blue), 1.0)
    return scene.AddNode(node)


def _rgb(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray) -> np.ndarray:
    y = (lightness + 16.0) / 116.0
    f = np.stack([y + chroma * np.cos(hue) / 500.0, y, y - chroma * np.sin(hue) / 200.0], axis=1)
    xyz = _D65 * np.where(f > 6.0 / 29.0, f**3, 3.0 * (6.0 / 29.0) ** 2 * (f - 4.0 / 29.0))
    linear = xyz @ _XYZ_TO_RGB.T
    return np.where(linear > 0.0031308, 1.055 * np.abs(linear) ** (1.0 / 2.4) - 0.055, 12.92 * linear)
