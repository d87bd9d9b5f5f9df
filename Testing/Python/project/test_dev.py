"""dev.py: what it installs, when it does nothing, and what it says when something is missing."""

import ast
import errno
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture
def dev(root, tmp_path, monkeypatch):
    """dev.py with its environment and requirements in a folder of the test."""
    spec = importlib.util.spec_from_file_location("dev_under_test", root / "dev.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    requirements = []
    for path in module.REQUIREMENTS:
        requirements.append(tmp_path / path.name)
        shutil.copy(path, requirements[-1])
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "stamp.json")
    monkeypatch.setattr(module, "REQUIREMENTS", requirements)
    monkeypatch.delenv("SAM_LIVER_TUMOR_TORCH", raising=False)
    return module


@pytest.fixture
def pip_calls(dev, monkeypatch):
    """What dev.py asks of pip, recorded instead of run; `refuse(arguments)` makes pip fail."""
    calls = SimpleNamespace(arguments=[], refuse=lambda arguments: False)

    def pip(python, what, arguments):
        calls.arguments.append([str(argument) for argument in arguments])
        if calls.refuse(calls.arguments[-1]):
            raise dev.SetupError("pip failed")

    monkeypatch.setattr(dev, "pip", pip)
    monkeypatch.setattr(dev, "make_venv", lambda python, stamp: python.parent.mkdir(parents=True, exist_ok=True))
    monkeypatch.setattr(sys, "platform", "linux")
    return calls


def test_an_old_python_gets_as_far_as_the_version_check(root):
    ast.parse((root / "dev.py").read_text(encoding="utf-8"), feature_version=(3, 6))


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 14, 0), (2, 7, 18)])
def test_a_python_without_wheels_is_refused_naming_one_that_will_do(dev, monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(dev.shutil, "which", lambda name: "/bin/x" if name in ("python3.12", "python3.13") else None)
    monkeypatch.setattr(dev.subprocess, "call", lambda command, **options: int(command[0] == "python3.13"))
    with pytest.raises(dev.SetupError, match=rf"Python {version[0]}\.{version[1]}.*python3\.12 dev\.py"):
        dev.check_python()


@pytest.mark.parametrize("minor", [10, 11, 12, 13])
def test_the_supported_pythons_are_accepted(dev, monkeypatch, minor):
    monkeypatch.setattr(sys, "version_info", (3, minor, 1))
    dev.check_python()


def test_a_complete_environment_is_used_without_starting_a_program(dev, monkeypatch):
    python = dev.VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    python.parent.mkdir(parents=True)
    python.touch()
    dev.STAMP.write_text(json.dumps({"key": dev.environment_key(), "torch": "cpu"}))

    def refuse(*arguments, **options):
        raise AssertionError(f"started {arguments}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert dev.ensure_environment("") == str(python)


@pytest.mark.parametrize("name", ["torch.txt", "runtime.txt", "dev.txt", "pyproject.toml"])
def test_a_changed_requirement_changes_the_key(dev, tmp_path, name):
    before = dev.environment_key()
    with (tmp_path / name).open("a") as file:
        file.write("numpy==1.26.4\n")
    assert dev.environment_key() != before


def test_an_interrupted_setup_leaves_no_stamp(dev, pip_calls):
    pip_calls.refuse = lambda arguments: "-r" in arguments
    with pytest.raises(dev.SetupError):
        dev.ensure_environment("")
    assert not dev.STAMP.exists()
    pip_calls.refuse = lambda arguments: False
    dev.ensure_environment("")
    assert dev.read_stamp() == {"key": dev.environment_key(), "torch": "cpu"}


def test_a_half_made_environment_is_continued_and_a_broken_one_made_anew(dev):
    python = dev.VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    dev.make_venv(python, {})
    subprocess.run([python, "-m", "pip", "--version"], check=True, stdout=subprocess.DEVNULL)
    witness = dev.VENV / "witness"
    witness.touch()
    dev.make_venv(python, {})
    assert witness.exists()
    python.unlink()
    python.write_text("not a program")
    python.chmod(0o755)
    dev.make_venv(python, {})
    assert not witness.exists()


def test_a_torch_wheel_on_this_machine_is_taken_first_and_alone(dev, pip_calls):
    dev.ensure_environment("")
    assert pip_calls.arguments[0] == ["install", "--no-index", "--no-deps", "torch==2.13.0"]
    assert not any(dev.CPU_TORCH_INDEX in arguments for arguments in pip_calls.arguments)


def test_without_such_a_wheel_linux_takes_the_cpu_build(dev, pip_calls):
    pip_calls.refuse = lambda arguments: "--no-index" in arguments
    dev.ensure_environment("")
    assert dev.CPU_TORCH_INDEX in pip_calls.arguments[1]
    assert pip_calls.arguments[1][-2:] == ["torch==2.13.0", "torchvision==0.28.0"]


def test_without_that_index_the_package_index_is_taken_and_reported(dev, pip_calls, capsys):
    pip_calls.refuse = lambda arguments: "--no-deps" in arguments and "-e" not in arguments
    dev.ensure_environment("")
    assert "cannot be reached" in capsys.readouterr().out
    assert "-r" in pip_calls.arguments[2]


def test_asking_for_the_gpu_build_replaces_the_cpu_build(dev, pip_calls):
    dev.ensure_environment("")
    pip_calls.arguments.clear()
    dev.ensure_environment("gpu")
    assert pip_calls.arguments[0] == ["uninstall", "-y", "torch", "torchvision"]
    assert not any("--no-index" in arguments for arguments in pip_calls.arguments)
    assert dev.read_stamp()["torch"] == "gpu"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--torch", "gpu", "-k", "plane"], ("gpu", ["-k", "plane"])),
        (["--torch=cpu"], ("cpu", [])),
        (["-k", "x"], ("", ["-k", "x"])),
    ],
)
def test_the_torch_option_is_taken_out_of_the_arguments(dev, arguments, expected):
    assert dev.choose_torch(arguments) == expected


