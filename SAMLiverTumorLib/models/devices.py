"""Which processor or graphics card a network runs on."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.nn import functional

from SAMLiverTumorLib.errors import InputError


def resolve_device(name: str) -> torch.device:
    """The device of that name; "auto" is the first CUDA device, else Apple's "mps" if it computes right, else the CPU.

    :raises InputError: there is no such device on this computer; the text says what to give instead.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps") if _mps_agrees() else torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and (kind != "cuda" or not number.isdecimal())):
        raise InputError(f"'{name}' is not a device; give auto, cpu, cuda, cuda:1 (the second one) or mps.")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise InputError(
                f"Device '{name}' was asked for, but PyTorch finds no CUDA graphics card here; give auto or cpu."
            )
        if int(number or 0) >= count:
            raise InputError(f"There is no device '{name}'; the last one here is cuda:{count - 1}.")
        return torch.device("cuda", int(number or 0))
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError("Device 'mps' was asked for, but this computer or its PyTorch has none; give auto or cpu.")
    return torch.device(kind)


@lru_cache(maxsize=1)
def _mps_agrees() -> bool:
    """Whether "mps" is there and gives the CPU's numbers for the kinds of layers in use.

    This project has no such machine to test on, and some of its operators were missing or wrong in releases of PyTorch.
    """
    if not torch.backends.mps.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    images, tokens = torch.rand(1, 8, 16, 16, generator=generator), torch.rand(1, 4, 8, generator=generator)
    layers = torch.nn.ModuleList([torch.nn.Conv2d(8, 8, 7, padding=3, groups=8), torch.nn.LayerNorm(8)]).eval()

    @torch.inference_mode()
    def answer(device: str) -> torch.Tensor:
        conv, norm = layers.to(device)
        x = conv(images.to(device).contiguous(memory_format=torch.channels_last))
        x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        keys = norm(x.flatten(2).transpose(1, 2))
        return functional.scaled_dot_product_attention(tokens.to(device), keys, keys).cpu()

    try:
        return bool(torch.allclose(answer("mps"), answer("cpu"), atol=1e-3))
    except (NotImplementedError, RuntimeError, TypeError):
        return False
