"""What the packaged extension holds: nothing catches a forgotten file but these tests."""

import email
import importlib.util
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from SAMLiverTumorLib import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# The parts of Slicer's CMake package that the extension uses: arguments are checked and files installed as there.
SLICER_CONFIG = r"""
set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/GenerateConfig.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/CPack.cmake")
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR "lib/Slicer-5.12/qt-scripted-modules")
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR "lib/Slicer-5.12/qt-scripted-modules")
"""
USE_SLICER = r"""
option(BUILD_TESTING "" ON)
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS OR NOT DEFINED MY_NAME)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: ${MY_UNPARSED_ARGUMENTS}")
  endif()
  set(_destination ${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR})
  if(MY_WITH_SUBDIR)
    get_filename_component(_folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
    string(APPEND _destination "/${_folder}")
  endif()
  foreach(_file ${MY_SCRIPTS} ${MY_RESOURCES})
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${_file})
      message(FATAL_ERROR "nonexistent file ${_file}")
    endif()
    get_filename_component(_folder ${_file} DIRECTORY)
    install(FILES ${_file} DESTINATION ${_destination}/${_folder})
  endforeach()
endmacro()
macro(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "SCRIPT;TESTNAME_PREFIX" "SLICER_ARGS" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS OR NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${MY_SCRIPT})
    message(FATAL_ERROR "slicer_add_python_unittest: ${MY_SCRIPT} ${MY_UNPARSED_ARGUMENTS}")
  endif()
  message(STATUS "unittest ${MY_SCRIPT}")
endmacro()
"""
METADATA = ("DEPENDS", "LICENSE_FILE", "README_FILE", "HOMEPAGE", "ICONURL", "SCREENSHOTURLS")
GENERATE_CONFIG = "".join(f'message(STATUS "EXTENSION_{name}=${{EXTENSION_{name}}}")\n' for name in METADATA)


@pytest.fixture(scope="module")
def cmake_lists():
    """The script that writes the lists."""
    path = Path(__file__).resolve().parents[2] / "cmake_lists.py"
    spec = importlib.util.spec_from_file_location("cmake_lists", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def differences(cmake_lists, root: Path) -> list[str]:
    """What is on disk and not listed, and the other way round, by name."""
    found = []
    for (cmake, variable), on_disk in cmake_lists.expected_lists(root).items():
        listed = cmake_lists.listed_files(cmake, variable)
        where = f"{cmake.relative_to(root).as_posix()} {variable}"
        found += [f"{where} lacks {name}" for name in on_disk if name not in listed]
        found += [f"{where} lists {name}, which does not exist" for name in listed if name not in on_disk]
    return found


def copy_checkout(root: Path, destination: Path) -> Path:
    """The parts of the repository that CMake sees."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
    for name in ("SAMLiverTumor", "SAMLiverTumorLib", "Resources", "Testing"):
        shutil.copytree(root / name, destination / name, ignore=ignore)
    shutil.copy(root / "CMakeLists.txt", destination)
    return destination


def metadata(root: Path) -> dict[str, str]:
    """The extension's metadata, read line by line as the Extensions Index does."""
    lines = (root / "CMakeLists.txt").read_text(encoding="utf-8").splitlines()
    matches = (re.fullmatch(r'set\(EXTENSION_(\w+) "([^"]*)"\)', line) for line in lines)
    return {match[1]: match[2] for match in matches if match}


def test_every_file_is_listed_and_every_listed_file_exists(root, cmake_lists):
    found = differences(cmake_lists, root)
    assert not found, "run: python dev.py cmake-lists\n" + "\n".join(found)


def test_a_forgotten_and_a_vanished_file_are_reported_and_fixed(root, tmp_path, cmake_lists):
    copy = copy_checkout(root, tmp_path)
    cmake_lists.rewrite(copy)
    (copy / "SAMLiverTumorLib" / "image" / "forgotten.py").touch()
    (copy / "SAMLiverTumorLib" / "plane.py").unlink()
    assert differences(cmake_lists, copy) == [
        "SAMLiverTumorLib/CMakeLists.txt MODULE_PYTHON_SCRIPTS lacks image/forgotten.py",
        "SAMLiverTumorLib/CMakeLists.txt MODULE_PYTHON_SCRIPTS lists plane.py, which does not exist",
    ]
    assert cmake_lists.rewrite(copy) == [copy / "SAMLiverTumorLib" / "CMakeLists.txt"]
    assert differences(cmake_lists, copy) == []


def test_every_folder_of_the_library_is_a_package(root):
    folders = {path.parent for path in (root / "SAMLiverTumorLib").rglob("*.py")}
    assert {folder for folder in folders if not (folder / "__init__.py").is_file()} == set()


def test_the_wheel_holds_every_file_of_the_library_and_nothing_else(root, tmp_path, cmake_lists):
    library = root / "SAMLiverTumorLib"
    shutil.copytree(library, tmp_path / "SAMLiverTumorLib", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "Testing").mkdir()
    (tmp_path / "Testing" / "__init__.py").touch()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, tmp_path)
    build = "from setuptools import build_meta; build_meta.build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("sam_liver_tumor-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        about = email.message_from_bytes(archive.read(next(n for n in archive.namelist() if n.endswith("/METADATA"))))
    assert held == {f"SAMLiverTumorLib/{name}" for name in cmake_lists.files_on_disk(library)}
    assert {Path(name).suffix for name in held} == {".py", ".json", ".png", ".ui"}
    assert f"Homepage, {metadata(root)['HOMEPAGE']}" in about.get_all("Project-URL")


