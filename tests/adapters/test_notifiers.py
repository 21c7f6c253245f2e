"""Notifiers against real servers: what arrives, what an answer means, and that no secret shows."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import hmac
import json
import logging
import os
import socket
import threading
import time
import traceback
from types import SimpleNamespace

import pytest
from aiohttp import web
from pydantic import SecretStr

from tickhandler_dagster.adapters.notifiers.building import build_notifiers
from tickhandler_dagster.adapters.notifiers.json_lines import FileNotifier
from tickhandler_dagster.adapters.notifiers.slack import (
    MAX_BLOCK_TEXT,
    MAX_BLOCKS,
    SlackNotifier,
    blocks,
)
from tickhandler_dagster.adapters.notifiers.webhook import SIGNATURE_HEADER, WebhookNotifier
from tickhandler_dagster.market.alerts.messages import Facts, Line, Message, Transition
from tickhandler_dagster.market.alerts.policy import NotifierType
from tickhandler_dagster.market.alerts.policy_form import parse_alerts
from tickhandler_dagster.market.alerts.signal import IncidentKind, Urgency
from tickhandler_dagster.market.errors import (
    InvalidSetting,
    PermanentError,
    RateLimited,
    StorageDenied,
    StorageFull,
    TransientError,
)

TOKEN = "T0KEN-that-must-not-show"
PASSWORD = "pa55word-that-must-not-show"


def made(count=2, *, text="7 of 40 instruments are missing", **given):
    lines = tuple(
        Line(f"subject {number} <a&b>", 0, None, Facts(text, "http://ui/runs/1", (("why", "x"),)))
        for number in range(min(count, 20))
    )
    return Message(
        **{
            "message_id": "abc123",
            "sequence": 1,
            "transition": Transition.OPENED,
            "kind": IncidentKind.FAILED_CHECK,
            "urgency": Urgency.ERROR,
            "group": "raw_ticks/trades complete binance",
            "at_us": 60_000_000,
            "since_us": 0,
            "until_us": None,
            "counts": {Transition.OPENED: count},
            "lines": lines,
            "link": "http://ui/runs/1",
        }
        | given
    )


class Hook:
    """A real HTTP server that keeps what is posted to it and answers as it is told."""

    def __init__(self):
        self.status, self.body, self.headers, self.delay_s = 200, "ok", {}, 0
        self.posts = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    @property
    def url(self):
        return SecretStr(f"http://127.0.0.1:{self.port}/{TOKEN}")

    async def _start(self):
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self._runner.addresses[0][1]

    async def _answer(self, request):
        body = await request.read()
        self.posts.append(
            SimpleNamespace(method=request.method, headers=request.headers, body=body)
        )
        await asyncio.sleep(self.delay_s)
        return web.Response(text=self.body, status=self.status, headers=self.headers)

    async def _end(self):
        await self._runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def stop(self):
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def hook():
    server = Hook()
    yield server
    server.stop()


@pytest.fixture
def dead_url():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return SecretStr(f"http://127.0.0.1:{port}/{TOKEN}")


HTTP_NOTIFIERS = [SlackNotifier, WebhookNotifier]


def told_of(error):
    """Everything that a log with a traceback would show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(error.__dict__)


def test_the_webhook_gets_all_that_is_known_with_a_signature_that_holds(hook):
    WebhookNotifier("hook", hook.url, secret=SecretStr(PASSWORD)).send(made())
    (post,) = hook.posts
    body = json.loads(post.body)
    assert post.method == "POST"
    assert post.headers["X-Tickhandler-Message-Id"] == body["message_id"] == "abc123"
    assert (body["version"], body["transition"], body["count"]) == (1, "opened", 2)
    assert body["subjects"][0]["details"] == {"why": "x"}
    assert body["title"].startswith("ERROR check failed: raw_ticks/trades complete binance, 2")
    digest = hmac.new(PASSWORD.encode(), post.body, hashlib.sha256).hexdigest()
    assert post.headers[SIGNATURE_HEADER] == f"sha256={digest}"


def test_without_a_secret_nothing_is_signed(hook):
    WebhookNotifier("hook", hook.url).send(made())
    assert SIGNATURE_HEADER not in hook.posts[0].headers


def test_slack_gets_a_headline_and_blocks_with_its_markup_taken_literally(hook):
    SlackNotifier("team", hook.url).send(made())
    body = json.loads(hook.posts[0].body)
    assert body["text"].startswith("ERROR check failed: raw_ticks/trades complete binance, 2 since")
    assert "subject 0 &lt;a&amp;b&gt;" in json.dumps(body["blocks"])
    assert "<http://ui/runs/1|Open in Dagster>" in json.dumps(body["blocks"])


@pytest.mark.parametrize("count", [1, 20, 100_000])
def test_blocks_stay_within_what_slack_takes(count):
    found = blocks(made(count, text="&" * 5000, group="g" * 5000))
    assert len(found) <= MAX_BLOCKS
    texts = [block["text"]["text"] for block in found if block["type"] == "section"]
    assert all(0 < len(text) <= MAX_BLOCK_TEXT for text in texts)
    assert found[-1]["elements"][0]["text"] == "Message abc123"


