"""The XML interface of Cloud Storage, which the object client speaks and the emulator does not.

What belongs here: objects with ranges and preconditions, listing in pages, uploads in parts. What
does not: how requests come in (`handler.py`).
"""

from __future__ import annotations

import base64
import calendar
import email.utils
import hashlib
import os
import re
import time
from http import HTTPStatus
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from gcp_storage_emulator.exceptions import NotFound

PAGE = 1000


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status, code, message=""):
        self.status, self.code, self.message = status, code, message
        super().__init__(code)


class XmlInterface:
    """What a handler answers to requests without a JSON path."""

    def answer_xml(self, body):
        url = urlsplit(self.path)
        bucket, _, name = unquote(url.path).lstrip("/").partition("/")
        query = {k: v[-1] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
        if bucket not in self.emulator.storage.buckets:
            raise Refused(404, "NoSuchBucket", "The specified bucket does not exist.")
        if not name:
            self._xml_list(bucket, query)
        elif "uploads" in query or "uploadId" in query:
            self._multipart(bucket, name, query, body)
        else:
            getattr(self, f"_xml_{self.command.lower()}")(bucket, name, body)

    def _xml_put(self, bucket, name, body):
        headers = {key.lower(): value for key, value in self.headers.items()}
        with self.emulator.lock:
            if "x-goog-if-generation-match" in headers:
                self.check(bucket, name, headers["x-goog-if-generation-match"])
            if source := headers.get("x-goog-copy-source"):
                from_bucket, _, from_name = unquote(source).lstrip("/").partition("/")
                self.resource(from_bucket, from_name)
                body = self.emulator.storage.get_file(from_bucket, from_name)
            made = self.emulator.put(bucket, name, body, headers=headers)
        self.answer(200, b"", self._described(made))

    def _xml_get(self, bucket, name, _body):
        with self.emulator.lock:
            made = self.resource(bucket, name)
            data = self.emulator.storage.get_file(bucket, name)
        headers = self._described(made) | {"Accept-Ranges": "bytes"}
        if self.headers.get("If-Match") not in (None, headers["ETag"]):
            raise Refused(412, "PreconditionFailed")
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self.answer(200, data, headers)
            return
        first, last = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
        if first >= len(data):
            raise Refused(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self.answer(206, data[first : last + 1], headers)

    def _xml_head(self, bucket, name, _body):
        with self.emulator.lock:
            made = self.resource(bucket, name)
        self.answer(200, b"", self._described(made), length=made["size"])

    def _xml_delete(self, bucket, name, _body):
        with self.emulator.lock:
            self.resource(bucket, name)
            self.emulator.storage.delete_file(bucket, name)
        self.answer(204)

    def _multipart(self, bucket, name, query, body):
        uploads, command = self.emulator.uploads, self.command
        if command == "POST" and "uploads" in query:
            key = hashlib.sha256(os.urandom(16)).hexdigest()[:24]
            uploads[key] = {key.lower(): value for key, value in self.headers.items()}, {}
            text = f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{escape(name)}"
            text += f"</Key><UploadId>{key}</UploadId></InitiateMultipartUploadResult>"
            self.answer(200, text.encode(), {"Content-Type": "application/xml"})
            return
        if query["uploadId"] not in uploads:
            raise Refused(404, "NoSuchUpload")
        headers, parts = uploads[query["uploadId"]]
        if command == "PUT":
            tag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
            parts[int(query["partNumber"])] = tag, body
            self.answer(200, b"", {"ETag": tag})
        elif command == "DELETE":
            del uploads[query["uploadId"]]
            self.answer(204)
        else:
            listed = [
                (int(part.findtext("{*}PartNumber")), part.findtext("{*}ETag"))
                for part in ET.fromstring(body).iter()  # noqa: S314  (a client of this test)
                if part.tag.endswith("Part")
            ]
            if [parts[number][0].strip('"') for number, _ in listed] != [
                tag.strip('"') for _, tag in listed
            ]:
                raise Refused(400, "InvalidPart")
            data = b"".join(parts[number][1] for number, _ in listed)
            made = self.emulator.put(bucket, name, data, headers=headers, parts=len(listed))
            uploads.pop(query["uploadId"], None)
            text = f"<CompleteMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{escape(name)}"
            text += f"</Key><ETag>{self._tag(made)}</ETag></CompleteMultipartUploadResult>"
            self.answer(
                200, text.encode(), self._described(made) | {"Content-Type": "application/xml"}
            )

    def _xml_list(self, bucket, query):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token") or query.get("start-after") or ""
        entries, folders = [], set()
        for made in self.found(bucket, prefix):
            rest = made["name"][len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            elif made["name"] > after:
                entries.append(made)
        size = min(int(query.get("max-keys", PAGE)), PAGE)
        text = ["<?xml version='1.0' encoding='UTF-8'?><ListBucketResult>"]
        text += [
            (
                f"<Contents><Key>{escape(made['name'])}</Key><Size>{made['size']}</Size>"
                f"<Generation>{made['generation']}</Generation><ETag>{self._tag(made)}</ETag>"
                f"<LastModified>{made['updated'][:23]}Z</LastModified></Contents>"
            )
            for made in entries[:size]
        ]
        text += [
            f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>"
            for f in sorted(folders)
        ]
        is_more = len(entries) > size
        text.append(f"<IsTruncated>{str(is_more).lower()}</IsTruncated>")
        if is_more:
            last = escape(entries[size - 1]["name"])
            text.append(f"<NextContinuationToken>{last}</NextContinuationToken>")
        text.append("</ListBucketResult>")
        self.answer(200, "".join(text).encode(), {"Content-Type": "application/xml"})

    def found(self, bucket, prefix):
        with self.emulator.lock:
            try:
                return self.emulator.storage.get_file_list(bucket, prefix=prefix)[0]
            except NotFound:
                raise Refused(404, "NoSuchBucket", "The bucket does not exist.") from None

    def resource(self, bucket, name):
        try:
            return self.emulator.storage.get_file_obj(bucket, name)
        except NotFound:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.") from None

    def check(self, bucket, name, wanted):
        made = self.emulator.storage.objects.get(bucket, {}).get(name)
        if str(made["generation"] if made else 0) != str(wanted):
            raise Refused(
                HTTPStatus.PRECONDITION_FAILED,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold.",
            )

    @staticmethod
    def _tag(made):
        if made["md5Hash"]:
            return f'"{base64.b64decode(made["md5Hash"]).hex()}"'
        return f'"CK{made["generation"]}="'

    def _described(self, made):
        changed = time.strptime(made["updated"][:19], "%Y-%m-%dT%H:%M:%S")
        headers = {
            "ETag": self._tag(made),
            "Last-Modified": email.utils.formatdate(calendar.timegm(changed), usegmt=True),
            "x-goog-generation": made["generation"],
            "x-goog-hash": f"crc32c={made['crc32c']}",
            "Content-Type": made["contentType"] or "application/octet-stream",
        }
        for key, value in (made.get("metadata") or {}).items():
            headers[f"x-goog-meta-{key}"] = value
        return headers
