"""Replies of the two hosts: the API, which decides, and the storage, which honours signatures.

What belongs here: HTTP of the vendor. Decisions are `dataset_gate.py`, damage is `faults.py`, data
come from a `Source`.

Source: https://docs.tardis.dev/downloadable-csv-files/api
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from aiohttp import hdrs, web
from yarl import URL

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import parse_date
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.sandbox.dataset_gate import (
    DatasetRequest,
    KeyRights,
    Refusal,
    is_free,
    refusal_by_catalog,
    refusal_by_key,
    unauthorized_metadata,
    unknown_exchange,
    unknown_symbol,
)
from tickhandler_dagster.sandbox.faults import REFUSALS, Deviation, Fault, FaultPlan, payload
from tickhandler_dagster.sandbox.instrument_filter import matches_filter
from tickhandler_dagster.sandbox.source import Json, Source

SIMULATED_HEADER = "X-Tickhandler-Simulated"
_SIGNATURES_KEPT = 10_000
_FORBIDDEN_XML = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>"

_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request as it arrived. The address is kept without its query, which may hold a signature.

    Attributes:
        host: `api` or `storage`.
        method: HTTP method.
        path: Path of the address.
        had_authorization: It carried an Authorization header.
        status: Status of the answer.
    """

    host: str
    method: str
    path: str
    had_authorization: bool
    status: int


def _application(host: str, source: Source, records: list[RequestRecord]) -> web.Application:
    """An application that records what it answers and labels made-up data."""

    @web.middleware
    async def record(request: web.Request, handler: _Handler) -> web.StreamResponse:
        status = 500
        try:
            response = await handler(request)
            status = response.status
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            has_key = hdrs.AUTHORIZATION in request.headers
            records.append(RequestRecord(host, request.method, request.path, has_key, status))
        return response

    async def label(_: web.Request, response: web.StreamResponse) -> None:
        if source.is_simulated:
            response.headers[SIMULATED_HEADER] = "true"

    application = web.Application(middlewares=[record])
    application.on_response_prepare.append(label)
    return application


def _refused(refusal: Refusal) -> web.Response:
    return web.json_response(refusal.body, status=refusal.status, headers=dict(refusal.headers))


class StorageHost:
    """The host that holds files: no key, only signatures.

    Args:
        source: Where files come from.
        records: Where requests are recorded.
    """

    def __init__(self, source: Source, records: list[RequestRecord]) -> None:
        self.records = records
        self.base_url = ""
        self._source = source
        self._signed: OrderedDict[str, tuple[DatasetRequest, Deviation | None]] = OrderedDict()

    def application(self) -> web.Application:
        """The aiohttp application."""
        application = _application("storage", self._source, self.records)
        application.router.add_get("/{path:.+}", self._serve)
        return application

    def sign(self, wanted: DatasetRequest, fault: Deviation | None) -> URL:
        """An address of the file that needs no key."""
        signature = secrets.token_hex(16)
        self._signed[signature] = (wanted, fault)
        while len(self._signed) > _SIGNATURES_KEPT:
            self._signed.popitem(last=False)
        return URL(self.base_url).with_path(f"/{wanted.path}").with_query(signature=signature)

    async def send(
        self, request: web.Request, wanted: DatasetRequest, fault: Deviation | None
    ) -> web.StreamResponse:
        """The file, damaged where a fault says so."""
        body = await asyncio.to_thread(
            self._source.dataset, wanted.exchange, wanted.data_type, wanted.day, wanted.symbol
        )
        if body is None:
            return _refused(REFUSALS[Fault.MISSING_FILE])
        # Off the loop: rewriting a large file takes long enough to hold up every other answer.
        sent = await asyncio.to_thread(payload, body, wanted.data_type, fault)
        md5 = sent.md5 or hashlib.md5(body, usedforsecurity=False).hexdigest()
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: sent.content_type,
                hdrs.CONTENT_LENGTH: str(sent.declared_length),
                hdrs.ETAG: f'"{md5}"',
                hdrs.LAST_MODIFIED: sent.modified,
                "x-md5": f'"{md5}"',
            }
        )
        await response.prepare(request)
        await response.write(sent.body)
        if len(sent.body) < sent.declared_length and request.transport is not None:
            request.transport.close()
            return response
        await response.write_eof()
        return response

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if hdrs.AUTHORIZATION in request.headers:
            return web.Response(
                status=400,
                text=_FORBIDDEN_XML.format(code="InvalidArgument"),
                content_type="application/xml",
            )
        signed = self._signed.get(request.query.get("signature", ""))
        if signed is None or request.path != f"/{signed[0].path}":
            return web.Response(
                status=403,
                text=_FORBIDDEN_XML.format(code="AccessDenied"),
                content_type="application/xml",
            )
        return await self.send(request, *signed)


