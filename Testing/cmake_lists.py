"""Keep the file lists of the CMake packages in line with the files on disk.

CMake's macro for scripted modules does not glob: a file that is not listed works in the checkout and is
missing from the packaged extension. `python dev.py cmake-lists` rewrites the lists; a test compares them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("SAMLiverTumor", "SAMLiverTumorLib")
SHIPPED = {"SAMPLE_CASE_FILES": "Resources/SampleCase", "MODEL_FILES": "Resources/Models"}
IGNORED = ("__pycache__", "Testing", "CMakeLists.txt")


def files_on_disk(folder: Path) -> list[str]:
    """Every file of a package that belongs in the extension, as sorted relative POSIX paths."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    kept = (path for path in paths if not any(part in IGNORED or part.startswith(".") for part in path.parts))
    return sorted(path.as_posix() for path in kept if path.suffix != ".pyc")


def listed_files(cmake: Path, variable: str) -> list[str]:
    """The entries of `set(variable ...)` in a CMakeLists.txt."""
    found = re.search(rf"^set\({variable}\n(.*?)^\s*\)", cmake.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    if found is None:
        raise ValueError(f"{cmake} has no list {variable}")
    return found.group(1).split()


def expected_lists(root: Path) -> dict[tuple[Path, str], list[str]]:
    """Expected content of each list: (CMakeLists.txt, variable) -> entries."""
    lists = {}
    for package in PACKAGES:
        files = files_on_disk(root / package)
        cmake = root / package / "CMakeLists.txt"
        lists[cmake, "MODULE_PYTHON_SCRIPTS"] = [name for name in files if name.endswith(".py")]
        lists[cmake, "MODULE_PYTHON_RESOURCES"] = [name for name in files if not name.endswith(".py")]
    for variable, folder in SHIPPED.items():
        files = [f"{folder}/{name}" for name in files_on_disk(root / folder)]
        lists[root / "CMakeLists.txt", variable] = files
    return lists


def rewrite(root: Path) -> list[Path]:
    """Write the expected lists; returns the files that changed."""
    changed = []
    for (cmake, variable), names in expected_lists(root).items():
        text = cmake.read_text(encoding="utf-8")
        entries = "".join(f"  {name}\n" for name in names)
        pattern = rf"^(set\({variable}\n).*?^(\s*\))"
        new = re.sub(pattern, rf"\g<1>{entries}\g<2>", text, count=1, flags=re.DOTALL | re.MULTILINE)
        if new != text:
            cmake.write_text(new, encoding="utf-8", newline="\n")
            changed.append(cmake)
    return changed


if __name__ == "__main__":
    for path in rewrite(ROOT):
        print(f"rewrote {path.relative_to(ROOT)}")
    sys.exit(0)