@pytest.mark.parametrize("make", HTTP_NOTIFIERS)
@pytest.mark.parametrize(
    ("status", "headers", "expected", "wait_s"),
    [
        (400, {}, PermanentError, None),
        (404, {}, PermanentError, None),
        (429, {"Retry-After": "17"}, RateLimited, 17.0),
        (429, {}, RateLimited, None),
        (500, {}, TransientError, None),
        (503, {"Retry-After": "soon"}, TransientError, None),
    ],
)
def test_an_answer_decides_whether_to_try_again_and_shows_no_address(  # noqa: PLR0917  (a table)
    hook, make, status, headers, expected, wait_s, caplog
):
    caplog.set_level(logging.DEBUG)
    hook.status, hook.headers, hook.body = status, headers, f"no {TOKEN}"
    notifier = make("team", hook.url)
    with pytest.raises(expected) as caught:
        notifier.send(made())
    assert getattr(caught.value, "retry_after_s", None) == wait_s
    assert len(hook.posts) == 1
    for text in (told_of(caught.value), repr(notifier), caplog.text):
        assert TOKEN not in text


def test_a_redirect_is_not_followed_to_a_page_that_takes_anything(hook):
    hook.status, hook.headers = 302, {"Location": f"/elsewhere/{TOKEN}"}
    with pytest.raises(PermanentError, match="hook: the receiver answered 302"):
        WebhookNotifier("hook", hook.url).send(made())
    assert len(hook.posts) == 1


def test_a_page_that_is_not_slacks_ok_is_no_delivery(hook):
    hook.body = "<html>please log in</html>"
    with pytest.raises(PermanentError, match="team: the receiver answered 200"):
        SlackNotifier("team", hook.url).send(made())


@pytest.mark.parametrize("make", HTTP_NOTIFIERS)
def test_who_is_down_or_silent_is_tried_again_and_shows_no_address(hook, dead_url, make, caplog):
    caplog.set_level(logging.DEBUG)
    hook.delay_s = 30
    for url in (dead_url, hook.url):
        started = time.monotonic()
        with pytest.raises(TransientError, match="team: out of reach") as caught:
            make("team", url, timeout_s=1.0).send(made())
        assert time.monotonic() - started < 5
        assert TOKEN not in told_of(caught.value) + caplog.text
        assert url.get_secret_value() not in told_of(caught.value) + caplog.text


@pytest.mark.parametrize("make", HTTP_NOTIFIERS)
@pytest.mark.parametrize("text", ["not an address", f"ftp://host/{TOKEN}", f"http:///{TOKEN}"])
def test_an_address_that_is_none_is_an_error_without_it(make, text, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises((PermanentError, TransientError)) as caught:
        make("team", SecretStr(text), timeout_s=1.0).send(made())
    assert TOKEN not in told_of(caught.value) + caplog.text


def test_a_file_gets_one_whole_line_per_message_also_from_many_threads(tmp_path):
    path = tmp_path / "new" / "alerts.jsonl"
    notifier = FileNotifier("log", path)
    threads = [
        threading.Thread(target=notifier.send, args=(made(message_id=f"m{number}"),))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {json.loads(line)["message_id"] for line in path.read_text().splitlines()}
    assert found == {f"m{number}" for number in range(20)}


def test_a_line_that_another_is_still_writing_is_waited_for(tmp_path):
    path = tmp_path / "alerts.jsonl"
    sending = threading.Thread(target=FileNotifier("log", path).send, args=(made(),))
    with path.open("ab", buffering=0) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(b'{"message_id":')
        sending.start()
        sending.join(0.3)
        assert sending.is_alive()
        other.write(b'"first"}\n')
    sending.join(30)
    lines = path.read_text().splitlines()
    assert [json.loads(line)["message_id"] for line in lines] == ["first", "abc123"]


def test_a_line_that_was_cut_off_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(b'{"half":')
    FileNotifier("log", path).send(made())
    assert json.loads(path.read_text().splitlines()[1])["message_id"] == "abc123"


def test_a_file_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "below"):
        with pytest.raises((StorageDenied, TransientError), match=r"^log \("):
            FileNotifier("log", path).send(made())


def test_what_a_full_disk_cut_off_is_taken_back(tmp_path, monkeypatch):
    path = tmp_path / "alerts.jsonl"
    notifier = FileNotifier("log", path)
    notifier.send(made())
    before, write = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:10]))
    with pytest.raises(StorageFull):
        notifier.send(made())
    assert path.read_bytes() == before


SPECS = {
    "slack": {"url_env": "HOOK"},
    "webhook": {"url_env": "HOOK", "secret_env": "KEY"},
    "email": {"host": "h", "from": "a@b", "to": "a@b"},
    "file": {"path": "x"},
}


def test_every_type_of_notifier_can_be_built_and_hides_what_it_holds():
    assert set(SPECS) == set(NotifierType)
    alerts = parse_alerts(
        {"notifiers": {kind: {"type": kind, **options} for kind, options in SPECS.items()}}
    )
    built = build_notifiers(alerts, {"HOOK": SecretStr(TOKEN), "KEY": SecretStr(PASSWORD)})
    assert list(built) == list(SPECS)
    assert TOKEN not in repr(built)
    assert PASSWORD not in repr(built)


def test_a_missing_secret_stops_its_notifier_alone_and_is_named():
    alerts = parse_alerts(
        {"notifiers": {kind: {"type": kind, **options} for kind, options in SPECS.items()}}
    )
    built = build_notifiers(alerts, {"HOOK": SecretStr(TOKEN)})
    with pytest.raises(InvalidSetting, match="KEY: not set, and the notifier webhook needs it"):
        built["webhook"].send(made())
    assert isinstance(built["slack"], SlackNotifier)
