"""Google's and Azure's object storage on loopback: what is used of their interfaces, with their conditions.

Written from the reference of both services, so that tests need no other program. The same tests run against
emulators of others (`emulators.py`).
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs
from xml.etree import ElementTree as ET

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Stored:
    """An object: its bytes, and the number of its version."""

    data: bytes
    version: int
    changed: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class Request:
    """A request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Answer:
    """What it is answered."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Storage:
    """Buckets with objects, as a WSGI application."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, Stored]] = {}
        self.lock = threading.RLock()
        self.numbers = itertools.count(1_000_000)

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request, one at a time."""
        query = {name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", ""), True).items()}
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
            for name, value in environ.items()
            if name.startswith(("HTTP_", "CONTENT_"))
        }
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        # A path is decoded twice by no server: WSGI has bytes as latin-1.
        path = environ["PATH_INFO"].encode("latin-1").decode()
        with self.lock:
            answer = self.answer(Request(environ["REQUEST_METHOD"], path, query, headers, body))
        sent = {"Content-Length": str(len(answer.body)), **answer.headers}
        start(f"{answer.status} Answer", list(sent.items()))
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else answer.body]

    def answer(self, request: Request) -> Answer:
        """Answer a request."""
        raise NotImplementedError

    def store(self, bucket: str, key: str, data: bytes) -> Stored:
        """Store an object, as a new version."""
        stored = self.buckets[bucket][key] = Stored(data, next(self.numbers))
        return stored


def ranged(stored: Stored, asked: str | None) -> Answer:
    """Answer with the bytes of an object that a request asks for."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
    size = len(stored.data)
    if not found:
        return Answer(body=stored.data)
    start, stop = int(found[1]), min(int(found[2]) + 1 if found[2] else size, size)
    if start >= size:
        return Answer(416)
    return Answer(206, {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}, stored.data[start:stop])


def listed(objects: Mapping[str, Stored], prefix: str, delimiter: str) -> tuple[list[str], list[str]]:
    """Return the names of objects and of folders below a prefix."""
    names, folders = [], set()
    for name in sorted(objects):
        if name.startswith(prefix):
            head, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            folders.add(prefix + head + found) if found else names.append(name)
    return names, sorted(folders)


class GoogleStorage(Storage):
    """The JSON interface of Google Cloud Storage."""

    def __init__(self) -> None:
        super().__init__()
        self.uploads: dict[str, tuple[str, str, Mapping[str, str], bytearray]] = {}

    def answer(self, request: Request) -> Answer:
        """Answer a request."""
        path = request.path.removeprefix("/download").removeprefix("/upload")
        found = re.fullmatch(r"/storage/v1/b(?:/([^/]+)(?:/(o)(?:/(.+))?)?)?", path, re.DOTALL)
        assert found, request.path
        bucket, objects, key = found.groups()
        if bucket is None:
            self.buckets.setdefault(json.loads(request.body)["name"], {})
            return Answer(body=b"{}")
        if bucket == "private":
            return self.error(401, "Anonymous caller does not have storage.objects.get access to the object.")
        if bucket not in self.buckets:
            return self.error(404, "The specified bucket does not exist.")
        if objects is None:
            return Answer(body=json.dumps({"name": bucket}).encode())
        if key is not None:
            return self.object(request, bucket, key)
        return (
            self.upload(request, bucket) if request.path.startswith("/upload") else self.list(request, bucket)
        )

    def error(self, status: int, message: str) -> Answer:
        """Return an error in Google's form."""
        return Answer(status, body=json.dumps({"error": {"code": status, "message": message}}).encode())

    def list(self, request: Request, bucket: str) -> Answer:
        """List objects, without pages."""
        objects = self.buckets[bucket]
        names, folders = listed(objects, request.query.get("prefix", ""), request.query.get("delimiter", ""))
        items = [self.resource(bucket, name, objects[name]) for name in names]
        return Answer(body=json.dumps({"items": items, "prefixes": folders}).encode())

    def object(self, request: Request, bucket: str, key: str) -> Answer:
        """Read or remove an object."""
        stored = self.buckets[bucket].get(key)
        if stored is None or request.query.get("generation", str(stored.version)) != str(stored.version):
            return self.error(404, f"No such object: {bucket}/{key}")
        if request.method == "DELETE":
            del self.buckets[bucket][key]
            return Answer(204)
        if request.query.get("alt") == "media":
            return ranged(stored, request.headers.get("range"))
        return Answer(body=json.dumps(self.resource(bucket, key, stored)).encode())

    def resource(self, bucket: str, key: str, stored: Stored) -> dict[str, Any]:
        """Return the metadata of an object."""
        time = stored.changed.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        number = str(stored.version)
        return {
            "kind": "storage#object", "bucket": bucket, "name": key, "size": str(len(stored.data)),
            "generation": number, "metageneration": "1", "etag": f"C{number}=", "updated": time,
            "timeCreated": time,
        }  # fmt: skip

    def upload(self, request: Request, bucket: str) -> Answer:
        """Store an object by one request, or by a session whose last request has the condition too."""
        if "upload_id" in request.query:
            return self.part(request)
        if request.query["uploadType"] == "resumable":
            key = json.loads(request.body)["name"]
            if refused := self.refused(request.query, bucket, key):
                return refused
            name = f"u{next(self.numbers)}"
            self.uploads[name] = bucket, key, request.query, bytearray()
            host = request.headers["host"]
            return Answer(headers={"Location": f"http://{host}{request.path}?upload_id={name}"})
        boundary = re.sub('.*boundary="?([^"]+)"?', r"--\1", request.headers["content-type"]).encode()
        _, metadata, content, _ = request.body.split(boundary)
        key = json.loads(metadata.split(b"\n\n" if b"\r\n\r\n" not in metadata else b"\r\n\r\n")[1])["name"]
        line = b"\r\n" if b"\r\n\r\n" in content else b"\n"
        return self.create(request.query, bucket, key, content.split(line * 2, 1)[1].removesuffix(line))

    def part(self, request: Request) -> Answer:
        """Take a part of an upload."""
        bucket, key, query, data = self.uploads[request.query["upload_id"]]
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", request.headers["content-range"])
        assert found, request.headers
        del data[int(found[1]) :]
        data += request.body
        if len(data) < int(found[2]):
            return Answer(308, {"Range": f"bytes=0-{len(data) - 1}"})
        return self.create(query, bucket, key, bytes(data))

    def create(self, query: Mapping[str, str], bucket: str, key: str, data: bytes) -> Answer:
        """Store an object if the condition holds."""
        refused = self.refused(query, bucket, key)
        stored = None if refused else self.store(bucket, key, data)
        return refused or Answer(body=json.dumps(self.resource(bucket, key, stored)).encode())  # type: ignore[arg-type]

    def refused(self, query: Mapping[str, str], bucket: str, key: str) -> Answer | None:
        """Return the answer if the condition of a request does not hold."""
        stored = self.buckets[bucket].get(key)
        wanted = query.get("ifGenerationMatch")
        if wanted is None or wanted == str(stored.version if stored else 0):
            return None
        return self.error(412, "At least one of the pre-conditions you specified did not hold.")


