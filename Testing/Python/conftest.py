"""Fixtures: real CT where `../shared` lies beside the checkout, real weights through the product's own store."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from SAMLiverTumorLib.volume import Volume

ROOT = Path(__file__).resolve().parents[2]
# embeddings that tests make are none of the user's; programs that tests start keep to it as well
os.environ["SAM_LIVER_TUMOR_CACHE"] = "off"
sys.path.insert(0, str(ROOT / "Testing"))


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
    from SAMLiverTumorLib.models.download.store import ModelStore
    from SAMLiverTumorLib.models.registry import get_model

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


@pytest.fixture(scope="session")
def pool(store):
    """Predictors for the whole session on the CPU: each network is loaded once, each picture encoded once."""
    from SAMLiverTumorLib.inference.pool import PredictorPool

    return PredictorPool(confirm=lambda question: True, store=store, device="cpu")


@pytest.fixture(scope="session")
def sample(sample_case):
    """The sample case as (volume, labels): labels (k, j, i) uint8 with 1 liver, 2 tumor."""
    from SAMLiverTumorLib.io.images import read_volume

    return read_volume(sample_case / "ct.nii.gz"), read_volume(sample_case / "label.nii.gz").array


@pytest.fixture(scope="session")
def lits7(shared_data):
    """LiTS case 7 as 8-bit grey, (volume, labels); 512 x 512 x 167 voxels of real CT."""
    import reference_table

    return reference_table.read_case(shared_data, 7)


@pytest.fixture
def phantom_file(phantom, tmp_path) -> Path:
    """The phantom as ct.nrrd in the test's folder."""
    from cli_case import write_volume

    return write_volume(tmp_path / "ct.nrrd", phantom)


@pytest.fixture
def warm(pool, monkeypatch):
    """The console program with the session's networks and embeddings instead of loading its own each time."""
    monkeypatch.setattr("SAMLiverTumorLib.inference.pool.PredictorPool", lambda *args, **options: pool)


@pytest.fixture(params=["ours", "slicer"])
def run_layers(request, tmp_path):
    """Run a program on a desktop of its own, over our Python layer and over Slicer's own; its standard output."""
    from desktop.process import run_on_desktop

    variables = {}
    if request.param == "slicer":
        if "SLICER_BASE_PYTHON" not in os.environ:
            pytest.skip("set SLICER_BASE_PYTHON to Base/Python of a Slicer 5.12 checkout")
        variables["SLICER_BASE_PYTHON"] = os.environ["SLICER_BASE_PYTHON"]
    return lambda program, **options: run_on_desktop(program, tmp_path, **variables, **options)


@pytest.fixture
def at_panel(tmp_path):
    """Run a program with `user` (see panel_case) at the open panel."""
    from desktop.process import run_on_desktop

    start = f"""
sys.path.insert(0, {str(ROOT / "Testing" / "support")!r})
from panel_case import SPECK, User
user = User(desktop, widget)
ui, panel, session = user.ui, user.panel, user.session
"""
    return lambda program, **options: run_on_desktop(start + program, tmp_path, **options)


@pytest.fixture
def ct(phantom_file) -> Path:
    """The CT that the console program is called with."""
    return phantom_file


@pytest.fixture
def out(tmp_path) -> Path:
    """The segmentation it is to write."""
    return tmp_path / "out.seg.nrrd"


@pytest.fixture(scope="module")
def one_thread():
    """Networks of a few channels are slower on two threads, which wait for each other on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
