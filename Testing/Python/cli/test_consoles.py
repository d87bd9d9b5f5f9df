"""No console, stream or working folder ends the program early or in a traceback: the result is written all the same."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_case import write_volume

from SAMLiverTumorLib.cli.terminal import confirm_on_terminal
from SAMLiverTumorLib.volume import Volume

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = f'"{sys.executable}" -m SAMLiverTumorLib'
COMMANDS = [
    *("segment", "batch", "train", "cases", "suggest", "compare"),
    *("evaluate", "report", "export", "ircadb", "models", "demo"),
]

# every command, in one process: its help, and what it says of files that do not exist
EVERY = f"""
import sys
from SAMLiverTumorLib.cli.main import main
bad = []
for command in {COMMANDS!r}:
    for words in ([command, "--help"], [command, "\\u809d.nii.gz", "--nonsense-\\udcff"]):
        try:
            status = main(words)
        except SystemExit as ended:
            status = ended.code
        if status not in (0, 2, 74, 141):
            bad.append((words, status))
sys.exit(str(bad) if bad else 0)
"""
RUN_EVERY = shlex.join([sys.executable, "-c", EVERY])

CONSOLES = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "strict ascii": {"PYTHONIOENCODING": "ascii:strict"},
    "old Windows": {"PYTHONIOENCODING": "cp437"},
    "Western Windows": {"PYTHONIOENCODING": "cp1252"},
    "Chinese Windows": {"PYTHONIOENCODING": "gbk"},
    "Turkish": {"PYTHONIOENCODING": "iso8859-9"},
    "wide": {"PYTHONIOENCODING": "utf-16"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "POSIX": {"LC_ALL": "POSIX"},
    "unknown locale": {"LC_ALL": "xx_YY.nothing"},
    "unbuffered": {"PYTHONIOENCODING": "ascii", "PYTHONUNBUFFERED": "1"},
}


def shell(words, folder=ROOT, **environment):
    """A line of the shell; standard error and exit status."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONIO", "PYTHONUN", "LC_"))}
    ran = subprocess.run(
        ["bash", "-c", words],
        cwd=folder,
        env={**plain, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        timeout=300,
    )
    text = ran.stderr.decode("utf-8", "replace").replace("\0", "")
    text = "".join(line for line in text.splitlines(True) if "setlocale" not in line)  # of the shell
    assert "Traceback" not in text and "Exception ignored" not in text, text
    return text, ran.returncode, ran.stdout


@pytest.fixture
def labels(tmp_path):
    """Two label maps with names that few consoles have; the tumor has 64 voxels in both."""
    array = np.zeros((8, 16, 16), np.uint8)
    array[2:6, 4:8, 4:8] = 1
    names = ["肝 肿瘤.nii.gz", "référence ∅.nii.gz"]
    return [write_volume(tmp_path / name, Volume(array, np.diag([-1.0, -1.0, 1.0, 1.0]), "x")) for name in names]


@pytest.mark.parametrize("console", CONSOLES)
def test_the_result_is_written_in_any_console(console, labels, tmp_path):
    out = tmp_path / "out.json"
    if console == "C":  # the system's own names are ASCII there, so these would be no text at all
        labels = [path.rename(tmp_path / f"{n}.nii.gz") for n, path in enumerate(labels)]
    error, status, shown = shell(
        f'{PROGRAM} evaluate "{labels[0]}" "{labels[1]}" --json "{out}" --paths', **CONSOLES[console]
    )
    assert (error, status) == ("", 0)
    assert json.loads(out.read_text("utf-8"))["overall"]["dice"] == 1.0
    assert b"Dice" in shown or "Dice".encode("utf-16-le") in shown


@pytest.mark.parametrize("console", CONSOLES)
def test_every_command_speaks_in_any_console(console):
    assert shell(f"{RUN_EVERY}", **CONSOLES[console])[1] == 0


@pytest.mark.parametrize(
    "streams", [">/dev/full", ">&-", "2>&-", "<&-", ">&- 2>&- <&-", ">/dev/full 2>&1", "2>/dev/full", "| head -c 1"]
)
def test_every_command_bears_any_streams(streams):
    _, status, _ = shell(f"{RUN_EVERY} {streams}")
    assert status == 0


@pytest.mark.parametrize(
    ("streams", "status"),
    [
        (">/dev/full", 74),
        (">/dev/full 2>&1", 74),
        ("2>/dev/full", 0),
        (">&-", 0),
        ("2>&-", 0),
        ("<&-", 0),
        (">&- 2>&- <&-", 0),
        ("| true; exit ${PIPESTATUS[0]}", 141),
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_the_work_is_done_where_nobody_hears_of_it(streams, status, unbuffered, labels, tmp_path):
    out = tmp_path / "out.json"
    words = f'{PROGRAM} evaluate "{labels[0]}" "{labels[1]}" --json "{out}" {streams}'
    error, ended, _ = shell(words, PYTHONUNBUFFERED=unbuffered)
    # head may have read all before it goes
    assert ended == status
    assert json.loads(out.read_text("utf-8"))["overall"]["dice"] == 1.0
    if streams == ">/dev/full":
        (line,) = error.splitlines()
        assert line.startswith("sam-liver-tumor: error: standard output cannot be written (No space left on device)")


def test_what_is_printed_is_in_no_file_where_the_output_is_closed(labels, tmp_path):
    out = tmp_path / "out.json"
    shell(f'{PROGRAM} evaluate "{labels[0]}" "{labels[1]}" --json "{out}" >&- 2>&-')
    json.loads(out.read_bytes())


def gone(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    return f'cd "{folder}"; rmdir "{folder}";'


def test_full_paths_work_from_a_folder_that_is_gone(labels, tmp_path):
    out = tmp_path / "out.json"
    error, status, _ = shell(f'{gone(tmp_path)} {PROGRAM} evaluate "{labels[0]}" "{labels[1]}" --json "{out}"')
    assert (error, status) == ("", 0)
    assert json.loads(out.read_text("utf-8"))["overall"]["dice"] == 1.0


@pytest.mark.parametrize(
    "words",
    [
        "evaluate a.nii.gz b.nii.gz --json o.json",
        "segment ct.nii.gz -o out.seg.nrrd --box=1,1,1,2,2,2",
        "train --images ct --labels label --out run",
        "batch /scans --text tumor --out out",
    ],
)
def test_other_paths_from_a_folder_that_is_gone_are_refused(words, tmp_path):
    error, status, _ = shell(f"{gone(tmp_path)} {PROGRAM} {words}")
    assert status == 2
    (line,) = error.splitlines()
    assert "does not exist any more" in line and "give full paths" in line


def test_every_command_starts_in_a_folder_that_is_gone(tmp_path):
    assert shell(f"{gone(tmp_path)} {RUN_EVERY}")[1] == 0


@pytest.mark.parametrize("name", ["$'\\xff.nii.gz'", "$'\\xb8\\xce.nii.gz'", "$(printf 'a%.0s' {1..300}).nii", "''"])
@pytest.mark.parametrize("console", ["ascii", "C", "unbuffered"])
def test_a_name_of_any_bytes_or_length_is_refused_in_a_line(name, console, tmp_path):
    words = f'{PROGRAM} segment {name} -o "{tmp_path}/x.seg.nrrd" --box=1,1,1,2,2,2'
    error, status, _ = shell(words, **CONSOLES[console])
    assert status == 2 and len(error.splitlines()) == 1
    assert error.startswith("sam-liver-tumor: error: ")


class _Terminal:
    """Standard input that fails, as that of a program in the background does."""

    def isatty(self):
        return True

    def readline(self):
        raise OSError(5, "Input/output error")


def test_no_answer_is_no(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", _Terminal())
    assert confirm_on_terminal(False)("Fetch it?") is False