@pytest.mark.parametrize("arguments", [["--torch"], ["--torch", "tpu"], ["--torch-x", "cpu"]])
def test_a_wrong_torch_option_is_refused(dev, arguments):
    with pytest.raises(dev.SetupError, match="cpu or gpu"):
        dev.choose_torch(arguments)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("The virtual environment was not created successfully because ensurepip is not available.", "apt install"),
        ("No module named venv", "apt install"),
        (
            "NewConnectionError('Failed to establish a connection: [Errno -3] Temporary failure in name resolution')"
            "\nERROR: Could not find a version that satisfies the requirement numpy==2.4.6 (from versions: none)",
            "HTTPS_PROXY",
        ),
        ("ERROR: No matching distribution found for vtk==9.6.0", "no wheel of that package"),
        (f"OSError: [Errno {errno.ENOSPC}] No space left on device", "disk is full"),
        ("ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/x'", "No permission"),
        ("something never seen", "delete"),
    ],
)
def test_each_failure_is_answered_with_what_to_do(dev, said, advice):
    program = [sys.executable, "-c", f"print({said!r}); raise SystemExit(1)"]
    with pytest.raises(dev.SetupError) as raised:
        dev.run_shown(program, "installing", lambda line: False)
    assert said.splitlines()[-1] in str(raised.value)
    assert advice in str(raised.value)


def test_a_failing_setup_ends_with_status_2_and_no_traceback(dev, pip_calls, capsys):
    pip_calls.refuse = lambda arguments: "-r" in arguments
    assert dev.main(["demo"]) == 2
    assert capsys.readouterr().err.startswith("dev.py: pip failed")


def test_a_disk_that_fills_up_outside_pip_is_reported_too(dev, pip_calls, monkeypatch, capsys):
    def fill(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(dev, "install_torch", fill)
    assert dev.main(["setup"]) == 2
    assert "disk is full" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("failing", "expected"),
    [("nothing", 0), ("check", 1), ("format", 1), ("mypy", 1), ("pytest", 1), ("none but pytest", 0)],
)
def test_test_fails_when_lint_or_the_tests_fail_and_passes_arguments_on(dev, monkeypatch, failing, expected):
    calls = []

    def call(command, folder):
        calls.append(command)
        return int(failing in command)

    monkeypatch.setattr(dev, "call", call)
    monkeypatch.setattr(dev, "ensure_environment", lambda torch_build: "python")
    assert dev.main(["test", "-k", "plane"]) == expected
    assert [command[2:] for command in calls] == [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["pytest", "-k", "plane"],
    ]


def test_mypy_reads_the_core_types_and_the_folders_that_are_typed(root):
    with (root / "pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)["tool"]["mypy"]
    assert {f"SAMLiverTumorLib/{name}" for name in ("*.py", "image", "io", "models")} <= set(settings["files"])
    assert all(list(root.glob(name)) for name in settings["files"])
    # no file and no kind of error is taken out again
    assert not settings.keys() & {"exclude", "overrides", "ignore_errors", "disable_error_code"}


def test_what_mypy_passes_over_is_one_kind_of_error_with_a_reason(root):
    ignored = [
        line.strip()
        for path in (root / "SAMLiverTumorLib").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "type: ignore" in line
    ]
    assert ignored
    assert all(re.search(r"# type: ignore\[[\w-]+\]  # \w+", line) for line in ignored), ignored


def test_the_demo_runs_the_console_program_without_a_question(dev, monkeypatch):
    calls = []
    monkeypatch.setattr(dev, "call", lambda command, folder: calls.append((command, folder)) or 0)
    monkeypatch.setattr(dev, "ensure_environment", lambda torch_build: "python")
    assert dev.main(["demo", "--tumors", "1"]) == 0
    assert calls == [(["python", "-m", "SAMLiverTumorLib", "demo", "--yes", "--tumors", "1"], dev.ROOT)]


def test_every_package_is_pinned_on_every_supported_python(root):
    pins: dict[str, list[str]] = {}
    for path in sorted((root / "requirements").glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                where = r'; python_version (<|>=) "3.11"|; sys_platform == "linux"'
                match = re.fullmatch(rf"([\w.-]+)(==|>=)([\w.]+)(?:{where})?", line)
                assert match, f"{path.name}: {line}"
                pins.setdefault(match[1].lower(), []).append(match[2] + (match[4] or ""))
    assert pins.pop("setuptools") == [">="]
    # Python 3.11 has it as tomllib
    assert pins["tomli"] == ["==<"]
    pins["tomli"] = ["=="]
    assert all(sorted(kinds) in (["=="], ["==<", "==>="]) for kinds in pins.values()), pins
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    declared = re.search(r"^dependencies = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)[1]
    names = {re.match(r"[\w.-]+", entry)[0].lower() for entry in re.findall(r'"([^"]+)"', declared)}
    assert names <= set(pins)
