"""The documents: links that lead somewhere, a map that is true, decisions of one form."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = [ROOT / name for name in ("docs", "Resources", "Testing")]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in folder.rglob("*.md"))])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))


def without_code(text):
    """Markdown without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_within_the_repository_lead_to_files(path):
    text = without_code(path.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    inside = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
    assert [target for target in inside if not (path.parent / unquote(target)).exists()] == []


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name[:3])
def test_a_decision_is_a_page_of_context_decision_and_consequence(path):
    text = path.read_text(encoding="utf-8")
    assert re.match(r"# \S", text)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Measured consequence"]
    assert len(text.splitlines()) <= 60


def test_the_index_names_every_decision_by_its_title_in_order():
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| (\d{3}) \| \[(.*)\]\((.*)\) \|$", index, re.MULTILINE)
    titles = [path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") for path in DECISIONS]
    expected = [
        (f"{n:03d}", title, path.name) for n, (title, path) in enumerate(zip(titles, DECISIONS, strict=True), 1)
    ]
    assert named == expected
    assert all(name.startswith(number) for number, _, name in named)


def test_the_map_is_two_pages_at_most_and_names_files_that_exist():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert len(text.encode()) < 7500
    folders = [ROOT, *(path for path in (ROOT / "SAMLiverTumorLib").rglob("*") if path.is_dir())]
    named = re.findall(r"`([\w/]+(?:\.py|/))`", text)
    assert len(named) > 60
    places = (ROOT, ROOT / "SAMLiverTumorLib", *folders)
    assert [name for name in named if not any((place / name).exists() for place in places)] == []