class ApiHost:
    """The host that knows keys and the catalogue.

    Args:
        source: Where the catalogue comes from.
        storage: Where files are sent from.
        keys: Rights of each key.
        faults: What goes wrong.
    """

    def __init__(
        self, source: Source, storage: StorageHost, keys: Mapping[str, KeyRights], faults: FaultPlan
    ) -> None:
        self._source = source
        self._storage = storage
        self._keys = keys
        self._faults = faults
        self._entries = lru_cache(maxsize=None)(self._catalog_entries)

    def application(self) -> web.Application:
        """The aiohttp application."""
        application = _application("api", self._source, self._storage.records)
        routes: tuple[tuple[str, _Handler], ...] = (
            ("/v1/exchanges", self._exchanges),
            ("/v1/exchanges/{exchange}", self._exchange),
            ("/v1/instruments/{exchange}", self._instruments),
            ("/v1/instruments/{exchange}/{symbol}", self._instruments),
            ("/v1/api-key-info", self._key_info),
            ("/v1/{exchange}/{data_type}/{year}/{month}/{day}/{file}", self._dataset),
        )
        for path, handler in routes:
            application.router.add_get(path, handler)
        return application

    def _rights(self, request: web.Request) -> KeyRights | None:
        scheme, _, key = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        return self._keys.get(key) if scheme == "Bearer" else None

    def _known_exchanges(self) -> list[str]:
        return [exchange["id"] for exchange in self._source.exchanges()]

    def _catalog_entries(self, exchange: str) -> dict[str, Json] | None:
        details = self._source.exchange(exchange)
        return (
            None
            if details is None
            else {entry["id"]: entry for entry in details["datasets"]["symbols"]}
        )

    async def _exchanges(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(self._source.exchanges())

    async def _exchange(self, request: web.Request) -> web.StreamResponse:
        exchange = request.match_info["exchange"]
        details = await asyncio.to_thread(self._source.exchange, exchange)
        if details is None:
            return _refused(unknown_exchange(exchange, self._known_exchanges()))
        return web.json_response(details)

    async def _instruments(self, request: web.Request) -> web.StreamResponse:
        rights = self._rights(request)
        exchange = request.match_info["exchange"]
        if exchange not in self._known_exchanges():
            return _refused(unknown_exchange(exchange, self._known_exchanges()))
        records = await asyncio.to_thread(self._source.instruments, exchange)
        if rights is None or not rights.has_instruments or records is None:
            return _refused(unauthorized_metadata())
        symbol = request.match_info.get("symbol")
        if symbol is not None:
            found = next(
                (record for record in records if symbol in (record["id"], record.get("datasetId"))),
                None,
            )
            return _refused(unknown_symbol(symbol)) if found is None else web.json_response(found)
        try:
            wanted = json.loads(request.query.get("filter", "{}"))
        except json.JSONDecodeError:
            return _refused(Refusal(400, 120, "Invalid 'filter' param provided: not JSON"))
        return web.json_response([record for record in records if matches_filter(record, wanted)])

    async def _key_info(self, request: web.Request) -> web.StreamResponse:
        rights = self._rights(request)
        if rights is None:
            return _refused(Refusal(401, 10, "Invalid or missing API key."))
        covered = self._known_exchanges() if rights.exchanges is None else sorted(rights.exchanges)
        return web.json_response(
            [
                {
                    "exchange": exchange,
                    "accessType": "subscription",
                    "from": rights.first.isoformat() if rights.first else None,
                    "to": rights.end.isoformat() if rights.end else None,
                    "symbols": [],
                    "dataPlan": "pro" if rights.has_instruments else "solo",
                }
                for exchange in covered
            ]
        )

    def _parsed(self, request: web.Request) -> DatasetRequest | Refusal:
        """The dataset an address names, or what is wrong with it."""
        parts = request.match_info
        if parts["exchange"] not in self._known_exchanges():
            return unknown_exchange(parts["exchange"], self._known_exchanges())
        if parts["data_type"] not in set(DataType):
            return Refusal(400, 110, f"Invalid 'dataType' param provided: '{parts['data_type']}'")
        try:
            day = parse_date(f"{parts['year']}-{parts['month']}-{parts['day']}")
        except InvalidInput:
            return Refusal(400, 120, "Invalid date in the address")
        symbol = parts["file"].removesuffix(".csv.gz")
        if symbol == parts["file"]:
            return Refusal(400, 130, "Invalid 'format' param provided")
        return DatasetRequest(parts["exchange"], DataType(parts["data_type"]), day, symbol)

    def _refusal(self, wanted: DatasetRequest, rights: KeyRights | None) -> Refusal | None:
        entries = self._entries(wanted.exchange) or {}
        return refusal_by_key(wanted, rights) or refusal_by_catalog(
            wanted, entries.get(wanted.symbol)
        )

    async def _dataset(self, request: web.Request) -> web.StreamResponse:
        wanted = self._parsed(request)
        if isinstance(wanted, Refusal):
            return _refused(wanted)
        rights = self._rights(request)
        refusal = await asyncio.to_thread(self._refusal, wanted, rights)
        if refusal is not None:
            return _refused(refusal)
        fault = self._faults.take(wanted)
        if isinstance(fault, Fault) and fault in REFUSALS:
            return _refused(REFUSALS[fault])
        if is_free(wanted.day):
            return await self._storage.send(request, wanted, fault)
        return web.Response(
            status=302, headers={hdrs.LOCATION: str(self._storage.sign(wanted, fault))}
        )
