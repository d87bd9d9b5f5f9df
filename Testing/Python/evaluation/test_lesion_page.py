"""The page of a lesion report: self-contained HTML, a PDF of one sheet, images with both diameters."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from SAMLiverTumorLib.errors import OutputError
from SAMLiverTumorLib.evaluation.lesion_report.files import FILES, write_report
from SAMLiverTumorLib.evaluation.lesion_report.html_page import as_html, write_pdf
from SAMLiverTumorLib.evaluation.lesion_report.lesion_plot import draw_lesion
from SAMLiverTumorLib.evaluation.lesion_report.measure import measure_lesions
from SAMLiverTumorLib.evaluation.png_figures import new_figure
from SAMLiverTumorLib.volume import Volume

pytest.importorskip("matplotlib")

HOSTILE = "</title><script>alert('1')</script> & $x_1$ \"q\" €"


class Page(HTMLParser):
    """Tags, links and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for key, value in attributes if key in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def lesions(phantom):
    """The phantom's CT, a mask of 30 lesions on it, and the report."""
    mask = np.zeros(phantom.array.shape, bool)
    for n in range(30):
        row, column = divmod(n, 6)
        mask[10, 10 + 14 * row : 14 + 14 * row + row, 8 + 14 * column : 12 + 14 * column + column] = True
    return (
        phantom,
        mask,
        measure_lesions(mask, phantom, provenance=[{"models": [{"id": "<b>m</b>", "sha256": "a1b2"}]}]),
    )


def test_the_page_is_self_contained_and_runs_no_script(lesions):
    phantom, mask, report = lesions
    text = as_html(report, phantom, mask, HOSTILE)
    page = Page(text)
    assert "script" not in page.tags and "b" not in page.tags
    assert HOSTILE in page.words
    assert page.tags.count("img") == 6
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not re.search(r"https?://|@import|url\(", text)
    for link in page.links:
        png = base64.b64decode(link.split(",")[1], validate=True)
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
    shown = " ".join(page.words)
    assert "not a medical device" in shown and "<b>m</b> (SHA-256 a1b2)" in shown
    assert "10 smaller lesions are not listed here" in shown
    assert page.tags.count("tr") == 21


def test_the_page_has_as_many_images_as_requested(lesions):
    phantom, mask, report = lesions
    assert Page(as_html(report, phantom, mask, pictures=2)).tags.count("img") == 2
    none = as_html(report, phantom, mask, pictures=0)
    assert "img" not in Page(none).tags and "Images:" not in none


def test_a_report_without_lesions_is_a_page_as_well(phantom, tmp_path):
    mask = np.zeros(phantom.array.shape, bool)
    report = measure_lesions(mask, phantom)
    assert "No lesion." in " ".join(Page(as_html(report, phantom, mask)).words)
    write_pdf(tmp_path / "empty.pdf", report, phantom, mask)
    assert pages(tmp_path / "empty.pdf") == 1


def pages(path):
    return len(re.findall(rb"/Type /Page\b(?!s)", path.read_bytes()))


@pytest.mark.filterwarnings("ignore:Glyph")
def test_the_pdf_is_one_sheet_whatever_the_title(lesions, tmp_path):
    phantom, mask, report = lesions
    for title in (HOSTILE, "$\\frac{" + "a" * 500 + "\u75c5\u5909"):
        write_pdf(tmp_path / "page.pdf", report, phantom, mask, title, pictures=1)
        assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")
        assert pages(tmp_path / "page.pdf") == 1


def test_lines_in_the_image_are_as_long_as_the_diameters_and_end_at_the_outline(phantom):
    mask = np.zeros(phantom.array.shape, bool)
    mask[8:12, 30:44, 20:50] = True
    report = measure_lesions(mask, phantom)
    axes = new_figure(3, 3, layout=None).subplots()
    draw_lesion(axes, report.rows[0], phantom, mask)
    longest, perpendicular = (np.array(line.get_data()).T for line in axes.lines[:2])
    axial = report.rows[0].axial
    assert np.linalg.norm(np.diff(longest, axis=0)) == pytest.approx(axial.longest.mm)
    assert np.linalg.norm(np.diff(perpendicular, axis=0)) == pytest.approx(axial.perpendicular.mm)
    # columns 20..49 and rows 30..43 of 1.5 mm, in millimeters from the first pixel; stored in radiological orientation
    assert longest[:, 0].min() == pytest.approx(19.5 * 1.5, abs=0.8)
    assert longest[:, 0].max() == pytest.approx(49.5 * 1.5, abs=0.8)
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    assert left < longest[:, 0].min() and right > longest[:, 0].max()
    assert top < longest[:, 1].min() and bottom > longest[:, 1].max()


def test_the_patients_right_is_on_the_left_of_the_image_however_the_scan_is_stored(phantom):
    """A dark lesion in the right half; the scan is mirrored in storage, not in space."""
    mask = np.zeros(phantom.array.shape, bool)
    mask[10, 40:50, 10:20] = True  # this volume's i runs toward the left
    flipped = phantom.ijk_to_ras.copy()
    flipped[:3, 0] *= -1
    flipped[:3, 3] += phantom.ijk_to_ras[:3, 0] * (phantom.array.shape[2] - 1)
    images = []
    for volume, array in (
        (phantom, mask),
        (Volume(phantom.array[:, :, ::-1], flipped, "flipped"), np.ascontiguousarray(mask[:, :, ::-1])),
    ):
        figure = new_figure(3, 3, layout=None)
        draw_lesion(figure.add_axes((0, 0, 1, 1)), measure_lesions(array, volume).rows[0], volume, array)
        out = io.BytesIO()
        figure.savefig(out, format="rgba", dpi=50)
        images.append(np.frombuffer(out.getvalue(), np.uint8))
    assert images[0].shape == images[1].shape
    assert np.abs(images[0].astype(int) - images[1]).mean() < 1


def test_files_are_written_all_or_none(lesions, tmp_path, monkeypatch):
    phantom, mask, report = lesions
    folder = tmp_path / "new" / "report"
    written = write_report(folder, report, phantom, mask, pictures=1)
    assert sorted(path.name for path in written) == sorted(FILES) == sorted(p.name for p in folder.iterdir())
    before = {path: path.read_bytes() for path in written}
    with pytest.raises(OutputError, match="exists already"):
        write_report(folder, report, phantom, mask)

    def broken(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("SAMLiverTumorLib.evaluation.lesion_report.html_page.write_pdf", broken)
    with pytest.raises(OutputError, match="free some space"):
        write_report(folder, report, phantom, mask, overwrite=True)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="not a folder"):
        write_report(tmp_path / "file", report, phantom, mask)
