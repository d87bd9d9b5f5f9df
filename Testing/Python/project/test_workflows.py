"""What the workflows and hooks run: commands that exist, files that exist, and the versions that are pinned."""

import ast
import importlib.util
import re

import pytest
import yaml

# Fixtures that bring weights, the developers' CT or a desktop.
FIXTURES = {"shared_data", "store", "lite_medsam", "mobile_sam", "pool", "warm", "lits7", "run_layers", "at_panel"}
GRAPHICS = {"slicer", "vtk", "PySide6", "desktop"}


@pytest.fixture(scope="module")
def workflows(root):
    """Every workflow by its file's name."""
    paths = sorted((root / ".github" / "workflows").glob("*.yml"))
    return {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths}


@pytest.fixture(scope="module")
def commands(workflows):
    """Every line that a step runs."""
    jobs = [job for workflow in workflows.values() for job in workflow["jobs"].values()]
    return [line.strip() for job in jobs for step in job["steps"] for line in step.get("run", "").splitlines()]


@pytest.fixture
def portable(root):
    """The test files that run on every platform, in relative POSIX paths."""
    return (root / "Testing" / "portable.txt").read_text(encoding="utf-8").split()


def test_workflows_call_commands_of_dev_py_that_exist(root, commands):
    spec = importlib.util.spec_from_file_location("dev_of_workflows", root / "dev.py")
    dev = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(dev)
    called = {line.split()[2] for line in commands if "dev.py" in line}
    assert {"test", "lint", "demo"} <= called <= set(dev.COMMANDS)


def test_workflows_name_files_that_exist(root, commands):
    named = {word.lstrip("@") for line in commands for word in line.split() if "Testing/" in word}
    assert named == {"Testing/portable.txt"}
    assert all((root / name).is_file() for name in named)


def test_every_supported_python_is_tested_on_every_platform(root, workflows):
    jobs = workflows["tests.yml"]["jobs"]
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    supported = re.findall(r"Python :: (3\.\d+)", text)
    assert supported == ["3.10", "3.11", "3.12", "3.13"]
    assert jobs["linux"]["runs-on"] == "ubuntu-latest"
    assert jobs["linux"]["strategy"]["matrix"]["python"] == supported
    assert jobs["unit"]["strategy"]["matrix"] == {"system": ["macos-latest", "windows-latest"], "python": supported}


def test_actions_are_pinned_by_their_major_version(workflows):
    used = {
        step["uses"]
        for workflow in workflows.values()
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if "uses" in step
    }
    assert used and all(re.fullmatch(r"actions/[\w-]+@v\d+", name) for name in used)


def test_portable_tests_exist_and_need_no_graphics_no_weights_and_no_shared_data(root, portable):
    assert len(portable) == len(set(portable)) >= 20
    for name in portable:
        tree = ast.parse((root / name).read_text(encoding="utf-8"))
        imported, arguments = set(), set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module)
            elif isinstance(node, ast.FunctionDef):
                arguments |= {argument.arg for argument in node.args.args}
        assert not arguments & FIXTURES, f"{name} asks for {arguments & FIXTURES}"
        assert not {module.split(".")[0] for module in imported} & GRAPHICS, name
        scene = {module for module in imported if re.match(r"SAMLiverTumorLib\.(mrml|panel)\b", module)}
        assert not scene, f"{name} imports {scene}"


def test_hooks_run_the_linters_in_the_pinned_versions(root):
    config = yaml.safe_load((root / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = {hook["id"]: hook for repository in config["repos"] for hook in repository["hooks"]}
    assert set(hooks) == {"ruff", "ruff-format", "mypy", "codespell"}
    pins = (root / "requirements" / "dev.txt").read_text(encoding="utf-8")
    for hook, package in (("ruff", "ruff"), ("ruff-format", "ruff"), ("mypy", "mypy")):
        pinned = re.search(rf"^{package}==\S+$", pins, re.MULTILINE)[0]
        assert hooks[hook]["additional_dependencies"] == [pinned]
