"""The library's rooms stay as `docs/architecture.md` draws them: no import circle, and none that runs upward."""

import ast
from collections import defaultdict

import pytest

LIBRARY = "SAMLiverTumorLib"
FOLDERS = (
    "",  # the core types beside the package's __init__
    "io",
    "image",
    "models",
    "inference",
    "datasets",
    "evaluation",
    "training",
    "active_learning",
    "mrml",
    "batch",
    "panel",
    "segment_editor_sam",
    "cli",
)
"""From the ground up: a folder knows those before it, and itself."""
MOST_FILES = 16


def modules_of(folder):
    """Dotted name -> file, of every module below a folder; a package goes by its own name."""
    found = {}
    for path in sorted((folder / LIBRARY).rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(modules, name):
    """The library's modules that one imports: on top, in a function, or for its type hints alone."""
    found = set()
    for node in ast.walk(ast.parse(modules[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports relatively; name the module in full"
            wanted = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {each if each in modules else node.module for each in wanted}
    return {each for each in found if each in modules and each != name}


def circles(graph):
    """Groups of modules that reach each other, by Tarjan's strongly connected components."""
    number, lowest, path, found = {}, {}, [], []

    def visit(name):
        number[name] = lowest[name] = len(number)
        path.append(name)
        for other in sorted(graph[name]):
            if other not in number:
                visit(other)
            if other in path:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == number[name]:
            group = path[path.index(name) :]
            del path[path.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(graph):
        if name not in number:
            visit(name)
    return found


def folder_of(modules, name):
    """The library's folder that a module lies in; "" for the core types."""
    parts = name.split(".")
    is_package = modules[name].name == "__init__.py"
    return parts[1] if len(parts) > 2 or (is_package and len(parts) == 2) else ""


def upward(modules, graph):
    """Imports from a folder that stands above the importing one; `__main__` is the way in and knows the program."""
    height = {folder: n for n, folder in enumerate(FOLDERS)}
    return [
        f"{name} -> {other}"
        for name in sorted(graph)
        if name != f"{LIBRARY}.__main__"
        for other in sorted(graph[name])
        if height[folder_of(modules, other)] > height[folder_of(modules, name)]
    ]


@pytest.fixture(scope="module")
def library(root):
    modules = modules_of(root)
    return modules, {name: imports_of(modules, name) for name in modules}


def test_no_modules_import_each_other_in_a_circle(library):
    assert circles(library[1]) == []


def test_no_folder_imports_from_one_above_it(library):
    assert upward(*library) == []


def test_every_folder_has_its_place_in_the_order(root):
    folders = {path.parent.name for path in (root / LIBRARY).glob("*/__init__.py")}
    assert folders == set(FOLDERS) - {""}


def test_no_folder_has_more_files_than_one_reads_at_a_glance(root):
    sizes = defaultdict(int)
    for path in (root / LIBRARY).rglob("*.py"):
        sizes[path.parent.relative_to(root).as_posix()] += path.name != "__init__.py"
    assert {folder: count for folder, count in sizes.items() if count > MOST_FILES} == {}


def test_a_circle_and_an_upward_import_are_found(tmp_path):
    for name, text in {
        "__init__": "",
        "errors": "",
        "io/__init__": "",
        "io/files": "def read():\n    from SAMLiverTumorLib.image import window\n",
        "image/__init__": "",
        "image/window": "from SAMLiverTumorLib.io.files import read\n",
        "image/plane": "import SAMLiverTumorLib.errors\n",
    }.items():
        path = tmp_path / LIBRARY / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    modules = modules_of(tmp_path)
    graph = {name: imports_of(modules, name) for name in modules}
    assert circles(graph) == [["SAMLiverTumorLib.image.window", "SAMLiverTumorLib.io.files"]]
    assert upward(modules, graph) == ["SAMLiverTumorLib.io.files -> SAMLiverTumorLib.image.window"]
