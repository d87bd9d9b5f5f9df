"""Fixtures: real CT where `../shared` lies beside the checkout, real weights through the product's own store."""

import os
from pathlib import Path

import numpy as np
import pytest

from SAMLiverTumorLib.volume import Volume

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's top folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real CT for development; skips where it is not beside the checkout."""
    folder = Path(os.environ.get("SAM_LIVER_TUMOR_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the development CT in {folder}")
    return folder


@pytest.fixture(scope="session")
def sample_case() -> Path:
    """The sample case that ships in the repository: ct.nii.gz and label.nii.gz."""
    return ROOT / "Resources" / "SampleCase"


@pytest.fixture(scope="session")
def store():
    """The user's model store, filled on demand: tests of real networks use real weights."""
    from SAMLiverTumorLib.models.registry import get_model
    from SAMLiverTumorLib.models.store import ModelStore

    store = ModelStore()
    for model_id in ("lite-medsam", "mobile-sam"):
        store.fetch(get_model(model_id), confirm=lambda question: True)
    return store


@pytest.fixture(scope="session")
def lite_medsam(store):
    """LiteMedSAM with its published weights, on the CPU."""
    from SAMLiverTumorLib.models.builders import load_model
    from SAMLiverTumorLib.models.registry import get_model

    info = get_model("lite-medsam")
    return load_model(store.path(info), info, device="cpu")


@pytest.fixture(scope="session")
def mobile_sam(store):
    """MobileSAM with its published weights, on the CPU."""
    from SAMLiverTumorLib.models.builders import load_model
    from SAMLiverTumorLib.models.registry import get_model

    info = get_model("mobile-sam")
    return load_model(store.path(info), info, device="cpu")


@pytest.fixture
def phantom() -> Volume:
    """A CT phantom in HU: body, liver and one dark lesion; anisotropic voxels, off-center origin, LPS-like axes."""
    k, j, i = np.meshgrid(np.arange(20), np.arange(96), np.arange(96), indexing="ij")
    body = ((i - 48) / 44) ** 2 + ((j - 48) / 36) ** 2 < 1
    liver = ((i - 36) / 26) ** 2 + ((j - 44) / 22) ** 2 + ((k - 10) / 9) ** 2 < 1
    lesion = ((i - 34) * 1.5) ** 2 + ((j - 44) * 1.5) ** 2 + ((k - 10) * 4.0) ** 2 < 14**2
    noise = np.random.default_rng(0).normal(0, 8, body.shape)
    hu = np.where(body, 20, -1000) + np.where(liver, 90, 0) - np.where(lesion, 60, 0) + np.where(body, noise, 0)
    affine = np.array([[-1.5, 0, 0, 101.5], [0, -1.5, 0, 40.25], [0, 0, 4.0, -312.0], [0, 0, 0, 1]])
    return Volume(hu.astype(np.int16), affine, "phantom")