class AzureStorage(Storage):
    """The Blob service of Azure, with the account in the path."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: dict[tuple[str, str], dict[str, bytes]] = {}

    def answer(self, request: Request) -> Answer:
        """Answer a request."""
        _, _, container, *rest = request.path.split("/", 3)
        key = rest[0] if rest else ""
        if request.query.get("restype") == "container" and request.method == "PUT":
            self.buckets.setdefault(container, {})
            return Answer(201)
        if container == "private":
            return self.error(403, "AuthenticationFailed")
        if container not in self.buckets:
            return self.error(404, "ContainerNotFound")
        if not key:
            listing = request.query.get("comp") == "list"
            return self.list(request, container) if listing else Answer(headers=self.facts(None))
        return (self.put if request.method == "PUT" else self.blob)(request, container, key)

    def blob(self, request: Request, container: str, key: str) -> Answer:
        """Read or remove a blob."""
        stored = self.buckets[container].get(key)
        if stored is None:
            return self.error(404, "BlobNotFound")
        if refused := self.refused(request.headers, stored):
            return refused
        if request.method == "DELETE":
            del self.buckets[container][key]
            return Answer(202)
        answer = ranged(stored, request.headers.get("x-ms-range"))
        if request.method == "HEAD":
            answer.headers["Content-Length"] = str(len(stored.data))
        answer.headers |= self.facts(stored)
        return answer

    def error(self, status: int, code: str) -> Answer:
        """Return an error in Azure's form."""
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        return Answer(status, {"x-ms-error-code": code, "Content-Type": "application/xml"}, body)

    def facts(self, stored: Stored | None) -> dict[str, str]:
        """Return the headers of an object."""
        number, changed = (stored.version, stored.changed) if stored else (0, START)
        return {
            "ETag": f'"0x{number:X}"',
            "Last-Modified": format_datetime(changed, usegmt=True),
            "x-ms-blob-type": "BlockBlob",
            "x-ms-creation-time": format_datetime(changed, usegmt=True),
        }

    def put(self, request: Request, container: str, key: str) -> Answer:
        """Store a blob, a block, or a blob of blocks."""
        blocks = self.blocks.setdefault((container, key), {})
        if request.query.get("comp") == "block":
            blocks[request.query["blockid"]] = request.body
            return Answer(201)
        if refused := self.refused(request.headers, self.buckets[container].get(key)):
            return refused
        data = request.body
        if request.query.get("comp") == "blocklist":
            data = b"".join(blocks[str(block.text)] for block in ET.fromstring(data))
        return Answer(201, self.facts(self.store(container, key, data)))

    def refused(self, headers: Mapping[str, str], stored: Stored | None) -> Answer | None:
        """Return the answer if the condition of a request does not hold."""
        if headers.get("if-none-match") == "*" and stored is not None:
            return self.error(409, "BlobAlreadyExists")
        wanted = headers.get("if-match")
        if wanted is not None and (stored is None or wanted != self.facts(stored)["ETag"]):
            return self.error(412, "ConditionNotMet")
        return None

    def list(self, request: Request, container: str) -> Answer:
        """List blobs, without pages."""
        objects = self.buckets[container]
        names, folders = listed(objects, request.query.get("prefix", ""), request.query.get("delimiter", ""))
        root = ET.Element("EnumerationResults", ContainerName=container)
        blobs = ET.SubElement(root, "Blobs")
        for name in names:
            blob = ET.SubElement(blobs, "Blob")
            ET.SubElement(blob, "Name").text = name
            properties = ET.SubElement(blob, "Properties")
            facts = self.facts(objects[name])
            ET.SubElement(properties, "Last-Modified").text = facts["Last-Modified"]
            ET.SubElement(properties, "Etag").text = facts["ETag"].strip('"')
            ET.SubElement(properties, "Content-Length").text = str(len(objects[name].data))
            ET.SubElement(properties, "BlobType").text = "BlockBlob"
        for folder in folders:
            ET.SubElement(ET.SubElement(blobs, "BlobPrefix"), "Name").text = folder
        ET.SubElement(root, "NextMarker")
        return Answer(
            headers={"Content-Type": "application/xml"}, body=ET.tostring(root, "utf-8", xml_declaration=True)
        )
