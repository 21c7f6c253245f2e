"""One request to the server: its faults, and the JSON interface.

What belongs here: what the emulator's JSON interface does not look at: preconditions and pages. Any
answer that it gives well is its own. What does not: the XML interface (`xml_interface.py`).
"""

from __future__ import annotations

import base64
import json
import re
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from doubles.gcs.xml_interface import PAGE, Refused, XmlInterface
from gcp_storage_emulator.server import Router

_JSON = ("/storage/v1/", "/upload/storage/", "/download/storage/", "/batch/storage/")
_OBJECT = re.compile(r"^(?:/upload)?/storage/v1/b/(?P<bucket>[^/]+)/o(?:/(?P<name>[^/]+))?")
_TARGET = re.compile(r"/(?:rewriteTo|copyTo)/b/(?P<bucket>[^/]+)/o/(?P<name>[^/]+)$")


class Handler(XmlInterface, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    _is_mute = False

    def log_message(self, *arguments):
        pass

    def handle_any(self):
        body = self._body()
        self.emulator.requests.append((self.command, self.path))
        self.emulator.tokens.append(self.headers.get("Authorization"))
        fault = self._fault()
        if fault is not None and not fault.is_done and not fault.is_slow:
            self._break(fault)
            return
        self._is_mute = fault is not None and fault.is_done
        try:
            if self.path.startswith(_JSON):
                self._json(body)
            else:
                self.answer_xml(body)
        except Refused as refused:
            self._refuse(refused)
        if self._is_mute:
            self._break(fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = handle_any  # noqa: N815  (the server's names)

    def _body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            chunks = []
            while size := int(self.rfile.readline().strip() or b"0", 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _fault(self):
        with self.emulator.lock:
            for fault in self.emulator.faults:
                if fault.takes(self.command, self.path):
                    if fault.times is not None:
                        fault.times -= 1
                    break
            else:
                return None
        time.sleep(fault.delay_s)
        return fault

    def _break(self, fault):
        self._is_mute = False
        if fault.status is None:
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.answer(fault.status, fault.body, {"Content-Type": "application/xml"})

    def answer(self, status, body=b"", headers=None, length=None):
        if self._is_mute:
            return
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _refuse(self, refused):
        text = escape(refused.message or refused.code)
        if self.path.startswith(_JSON):
            error = {"code": int(refused.status), "message": refused.message or refused.code}
            error["errors"] = [{"reason": refused.code, "message": error["message"]}]
            body, kind = json.dumps({"error": error}).encode(), "application/json"
        else:
            body = f"<Error><Code>{refused.code}</Code><Message>{text}</Message></Error>".encode()
            kind = "application/xml"
        self.answer(refused.status, body, {"Content-Type": kind})

    # --- JSON: the emulator's own answers after what it does not look at --------------------

    def _json(self, body):
        with self.emulator.lock:
            url = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            self._check_json(url.path, query, body)
            if self.command == "GET" and re.fullmatch(r"/storage/v1/b/[^/]+/o", url.path):
                self._json_list(unquote(url.path.split("/")[4]), query)
                return
            real, self.rfile = self.rfile, _Bytes(body)
            mute, self._is_mute = self._is_mute, False
            output = self.wfile
            if mute:
                self.wfile = _Bytes(b"")
            try:
                self.storage = self.emulator.storage
                Router(self).handle(self.command)
            finally:
                self.rfile, self.wfile, self._is_mute = real, output, mute
        self.wfile.flush()

    def _check_json(self, path, query, body):
        match = _OBJECT.match(path)
        if match is None or self.command == "GET":
            return
        bucket, name = unquote(match["bucket"]), unquote(match["name"] or query.get("name", ""))
        if not name and query.get("uploadType") == "multipart":
            found = re.search(rb'"name":\s*"([^"]+)"', body)
            name = found[1].decode() if found else ""
        if "ifSourceGenerationMatch" in query:
            self.check(bucket, name, query["ifSourceGenerationMatch"])
        if target := _TARGET.search(path):
            bucket, name = unquote(target["bucket"]), unquote(target["name"])
        if "ifGenerationMatch" in query:
            self.check(bucket, name, query["ifGenerationMatch"])

    def _json_list(self, bucket, query):
        found = self.found(bucket, query.get("prefix", ""))
        after = base64.b64decode(query.get("pageToken", "")).decode()
        rest = [made for made in found if made["name"] > after]
        size = min(int(query.get("maxResults", PAGE)), PAGE)
        page = {"kind": "storage#objects", "items": rest[:size], "prefixes": []}
        if len(rest) > size:
            token = base64.b64encode(rest[size - 1]["name"].encode())
            page["nextPageToken"] = token.decode()
        self.answer(200, json.dumps(page).encode(), {"Content-Type": "application/json"})


class _Bytes:
    """A stream of what was read already; what is written to it is dropped."""

    def __init__(self, data):
        self._data, self._place = data, 0

    def read(self, size=-1):
        end = len(self._data) if size < 0 else self._place + size
        some = self._data[self._place : end]
        self._place += len(some)
        return some

    def readline(self):
        end = self._data.find(b"\n", self._place) + 1
        return self.read((end or len(self._data)) - self._place)

    def write(self, data):
        return len(data)

    def flush(self):
        pass
