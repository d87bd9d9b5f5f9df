"""Weights of the right shapes and no meaning, for networks whose published weights are too big for tests."""

from pathlib import Path

import torch

from SAMLiverTumorLib.models.builders import build_networks


def random_state(architecture: str, seed: int = 0, input_size: int = 1024) -> dict[str, torch.Tensor]:
    """A state dict as a published checkpoint has it, through which signals and gradients keep their size."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, weight in build_networks(architecture, input_size).state_dict().items():
        if not weight.is_floating_point():
            state[name] = torch.zeros(weight.shape, dtype=weight.dtype)
        elif weight.ndim == 1 and name.endswith(("weight", "running_var")):
            state[name] = torch.ones(weight.shape)
        else:
            deviation = 0.02 if weight.ndim == 1 else weight[0].numel() ** -0.5
            state[name] = torch.empty(weight.shape).normal_(0, deviation, generator=generator)
    return state


def random_checkpoint(architecture: str, path: Path, seed: int = 0, input_size: int = 1024) -> Path:
    """Write such a state dict as `torch.save` does; vit_b takes 375 MB, tiny_vit 40 MB."""
    torch.save(random_state(architecture, seed, input_size), path)
    return path
