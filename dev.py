"""Set up, try and test SAM Liver Tumor from a checkout, with nothing but Python 3.10-3.13.

    python3 dev.py demo [...]   the main job on the sample case; images and figures in out/demo
    python3 dev.py test [...]   lint and tests; further arguments go to pytest (test -k plane)
    python3 dev.py run ...      the console program sam-liver-tumor with the given arguments
    python3 dev.py lint         ruff check, ruff format --check and mypy
    python3 dev.py bench [...]  benchmarks: speed (the default), panel, accuracy, fusion, train, soak, suggest, batch,
                                learning-curve; each takes --help
    python3 dev.py fuzz [...]   damaged files against every reader: --inputs N, --seed S, --target NAME
    python3 dev.py faults [...] kill, full disk, read-only folders, wrong clocks; afterwards everything is whole
    python3 dev.py screenshots  retake the screenshots of the panel in Resources/Screenshots
    python3 dev.py setup        only make or complete the environment in .venv
    python3 dev.py cmake-lists  rewrite the file lists of the CMake packages from what is on disk

Option: --torch cpu|gpu before other arguments (or SAM_LIVER_TUMOR_TORCH) chooses the build of PyTorch.
On Linux "cpu", the default, saves gigabytes; "gpu" takes the package index's own build, with CUDA.
"""
# Only the standard library, and no syntax newer than Python 3.6: an old Python must get as far as the version check.

import collections
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "sam-liver-tumor.json"
REQUIREMENTS = [ROOT / "requirements" / name for name in ("torch.txt", "runtime.txt", "dev.txt")]
OLDEST, NEWEST = (3, 10), (3, 13)
CPU_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
# A CPU environment measures 2.3 GB; the wheels lie beside it while pip unpacks them.
NEEDED_GB = 4
COMMANDS = ("demo", "test", "run", "lint", "bench", "fuzz", "faults", "screenshots", "setup", "cmake-lists")
# What pip says -> what to do, in order of preference: a full disk also breaks downloads.
HINTS = (
    (("no space left", "errno 28", "disk full"), "The disk is full. Free {gb} GB and run the same command again."),
    (
        ("ensurepip", "no module named venv", "no module named pip"),
        "This Python cannot make virtual environments. On Debian or Ubuntu: sudo apt install python{v}-venv",
    ),
    (
        (
            "temporary failure in name resolution",
            "failed to resolve",
            "getaddrinfo failed",
            "nodename nor servname",
            "newconnectionerror",
            "network is unreachable",
            "connecttimeout",
            "readtimeout",
            "read timed out",
            "connection refused",
            "connection reset",
            "connection broken",
            "proxyerror",
            "certificate_verify_failed",
            "sslerror",
        ),
        "The package index cannot be reached. Check the network; behind a proxy set HTTPS_PROXY, with a mirror set "
        "PIP_INDEX_URL, with wheels in a folder set PIP_FIND_LINKS. Run the same command again: it continues.",
    ),
    (
        ("no matching distribution", "could not find a version", "is not a supported wheel"),
        "Either the package index cannot be reached, or it has no wheel of that package for this Python ({v}) on this "
        "machine ({platform}). There are wheels for Python 3.10 to 3.13, 64 bit, on Linux x86_64 (glibc 2.28+), "
        "Windows and Apple Silicon.",
    ),
    (("permission denied", "errno 13", "winerror 5", "access is denied"), "No permission to write in {venv}."),
)


class SetupError(Exception):
    """The environment cannot be made; the text says why and what to do."""


def main(arguments: list) -> int:
    """Run one command; its exit status."""
    if not arguments or arguments[0] not in COMMANDS:
        print(__doc__)
        return 0 if arguments and arguments[0] in ("-h", "--help", "help") else 2
    command, rest = arguments[0], arguments[1:]
    if command == "cmake-lists":
        return subprocess.call([sys.executable, str(ROOT / "Testing" / "cmake_lists.py")])
    try:
        torch_build, rest = choose_torch(rest)
        python = ensure_environment(torch_build)
    except SetupError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"dev.py: {error}. {find_hint(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dev.py: stopped. Run the same command again: it continues.", file=sys.stderr)
        return 130
    program = [python, "-m", "SAMLiverTumorLib"]
    if command == "demo":
        return call([*program, "demo", "--yes", *rest], ROOT)
    if command == "run":
        return call([*program, *rest], Path.cwd())
    if command == "lint":
        return lint(python)
    if command in ("bench", "fuzz", "faults"):
        return call([python, f"Testing/{command}", *rest], ROOT)
    if command == "screenshots":
        return call([python, "Testing/screenshots.py"], ROOT)
    if command == "test":
        failed_lint = lint(python)
        failed_tests = call([python, "-m", "pytest", *rest], ROOT)
        if failed_lint and not failed_tests:
            print("dev.py: the tests passed, but ruff or mypy found something: see above.", file=sys.stderr)
        return failed_tests or failed_lint
    return 0


