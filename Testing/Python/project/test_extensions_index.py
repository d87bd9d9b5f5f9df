"""What the scripts of Slicer's Extensions Index check of a submission, as far as it can be checked here."""

import json
import re
import struct
import subprocess

import pytest


@pytest.fixture
def entry(root):
    return json.loads((root / "docs" / "SAMLiverTumor.json").read_text(encoding="utf-8"))


@pytest.fixture
def cmake(root):
    text = (root / "CMakeLists.txt").read_text(encoding="utf-8")
    return dict(re.findall(r'^set\((EXTENSION_\w+) "([^"\n]*)"\)$', text, re.MULTILINE)) | {
        "project": re.search(r"^project\((\w+)\)$", text, re.MULTILINE).group(1)
    }


def test_the_entry_is_named_as_the_project_and_not_after_slicer(root, cmake):
    assert (root / "docs" / f"{cmake['project']}.json").is_file()
    assert not cmake["project"].lower().startswith("slicer")


def test_the_entry_has_the_fields_of_the_schema_and_no_others(entry):
    required = {"$schema", "category", "scm_url"}
    optional = {"build_dependencies", "build_subdirectory", "enabled", "scm_revision", "scm_type", "tier"}
    assert required <= set(entry) <= required | optional
    assert entry["category"] == "Segmentation"
    assert entry["scm_url"].startswith("https://") and entry["scm_url"].endswith(".git")
    assert entry["tier"] in (1, 2, 3, 4, 5)


def test_the_entry_is_formatted_as_the_lint_of_the_index_wants_it(root, entry):
    # The index runs prettier with its plugin for multiline arrays (every element on a line of its own). For objects of
    # strings, numbers and arrays that is what json.dumps writes with an indentation of two.
    text = (root / "docs" / "SAMLiverTumor.json").read_text(encoding="utf-8")
    assert text == json.dumps(entry, indent=2, ensure_ascii=False) + "\n"
    assert '"build_dependencies": [\n    "PyTorch"\n  ],\n' in text


def test_the_repository_has_a_name_the_index_takes(entry):
    assert entry["scm_url"].split("/")[-1].startswith("Slicer")


def test_dependencies_agree_with_cmake(entry, cmake):
    assert cmake["EXTENSION_DEPENDS"].split() == entry["build_dependencies"]


def test_icon_and_screenshots_are_pictures_of_this_repository(root, cmake):
    urls = [cmake["EXTENSION_ICONURL"], *cmake["EXTENSION_SCREENSHOTURLS"].split()]
    assert len(urls) >= 2
    for url in urls:
        prefix, _, path = url.partition("/main/")
        assert prefix.startswith("https://raw.githubusercontent.com/")
        assert (root / path).read_bytes().startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))
    icon = (root / cmake["EXTENSION_ICONURL"].partition("/main/")[2]).read_bytes()
    assert struct.unpack(">II", icon[16:24]) == (128, 128)


def test_license_and_readme_are_there_with_what_the_review_asks(root):
    assert "Apache License" in (root / "LICENSE").read_text(encoding="utf-8")
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# SAM Liver Tumor\n")
    assert re.search(r"!\[[^]]+\]\((Resources/[^)]+)\)", readme)
    assert "## Cite" in readme and "## License" in readme


def test_text_files_have_unix_line_ends(root):
    for name in ("CMakeLists.txt", "docs/SAMLiverTumor.json", "README.md"):
        assert b"\r" not in (root / name).read_bytes()


def test_the_clone_is_far_below_a_hundred_megabytes(root):
    if not (root / ".git").exists():
        pytest.skip("needs a git clone")
    git = ["git", "-C", str(root), "count-objects", "-v"]
    sizes = dict(line.split(": ") for line in subprocess.check_output(git, text=True).splitlines())
    assert int(sizes["size"]) + int(sizes["size-pack"]) < 90 * 1024, "kilobytes in the repository"
    tracked = subprocess.check_output(["git", "-C", str(root), "ls-files", "-z"]).decode().split("\0")
    assert sum((root / name).stat().st_size for name in tracked if name and (root / name).is_file()) < 90e6
