"""The pictures behind the reference embeddings in `Testing/Data`, made from formulas so that none is stored."""

import numpy as np

_INPUT_SIZES = {"mobile-sam": 1024, "lite-medsam": 256}
_MEAN = np.array([123.675, 116.28, 103.53])[:, None, None]
_STD = np.array([58.395, 57.12, 57.375])[:, None, None]


def formula_image(variant: str) -> np.ndarray:
    """Waves of different length and direction in each channel, (3, size, size) float32 in -1.3 to 1.3."""
    size = _INPUT_SIZES[variant]
    v, u = np.meshgrid(np.arange(size) / size, np.arange(size) / size, indexing="ij")
    channels = [
        np.sin(2 * np.pi * (9 * c + 7) * u + 0.5 * c) * np.cos(2 * np.pi * (5 * c + 4) * v)
        + 0.3 * np.sin(40 * u * v + c)
        for c in range(3)
    ]
    return np.stack(channels).astype(np.float32)


def slice_image(variant: str) -> np.ndarray:
    """Like a liver CT slice in a soft tissue window, normalized as the variant wants it; (3, size, size) float32."""
    size = _INPUT_SIZES[variant]
    v, u = np.meshgrid(np.arange(size) / size, np.arange(size) / size, indexing="ij")

    def inside(u0, v0, ru, rv):
        return 0.5 - 0.5 * np.tanh(30 * (np.hypot((u - u0) / ru, (v - v0) / rv) - 1))

    gray = 110 * inside(0.5, 0.5, 0.44, 0.34) + 60 * inside(0.38, 0.46, 0.22, 0.2)
    gray += 80 * inside(0.52, 0.72, 0.06, 0.06) - 45 * inside(0.33, 0.44, 0.06, 0.05)
    gray += 6 * np.sin(300 * u) * np.sin(260 * v) * inside(0.5, 0.5, 0.44, 0.34)
    gray = np.clip(gray, 0, 255)
    if variant == "mobile-sam":
        return ((gray - _MEAN) / _STD).astype(np.float32)
    return np.repeat(((gray - gray.min()) / np.ptp(gray))[None], 3, axis=0).astype(np.float32)
