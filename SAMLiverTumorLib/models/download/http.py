"""Download over https into a `.part` file from which a later attempt resumes."""

from __future__ import annotations

import json
import os
import re
import ssl
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from SAMLiverTumorLib.cancel import raise_if_cancelled
from SAMLiverTumorLib.errors import Cancelled, ModelError
from SAMLiverTumorLib.io.json_text import parse_json
from SAMLiverTumorLib.models.download.background import POLL_SECONDS, in_background
from SAMLiverTumorLib.models.download.digest import disk_errors, file_sha256
from SAMLiverTumorLib.models.registry import ModelInfo, check_url

ATTEMPTS = 4  # in a row that bring less than ENOUGH_NEW
ENOUGH_NEW = 1 << 20
TIMEOUT_SECONDS = 30.0
PAUSE_SECONDS = 1.0  # before the second attempt; doubled before each further one
READ = 1 << 18
_RETRIED_STATUS = (408, 425, 429)


@dataclass(frozen=True)
class Answer:
    """The head of a server's answer."""

    status: int
    headers: Mapping[str, str]


class TransferError(Exception):
    """One attempt failed.

    :param text: why, for the user.
    :param final: another attempt would fail in the same way.
    """

    def __init__(self, text: str, final: bool = False):
        super().__init__(text)
        self.final = final


def meta_path(part: Path) -> Path:
    """The note beside a part file: its address and the version there."""
    return part.with_name(part.name + ".json")


def discard(part: Path) -> None:
    """Delete a part file and its note."""
    part.unlink(missing_ok=True)
    meta_path(part).unlink(missing_ok=True)


def download(
    url: str,
    info: ModelInfo,
    part: Path,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Path:
    """Complete `part` from `url` and check its size and SHA-256.

    :param part: may hold the beginning from an earlier try.
    :return: `part`, complete and right.
    :raises ModelError: the server cannot be reached, or has something else. What has arrived is kept unless it is
        known to be wrong.
    :raises OutputError: the disk refuses.
    :raises Cancelled: `cancel` answered true; what has arrived is kept.
    """
    host = urlsplit(url).hostname
    check_url(url)
    with disk_errors(part.parent):
        if _note(part).get("url") != url:
            discard(part)
    failures = 0
    while True:
        before = _size(part)
        if before < info.size:
            try:
                _attempt(url, info, part, progress, cancel)
            except Cancelled as error:
                raise Cancelled(
                    "Download cancelled. What has arrived is kept; the next fetch resumes from it."
                ) from error
            except TransferError as error:
                failures = 1 if _size(part) - before >= ENOUGH_NEW else failures + 1
                if error.final or failures >= ATTEMPTS:
                    raise ModelError(
                        f"{info.title} could not be downloaded from {host}: {error}. Check the network (and its proxy, "
                        f"environment variable HTTPS_PROXY) and try again; or get the file {info.file_name} by other "
                        f"means and put it into {part.parent}."
                    ) from error
                _wait(PAUSE_SECONDS * 2 ** (failures - 1), cancel)
                continue
        with disk_errors(part.parent):
            digest = file_sha256(part, cancel, fresh=True)
            if digest == info.sha256:
                return part
            discard(part)
        if before == 0:
            raise ModelError(
                f"What {host} sends is not the weight file of {info.title}: its SHA-256 is {digest}, the published one "
                f"{info.sha256}. It was deleted."
            )
        # The beginning was of another version than the rest: once more, whole.


def _attempt(
    url: str,
    info: ModelInfo,
    part: Path,
    progress: Callable[[int, int | None], None] | None,
    cancel: Callable[[], bool] | None,
) -> None:
    """One request; appends to `part`, or starts it anew where the server cannot resume.

    :raises TransferError: less than the whole file arrived.
    """
    start = _size(part)
    validator = _note(part).get("validator")
    with (
        closing(in_background(lambda: _receive(url, start, validator), cancel)) as arriving,
        disk_errors(part.parent),
    ):
        answer = next(arriving)
        done = _start_of(answer, start, info, part)
        if done == 0:
            discard(part)
        meta_path(part).write_text(json.dumps({"url": url, "validator": _validator(answer.headers)}), encoding="utf-8")
        with part.open("ab") as file:
            for block in arriving:
                done += len(block)
                if done > info.size:
                    break
                file.write(block)
                if progress is not None:
                    progress(done, info.size)
            file.flush()
            os.fsync(file.fileno())
        if done > info.size:
            discard(part)
            raise TransferError(f"it sends more than the {info.size:,} bytes of the published file", final=True)
    if done < info.size:
        raise TransferError(f"the connection broke off after {done:,} of {info.size:,} bytes")


def _start_of(answer: Answer, asked: int, info: ModelInfo, part: Path) -> int:
    """At which byte of the file the answer's body begins."""
    start, total = 0, answer.headers.get("content-length")
    if answer.status == 416:
        discard(part)
        raise TransferError("the server does not have the part that was asked for")
    if answer.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("content-range", "").strip())
        if found is None or int(found[1]) != asked:
            discard(part)
            raise TransferError("the server sent another part than was asked for")
        start, total = asked, found[2]
    if total is not None and total.isdecimal() and int(total) != info.size:
        discard(part)
        raise TransferError(f"it offers {int(total):,} bytes, the published file has {info.size:,}", final=True)
    return start


def _receive(url: str, start: int, validator: str | None) -> Generator:
    """Yield the answer's head, then its body block by block.

    :raises TransferError: instead of every error of the network.
    """
    headers = {"User-Agent": "sam-liver-tumor", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    try:
        request = urllib.request.Request(url, headers=headers)
        with _opener(url).open(request, timeout=TIMEOUT_SECONDS) as response:
            yield Answer(response.status, {name.lower(): value for name, value in response.headers.items()})
            while block := response.read1(READ):
                yield block
    except HTTPError as error:
        error.close()
        if error.code == 416:
            yield Answer(416, {})
            return
        final = error.code < 500 and error.code not in _RETRIED_STATUS
        raise TransferError(f"the server answers {error.code} {error.reason}", final) from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        final = isinstance(reason, ssl.SSLCertVerificationError)
        raise TransferError(str(reason) or type(reason).__name__, final) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Never from https to anything else."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        try:
            if urlsplit(newurl).scheme != urlsplit(req.full_url).scheme:
                raise TransferError(f"it redirects to {newurl}, which is not an https address", final=True)
            check_url(newurl)
        except (TransferError, ModelError):
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str) -> urllib.request.OpenerDirector:
    if urlsplit(url).scheme == "http":  # the loopback interface: not through the network's proxy
        return urllib.request.build_opener(_Redirects, urllib.request.ProxyHandler({}))
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:  # python.org's Python on macOS comes without certificates
        with suppress(ImportError):
            from pip._vendor import certifi

            context.load_verify_locations(certifi.where())
    return urllib.request.build_opener(_Redirects, urllib.request.HTTPSHandler(context=context))


def _validator(headers: Mapping[str, str]) -> str | None:
    """What the server is to compare before it sends the rest; weak ETags do not promise equal bytes."""
    etag = headers.get("etag")
    return etag if etag and not etag.startswith("W/") else headers.get("last-modified")


def _note(part: Path) -> dict:
    try:
        note = parse_json(meta_path(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _wait(seconds: float, cancel: Callable[[], bool] | None) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        raise_if_cancelled(cancel)
        time.sleep(min(left, POLL_SECONDS))