def test_version_and_contributors_are_the_same_wherever_they_stand(root):
    texts = {
        name: (root / name).read_text(encoding="utf-8") for name in ("CITATION.cff", "CHANGELOG.md", "pyproject.toml")
    }
    assert re.search(r"^version: (.*)$", texts["CITATION.cff"], re.MULTILINE)[1] == __version__
    releases = re.findall(r"^## \[(\d.*?)\] - \d{4}-\d\d-\d\d$", texts["CHANGELOG.md"], re.MULTILINE)
    assert releases[0] == __version__
    author = re.search(r'^authors = \[\{ name = "(.*?)" \}\]$', texts["pyproject.toml"], re.MULTILINE)[1]
    assert author == metadata(root)["CONTRIBUTORS"]
    assert f"- name: {author}\n" in texts["CITATION.cff"]


def test_the_dev_extra_names_every_package_that_dev_py_installs(root):
    with (root / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["dev"]]
    wanted += [entry for name in re.search(r"\[(.*)\]", extras["dev"][0])[1].split(",") for entry in extras[name]]
    named = {re.match(r"[\w.-]+", entry)[0].lower() for entry in wanted}
    lines = [
        line for path in (root / "requirements").glob("*.txt") for line in path.read_text(encoding="utf-8").splitlines()
    ]
    pinned = {re.match(r"[\w.-]+", line)[0].lower() for line in lines if line and not line.startswith("#")}
    # slicer-core brings vtk; setuptools builds and is no dependency
    assert pinned - {"vtk", "setuptools"} == named - {"sam-liver-tumor"}


def test_the_module_folder_holds_modules_alone(root):
    # Slicer takes every .py directly in a module's folder for a module.
    names = sorted(path.name for path in (root / "SAMLiverTumor").glob("*.py"))
    assert names == ["SAMLiverTumor.py", "SegmentEditorSAMLiverTumor.py"]


def test_the_metadata_is_complete_and_its_urls_name_files_of_the_repository(root):
    found = metadata(root)
    required = {"HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"}
    assert required <= set(found)
    assert found["DEPENDS"] == "PyTorch"
    raw = found["HOMEPAGE"].replace("https://github.com/", "https://raw.githubusercontent.com/") + "/main/"
    assert found["HOMEPAGE"].rsplit("/", 1)[1] == "SlicerSAMLiverTumor"
    for url in [found["ICONURL"], *found["SCREENSHOTURLS"].split(" ")]:
        assert url.startswith(raw)
        assert (root / url[len(raw) :]).is_file(), f"{url} is not in the repository"


@pytest.mark.parametrize("name", ["Resources/SAMLiverTumor.png", "SAMLiverTumor/Resources/Icons/SAMLiverTumor.png"])
def test_the_icon_is_a_png_of_128_pixels(root, name):
    header = (root / name).read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:24]) == (128, 128)


def test_the_license_is_apache_2(root):
    text = (root / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text


def test_the_sample_case_is_small_and_attributed(root):
    folder = root / "Resources" / "SampleCase"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 6_000_000
    text = (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
    assert "CC BY-SA 4.0" in text and "LiTS" in text and "Medical Segmentation Decathlon" in text


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake")
def test_the_extension_configures_and_what_it_installs_can_be_imported(root, tmp_path, cmake_lists):
    source = copy_checkout(root, tmp_path / "source")
    cmake_lists.rewrite(source)
    slicer = tmp_path / "slicer"
    slicer.mkdir()
    files = {"SlicerConfig": SLICER_CONFIG, "UseSlicer": USE_SLICER, "GenerateConfig": GENERATE_CONFIG, "CPack": ""}
    for name, text in files.items():
        (slicer / f"{name}.cmake").write_text(text)
    build, prefix = tmp_path / "build", tmp_path / "installed"
    configure = ["cmake", "-S", source, "-B", build, f"-DSlicer_DIR={slicer}", f"-DCMAKE_INSTALL_PREFIX={prefix}"]
    done = subprocess.run(configure, capture_output=True, text=True, check=False)
    if "_COMPILER could be found" in done.stderr:
        pytest.skip("CMake's project() wants a compiler, and this machine has none")
    assert done.returncode == 0, done.stderr
    assert "-- EXTENSION_DEPENDS=PyTorch" in done.stdout
    assert f"-- EXTENSION_LICENSE_FILE={source.as_posix()}/LICENSE" in done.stdout
    assert "-- unittest SAMLiverTumor.py" in done.stdout
    subprocess.run(["cmake", "--install", build], check=True, capture_output=True)

    modules = prefix / "lib" / "Slicer-5.12" / "qt-scripted-modules"
    assert (modules / "SAMLiverTumor.py").is_file()
    assert (modules / "Resources" / "UI" / "SAMLiverTumor.ui").is_file()
    program = (
        "import SAMLiverTumorLib.resources as r, SAMLiverTumorLib.models.registry as m\n"
        "m.load_registry(); print(*r.sample_case().values(), sep='\\n')"
    )
    environment = dict(os.environ, PYTHONPATH=str(modules))
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    expected = [modules / "Resources" / "SampleCase" / f"{name}.nii.gz" for name in ("ct", "label")]
    assert [Path(line) for line in ran.stdout.split()] == expected
    assert all(path.is_file() for path in expected)
    in_build_tree = build / "lib" / "Slicer-5.12" / "qt-scripted-modules" / "Resources" / "SampleCase" / "ct.nii.gz"
    assert in_build_tree.is_file()
