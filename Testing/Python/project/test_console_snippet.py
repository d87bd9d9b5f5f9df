"""The lines that the README tells users to paste into Slicer's Python console, run as they stand there."""

import re

import pytest
import slicer
import slicer.util

from SAMLiverTumorLib.cli.demo import largest_components
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import createPromptNodes
from SAMLiverTumorLib.mrml.scene_files import loadVolume
from SAMLiverTumorLib.mrml.segments.segments import segmentArray


@pytest.fixture
def snippets(root):
    """The first two python blocks under the heading "Python console"."""
    text = (root / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^#+ Python console\n(.*?)(?=^#+ |\Z)", text, re.DOTALL | re.MULTILINE)
    blocks = re.findall(r"^```python\n(.*?)^```", section.group(1), re.DOTALL | re.MULTILINE)
    assert all(len(block.splitlines()) <= 12 for block in blocks)
    return blocks[:2]


def test_the_readmes_console_lines_segment_slices_and_the_whole_of_a_tumor_of_the_sample_case(
    snippets, sample_case, sample, store, capsys
):
    scene = createScene()
    volume_node = loadVolume(scene, sample_case / "ct.nii.gz")
    volume_node.SetName("LiTS117")
    include_node, exclude_node, roi_node = createPromptNodes(scene)
    for node, name in ((include_node, "Include"), (exclude_node, "Exclude"), (roi_node, "Box")):
        node.SetName(name)
        assert slicer.util.getNode(name) is node
    # two slices of the fourth largest tumor, k 73 and 74; on 73 it reaches from i 60 to 86 and j 66 to 95
    affine = sample[0].ijk_to_ras
    for node, ijk in ((include_node, (73, 81, 73, 1)), (exclude_node, (62, 72, 73, 1))):
        node.AddControlPointWorld(*(affine @ ijk)[:3])
    roi_node.SetCenter(*(affine @ (73, 80.5, 73.5, 1))[:3])
    roi_node.SetSize(42, 46, 2)

    lines = {"slicer": slicer}
    exec(compile(snippets[0], "README.md", "exec"), lines)

    result = lines["result"]
    assert [s.index for s in result.slices] == [73, 74]
    assert [s.model for s in result.slices] == ["liver-tumor", "lite-medsam"]
    mask = segmentArray(lines["segmentationNode"], lines["segmentId"], volume_node)
    truth = largest_components(sample[1] == 2, 4)[3]
    whole = truth.copy()
    truth[:73], truth[75:] = False, False
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.75
    # voxels of 1.36 x 1.36 x 1.6 mm
    assert capsys.readouterr().out == f"{mask.sum() * 0.00295936:.1f} ml on 2 slices\n"

    roi_node.SetCenter(*(affine @ (73, 80.5, 73, 1))[:3])
    roi_node.SetSize(42, 46, 0.1)
    exec(compile(snippets[1], "README.md", "exec"), lines)
    mask = segmentArray(lines["segmentationNode"], lines["segmentId"], volume_node)
    assert 2 * (mask & whole).sum() / (mask.sum() + whole.sum()) > 0.6
    assert re.fullmatch(r"((up|down): ended at slice \d+: .+\n){2}", capsys.readouterr().out)
