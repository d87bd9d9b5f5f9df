"""No shell, no pickle, no unpacking without a look: what the product's own code may call, read from its syntax."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCES = sorted([*(ROOT / "SAMLiverTumorLib").rglob("*.py"), *(ROOT / "SAMLiverTumor").rglob("*.py"), ROOT / "dev.py"])

FORBIDDEN = {
    *("os.system", "os.popen", "os.execv", "os.execl", "os.spawnl", "os.spawnv", "subprocess.getoutput"),
    *("subprocess.getstatusoutput", "eval", "exec", "compile", "__import__", "marshal.loads", "shelve.open"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load", "yaml.load", "tempfile.mktemp"),
    *("shutil.unpack_archive", "ssl._create_unverified_context"),
}
# Every member of an archive goes to where its name says.
UNPACKING = ("extractall", "extract")


def called(node):
    """The dotted name of what a call calls; "?" begins one that belongs to no name."""
    parts, function = [], node.func
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    return ".".join(reversed([*parts, function.id if isinstance(function, ast.Name) else "?"]))


def offences(source):
    """(line, what) of calls that are not allowed."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        options = {keyword.arg: keyword.value for keyword in node.keywords}
        shell = options.get("shell")
        if name in FORBIDDEN or name.split(".")[-1] in UNPACKING:
            found.append((node.lineno, name))
        elif shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
            found.append((node.lineno, "shell="))
        elif name.endswith("torch.load") or name == "torch.load":
            only = options.get("weights_only")
            if not (isinstance(only, ast.Constant) and only.value is True):
                found.append((node.lineno, "torch.load without weights_only=True"))
        elif name in ("np.load", "numpy.load") and "allow_pickle" in options:
            found.append((node.lineno, "np.load with allow_pickle"))
        elif name.split(".")[-1] == "_create_unverified_context" or "verify" in options:
            value = options.get("verify")
            if value is None or (isinstance(value, ast.Constant) and value.value is False):
                found.append((node.lineno, "an unverified connection"))
    return found


def test_the_products_code_calls_no_shell_no_pickle_and_unpacks_nothing_blindly():
    assert len(SOURCES) > 150
    found = {
        str(path.relative_to(ROOT)): offences(path.read_text(encoding="utf-8"))
        for path in SOURCES
        if offences(path.read_text(encoding="utf-8"))
    }
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "import os; os.system('x')",
        "subprocess.run('x', shell=True)",
        "subprocess.run('x', shell=wanted)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "pickle.loads(data)",
        "zipfile.ZipFile(path).extractall(folder)",
        "archive.extract(member)",
        "eval(text)",
    ],
)
def test_the_look_at_the_code_sees_each_of_them(source):
    assert len(offences(source)) == 1


def test_what_is_harmless_is_left_alone():
    assert offences("subprocess.run([a, b]); torch.load(p, weights_only=True); np.load(p); re.compile('x')") == []


def test_every_model_that_is_downloaded_has_a_published_size_and_hash():
    from SAMLiverTumorLib.models.registry import UrlSource, load_registry

    for info in load_registry().values():
        assert len(info.sha256) == 64 and info.size > 0
        assert all(source.url.startswith("https://") for source in info.sources if isinstance(source, UrlSource))


def test_the_security_policy_names_what_is_kept_where():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for word in (
        "report",
        "embeddings",
        "progress.jsonl",
        "weights_only",
        "--paths",
        "SHA-256",
        "SAM_LIVER_TUMOR_CACHE",
    ):
        assert word in text
