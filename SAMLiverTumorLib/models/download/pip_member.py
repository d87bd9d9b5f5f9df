"""Run in a process of its own: fetch one archive with pip's index search and session, and run none of its code.

`pip download` of a source archive runs the package's build backend to learn its metadata. Here pip only looks the
archive up and opens the connection, so that the user's index, proxy, certificates and credentials hold, and the
bytes go to a file unread. Prints one JSON object a line: {"done", "total"} and at the end {"saved"} or {"error"}.

    python pip_member.py NAME VERSION wheel|sdist OUTPUT

Nothing of SAMLiverTumorLib is imported: this file is run by its path.
"""

import hashlib
import json
import os
import sys
import threading

UNKNOWN_PIP = (
    "this version of pip ({version}) is not understood ({cause}); install pip 23 to 26: python -m pip install pip"
)


def say(**event) -> None:
    print(json.dumps(event), flush=True)


def end_with_parent() -> None:
    """The parent holds the other end of standard input: at its end nobody waits for the download any more."""
    while os.read(0, 1):
        pass
    os._exit(1)


def find_link(name: str, version: str, archive: str, command, options, session):
    """pip's link to the archive, or None. Local files come first."""
    finder = command._build_package_finder(options, session, ignore_requires_python=True)
    endings = (".whl",) if archive == "wheel" else (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
    links = [
        candidate.link
        for candidate in finder.find_all_candidates(name)
        if str(candidate.version) == version and candidate.link.filename.lower().endswith(endings)
    ]
    return min(links, key=lambda link: link.scheme != "file", default=None)


def save(link, session, output: str) -> None:
    """Stream the archive to `output` and compare it with the hash that the index gives, if it does."""
    # Without the header a server may compress the archive once more, and its hash would not fit.
    response = session.get(link.url_without_fragment, headers={"Accept-Encoding": "identity"}, stream=True)
    response.raise_for_status()
    length = str(response.headers.get("content-length", ""))  # for a local file pip gives a number
    total = int(length) if length.isdecimal() else None
    digest = hashlib.new(link.hash_name) if link.hash_name else None
    done = 0
    with open(output, "wb") as file:  # noqa: PTH123 (a bare script: nothing imported that it can do without)
        for block in response.iter_content(1 << 18):
            file.write(block)
            done += len(block)
            if digest is not None:
                digest.update(block)
            say(done=done, total=total)
    if total is not None and done != total:
        raise ValueError(f"the connection broke off after {done:,} of {total:,} bytes")
    if digest is not None and digest.hexdigest() != link.hash:
        raise ValueError(f"{link.filename} does not have the {link.hash_name} that the index gives")
    say(saved=done)


def main(name: str, version: str, archive: str, output: str) -> int:
    try:
        import pip
        from pip._internal.commands.download import DownloadCommand
        from pip._internal.exceptions import PipError
        from pip._vendor.requests.exceptions import RequestException
    except ImportError as error:
        say(error=f"pip is missing or of a version that is not understood ({error}): python -m ensurepip --upgrade")
        return 1
    only = "--only-binary" if archive == "wheel" else "--no-binary"
    flags = ["--no-deps", "--no-input", "--no-cache-dir", "--disable-pip-version-check", "--pre", only, ":all:"]
    try:
        command = DownloadCommand("download", "")
        with command.main_context():
            options, _ = command.parse_args([*flags, name])
            session = command.get_default_session(options)
            link = find_link(name, version, archive, command, options, session)
            if link is None:
                say(error=f"pip finds no {archive} of {name} {version} (no network, or another index is configured)")
                return 1
            save(link, session, output)
    except (AttributeError, TypeError) as error:
        say(error=UNKNOWN_PIP.format(version=pip.__version__, cause=error))
        return 1
    except OSError as error:
        # requests' errors are OSErrors too; only the disk's own have a number that the parent reports in plain words.
        local = not isinstance(error, RequestException)
        say(error=str(error), errno=error.errno if local else None)
        return 1
    except (ValueError, PipError) as error:
        say(error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    del sys.path[0]  # this folder: its file names must not stand before pip's own imports
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.exit(main(*sys.argv[1:]))