def lint(python: str) -> int:
    """ruff over the checkout and mypy over the folders that pyproject.toml names; 0 when all are content."""
    checks = (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"])
    statuses = [call([python, "-m", *arguments], ROOT) for arguments in checks]
    return next((status for status in statuses if status), 0)


def call(command: list, folder: Path) -> int:
    """Run a program of the environment in `folder`; its exit status."""
    # The checkout alone on the path: packages of the user's own PYTHONPATH must not shadow the pinned ones.
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    try:
        return subprocess.call([str(part) for part in command], cwd=str(folder), env=environment)
    except KeyboardInterrupt:
        return 130


def choose_torch(arguments: list) -> tuple:
    """The wanted build ("cpu", "gpu" or "" for what is there) and the arguments without the option."""
    chosen = os.environ.get("SAM_LIVER_TUMOR_TORCH", "")
    if arguments and arguments[0].startswith("--torch"):
        name, _, chosen = arguments[0].partition("=")
        arguments = arguments[1:]
        if not chosen and arguments:
            chosen, arguments = arguments[0], arguments[1:]
        if name != "--torch" or not chosen:
            raise SetupError("--torch takes cpu or gpu")
    if chosen not in ("", "cpu", "gpu"):
        raise SetupError(f"--torch and SAM_LIVER_TUMOR_TORCH take cpu or gpu, not {chosen!r}")
    return chosen, arguments


def ensure_environment(torch_build: str) -> str:
    """Make, complete or just find the environment; the path of its Python."""
    check_python()
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = read_stamp()
    torch_build = torch_build or stamp.get("torch") or "cpu"
    wanted = {"key": environment_key(), "torch": torch_build}
    if stamp == wanted and python.exists():
        return str(python)
    start = time.monotonic()
    free_gb = shutil.disk_usage(str(ROOT)).free / 1e9
    if free_gb < NEEDED_GB and not stamp:
        say(f"only {free_gb:.1f} GB are free here; setting up needs about {NEEDED_GB}")
    make_venv(python, stamp)
    if stamp.get("torch") not in (None, torch_build):
        pip(python, "removing the other build of torch", ["uninstall", "-y", "torch", "torchvision"])
    install_torch(python, torch_build)
    install = ["install", "--only-binary", ":all:"]
    for path in REQUIREMENTS:
        install += ["-r", str(path)]
    pip(python, "installing the pinned packages", install)
    editable = ["install", "--no-build-isolation", "--no-deps", "-e", str(ROOT)]
    pip(python, "installing the console program sam-liver-tumor", editable)
    STAMP.write_text(json.dumps(wanted), encoding="utf-8")
    say(f"ready after {time.monotonic() - start:.0f} s: {VENV}")
    return str(python)


def check_python() -> None:
    """Refuse a Python that the pinned packages have no wheels for, naming one that will do if it is here."""
    version = sys.version_info[:2]
    if OLDEST <= version <= NEWEST and sys.maxsize > 2**32:
        return
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    found = [name for name in names if shutil.which(name) and starts(name)]
    if found:
        advice = "{0} is on this machine: {0} dev.py {1}".format(found[0], " ".join(sys.argv[1:]))
    else:
        advice = "Install one, from python.org or your system's packages, and run dev.py with it."
    bits = 64 if sys.maxsize > 2**32 else 32
    raise SetupError(
        f"this is Python {version[0]}.{version[1]}, {bits} bit; the pinned packages need 3.10, 3.11, 3.12 or 3.13, "
        f"64 bit. {advice}"
    )


def starts(program: str) -> bool:
    """Whether a Python runs; the shims of pyenv stand on the path for versions that are not active."""
    return subprocess.call([program, "-c", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


def environment_key() -> str:
    """Changes whenever the environment has to be brought up to date."""
    digest = hashlib.sha256()
    for path in [*REQUIREMENTS, ROOT / "pyproject.toml"]:
        digest.update(path.read_bytes() if path.exists() else b"-")
    # A moved checkout leaves a broken environment behind: scripts hold its absolute path.
    digest.update(f"{sys.version_info[:3]} {sys.platform} {ROOT}".encode())
    return digest.hexdigest()


def read_stamp() -> dict:
    """What the last complete setup wrote; empty after none or an interrupted one."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def make_venv(python: Path, stamp: dict) -> None:
    """A virtual environment with pip, keeping one that works for this version of Python."""
    if stamp:
        STAMP.unlink()
    if python.exists():
        probe = [str(python), "-c", "import sys, pip; print(sys.version_info[:2], ascii(sys.prefix))"]
        try:
            found = subprocess.check_output(probe, stderr=subprocess.DEVNULL).decode("ascii").strip()
        except (OSError, subprocess.CalledProcessError):
            found = ""
        if found == f"{sys.version_info[:2]} {str(VENV)!a}":
            say(f"continuing with the environment in {VENV}")
            return
        say(f"the environment in {VENV} is broken or of another Python; making it anew")
    else:
        say(f"making the environment in {VENV} with Python {sys.version.split()[0]}")
    run_shown([sys.executable, "-m", "venv", "--clear", str(VENV)], "making the environment", lambda line: False)


def install_torch(python: Path, torch_build: str) -> None:
    """torch first, in the smallest build that works; the packages after it find it in place."""
    wanted = [line for line in REQUIREMENTS[0].read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#")]
    if torch_build == "gpu" or not sys.platform.startswith("linux"):
        return  # The package index's own build: with CUDA on Linux, already small on macOS and Windows.
    # --no-index leaves the folders of PIP_FIND_LINKS: a wheel on this machine costs no download.
    if try_pip(python, ["install", "--no-index", "--no-deps", wanted[0]]):
        say("torch taken from a wheel on this machine")
        return
    quick = ["--retries", "1", "--timeout", "20", "--index-url", CPU_TORCH_INDEX]
    say(f"downloading the CPU build of torch (about 200 MB) from {CPU_TORCH_INDEX}")
    if not try_pip(python, ["install", "--no-deps", *quick, *wanted]):
        say("that index cannot be reached: taking torch from the package index instead (with CUDA, several GB)")


def try_pip(python: Path, arguments: list) -> bool:
    """Whether pip did it; its complaint is not the user's business, as there is another way."""
    try:
        pip(python, "", arguments)
    except SetupError as error:
        if "disk is full" in str(error):
            raise
        return False
    return True


def pip(python: Path, what: str, arguments: list) -> None:
    """Run pip in the environment, showing what it collects, downloads and installs."""
    if what:
        say(what)
    shown = ("Downloading ", "Installing collected", "Successfully installed", "Using cached ")
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    run_shown(command, what, lambda line: line.strip().startswith(shown))


def run_shown(command: list, what: str, is_shown) -> None:
    """Run a program, printing the lines that show progress.

    :raises SetupError: with the program's last lines and what to do about them.
    """
    # A user's PIP_USER would send the packages out of the environment, a PYTHONPATH would hide what is missing in it.
    environment = dict(os.environ, PYTHONUNBUFFERED="1", PIP_USER="0")
    environment.pop("PYTHONPATH", None)
    lines = collections.deque(maxlen=200)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
    try:
        for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip()
            lines.append(line)
            if is_shown(line):
                text = line.strip()
                print("    " + (text if len(text) <= 110 else text[:107] + "..."), flush=True)
        status = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if status:
        tail = "\n".join("    " + line[:300] for line in list(lines)[-8:] if line)
        hint = find_hint("\n".join(lines))
        raise SetupError("{} failed. It said:\n{}\n{}".format(what or "pip", tail, hint))


def find_hint(output: str) -> str:
    """What to do about a failing venv or pip, from what it printed."""
    text = output.lower()
    for signs, hint in HINTS:
        if any(sign in text for sign in signs):
            version = "{}.{}".format(*sys.version_info[:2])
            return hint.format(gb=NEEDED_GB, v=version, platform=sys.platform, venv=VENV)
    return f"Run the same command again; if it fails in the same way, delete {VENV} first."


def say(text: str) -> None:
    """One line of progress."""
    print(f"dev.py: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
