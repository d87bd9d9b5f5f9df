"""The module `slicer.packaging`: records what is asked for and installs nothing."""

from pathlib import Path

asked: list[list[str]] = []
# A test sets this to what the user does at the question: None agrees (and nothing happens), an exception is raised.
refusal: Exception | None = None


def load_requirements(path: str) -> list[str]:
    lines = [line.split("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith("-")]


def pip_ensure(requirements, **options) -> None:
    """
    :raises RuntimeError: as Slicer does when the user declines, if `refusal` says so.
    """
    asked.append([str(requirement) for requirement in requirements])
    if refusal is not None:
        raise refusal
