"""A CLIP of a few thousand random weights in a folder as open_clip saves them, with its own words (49,408 of them)."""

import json
from importlib.util import find_spec

import pytest

from SAMLiverTumorLib.models.networks.torchvision_ops import ensure_torchvision_imports

needs_open_clip = pytest.mark.skipif(
    find_spec("open_clip") is None, reason="open_clip_torch is not installed (requirements/dev.txt)"
)

CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def write_clip(folder, seed=0):
    """Write `open_clip_config.json` and weights; returns the folder."""
    ensure_torchvision_imports()
    import torch
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    network = CLIP(CONFIG["embed_dim"], CONFIG["vision_cfg"], CONFIG["text_cfg"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": {}}))
    save_file(
        {name: weight.contiguous() for name, weight in network.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return folder
