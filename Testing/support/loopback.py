"""A web server on the loopback interface that can break off, stall, know no ranges and change its files."""

import re
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LoopbackServer:
    """Files by path; the attributes say how it misbehaves.

    :ivar files: bodies by path ("/name").
    :ivar etag: sent with each answer; None for none.
    :ivar ranges: answers Range requests with 206.
    :ivar honors_if_range: sends the whole file where If-Range names another ETag.
    :ivar length: sends Content-Length.
    :ivar cuts: for each coming request, after how many bytes of body the connection is closed.
    :ivar stall_after: bytes of body after which `go_on` is awaited.
    :ivar redirect: Location to send instead of a body.
    :ivar requests: (path, headers) of what came in.
    """

    def __init__(self):
        self.files = {}
        self.etag = '"1"'
        self.ranges = self.honors_if_range = self.length = True
        self.cuts = []
        self.stall_after = None
        self.redirect = None
        self.requests = []
        self.go_on = threading.Event()
        self.asked = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                owner._answer(self)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()

    def ranges_asked(self):
        return [headers.get("Range") for _, headers in self.requests]

    def _answer(self, handler):
        self.requests.append((handler.path, dict(handler.headers)))
        self.asked.set()
        body = self.files.get(handler.path)
        if self.redirect or body is None:
            handler.send_response(302 if self.redirect else 404)
            handler.send_header("Location", self.redirect or "")
            handler.end_headers()
            return
        start = self._start(handler.headers)
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if self.etag:
            handler.send_header("ETag", self.etag)
        if self.length:
            handler.send_header("Content-Length", str(len(body) - start))
        if handler.path.endswith(".html"):
            handler.send_header("Content-Type", "text/html")
        handler.end_headers()
        body = body[start:]
        if self.cuts:
            body = body[: self.cuts.pop(0)]
        if self.stall_after is not None and not handler.path.endswith(".html"):
            handler.wfile.write(body[: self.stall_after])
            handler.wfile.flush()
            self.go_on.wait(60)
            body = body[self.stall_after :]
        with suppress(OSError):  # the other side may have hung up, as a cancelled download does
            handler.wfile.write(body)

    def _start(self, headers):
        asked = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
        other = self.honors_if_range and headers.get("If-Range") not in (None, self.etag)
        return int(asked[1]) if asked and self.ranges and not other else 0
