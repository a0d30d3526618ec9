"""Retries, and answers turned into errors that say what to do."""

import contextlib
import http.server
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

import tollway
from tests.fixtures.certificates import contexts
from tests.fixtures.tls_proxy import TlsProxy
from tests.sdk.conftest import Clock
from tests.sdk.fake_access import problem
from tests.sdk.fake_server import TOKEN, FakeServer
from tollway.errors import from_response
from tollway.transport import Retry, RetryPolicy, Transport


def _transport(handler: httpx.MockTransport, clock: Clock, token: str = TOKEN) -> Transport:
    policy = RetryPolicy(attempts=4)
    return Transport(
        "http://server", token, timeout_s=5, retry=policy, transport=handler, sleep=clock.sleep
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, tollway.InvalidRequestError),
        (401, tollway.AuthenticationError),
        (403, tollway.PermissionDeniedError),
        (404, tollway.NotFoundError),
        (409, tollway.ConflictError),
        (410, tollway.GoneError),
        (412, tollway.ConflictError),
        (413, tollway.TooLargeError),
        (422, tollway.InvalidRequestError),
        (429, tollway.RateLimitedError),
        (500, tollway.ServerError),
        (503, tollway.NotReadyError),
        (504, tollway.TimedOut),
    ],
)
@pytest.mark.parametrize(
    "body", [b'{"error": "the reason"}', b'{"detail": "the reason", "title": "T", "code": "c"}']
)
def test_every_status_has_its_type_and_the_servers_words(
    status: int, kind: type[tollway.TollwayError], body: bytes
) -> None:
    error = from_response(status, body, request_id="r1", retry_after="3")
    assert type(error) is kind
    assert str(error).startswith("the reason")
    assert (error.status, error.request_id, error.retry_after_s) == (status, "r1", 3.0)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": 3}', b"\xff"])
def test_an_error_without_a_message_still_says_its_status(body: bytes) -> None:
    assert "the server answered 502" in str(from_response(502, body))


def test_a_lost_connection_is_tried_again_with_growing_pauses(clock: Clock) -> None:
    calls = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(clock.now)
        if len(calls) < 4:
            raise httpx.ReadError("reset", request=request)
        return httpx.Response(200)

    _transport(httpx.MockTransport(handler), clock).request("GET", "/x")
    pauses = [later - earlier for earlier, later in itertools.pairwise(calls)]
    assert pauses == sorted(pauses)
    assert pauses[0] > 0


def test_a_server_that_stays_away_is_reported_with_its_url(clock: Clock) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(tollway.ConnectionFailed, match=r"no connection to http://server: refused"):
        _transport(httpx.MockTransport(handler), clock).request("GET", "/x")


def test_a_request_that_may_have_been_acted_on_is_not_repeated(clock: Clock) -> None:
    calls = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        raise httpx.ReadError("reset", request=request)

    with pytest.raises(tollway.ConnectionFailed, match="broke"):
        _transport(httpx.MockTransport(handler), clock).request("POST", "/x", retry=Retry.UNSENT)
    assert len(calls) == 1


def test_retry_after_is_honoured_for_503_and_429_is_not_retried(
    server: FakeServer, clock: Clock
) -> None:
    transport = _transport(httpx.MockTransport(server.handle), clock)
    busy = httpx.Response(503, json={"error": "busy"}, headers={"Retry-After": "2"})
    server.fail("GET", "/api/v1/models", lambda _: busy)
    transport.request("GET", "/api/v1/models")
    assert clock.now == 2
    server.fail("GET", "/api/v1/models", lambda _: problem(429, "limited", "slow down"))
    with pytest.raises(tollway.RateLimitedError):
        transport.request("GET", "/api/v1/models")


def test_an_answer_that_is_not_ours_is_a_server_error(clock: Clock) -> None:
    handler = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>hello"))
    with pytest.raises(tollway.ServerError, match="is this a Tollway server"):
        _transport(handler, clock).get("/x", tollway.Model)


def test_redirects_are_not_followed_so_the_token_stays_here(clock: Clock) -> None:
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(302, headers={"Location": "http://elsewhere/"})

    with pytest.raises(tollway.TollwayError):
        _transport(httpx.MockTransport(handler), clock).request("GET", "/x")
    assert seen == ["http://server/x"]


@pytest.mark.parametrize("token", ["tw_secret\n", "tw secret", "tw_sécret"])
def test_a_malformed_token_is_refused_without_being_shown(clock: Clock, token: str) -> None:
    with pytest.raises(tollway.AuthenticationError) as caught:
        _transport(httpx.MockTransport(lambda _: httpx.Response(200)), clock, token)
    assert "cret" not in str(caught.value)


def test_no_repr_shows_the_token(client: tollway.Client) -> None:
    assert repr(client) == "Client('http://server')"
    assert TOKEN not in repr(vars(client))


def test_a_url_that_is_none_is_a_connection_error() -> None:
    with pytest.raises(tollway.ConnectionFailed, match="is not a URL"):
        tollway.Client("http://[::1", "t")


@contextlib.contextmanager
def _healthy_server() -> Iterator[int]:
    """A port of the loopback that answers every GET with 200."""

    class Healthy(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with http.server.HTTPServer(("127.0.0.1", 0), Healthy) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served.server_port
        finally:
            served.shutdown()
            thread.join()


def test_a_private_certificate_of_a_server_on_this_machine_is_trusted_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, _ = contexts(tmp_path, "localhost")
    policy = RetryPolicy(attempts=1)
    with _healthy_server() as behind, TlsProxy(context, behind) as proxy:
        url = f"https://localhost:{proxy.port}"
        stranger = Transport(url, TOKEN, timeout_s=5, retry=policy)
        with pytest.raises(tollway.ConnectionFailed, match="CERTIFICATE_VERIFY_FAILED"):
            stranger.request("GET", "/x")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "chain.pem"))
        trusting = Transport(url, TOKEN, timeout_s=5, retry=policy)
        assert trusting.request("GET", "/x").status_code == 200
        for transport in (stranger, trusting):
            transport.close()


def test_a_pinned_certificate_is_taken_under_any_name_and_no_other_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    for folder in (here, other):
        folder.mkdir()
    context, _ = contexts(here, "models.example.org")
    contexts(other, "127.0.0.1")
    chain = tmp_path / "chain.pem"  # what follows the first is not trusted
    chain.write_text((other / "chain.pem").read_text() + (here / "chain.pem").read_text())
    with _healthy_server() as behind, TlsProxy(context, behind) as proxy:
        for file, taken in ((here / "chain.pem", True), (chain, False)):
            monkeypatch.setenv("TOLLWAY_PINNED_CERTIFICATE", str(file))
            url = f"https://127.0.0.1:{proxy.port}"
            transport = Transport(url, TOKEN, timeout_s=5, retry=RetryPolicy(attempts=1))
            if taken:
                assert transport.request("GET", "/x").status_code == 200
            else:
                with pytest.raises(tollway.ConnectionFailed, match="CERTIFICATE_VERIFY_FAILED"):
                    transport.request("GET", "/x")
            transport.close()


@pytest.mark.parametrize("text", [None, "", "no certificate", "\N{SNOWMAN}"])
def test_a_pinned_certificate_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "none.pem").write_text(text)
    monkeypatch.setenv("TOLLWAY_PINNED_CERTIFICATE", str(tmp_path / "none.pem"))
    with pytest.raises(tollway.ConnectionFailed, match="TOLLWAY_PINNED_CERTIFICATE"):
        tollway.Client("https://localhost:1", TOKEN)


def test_certificates_that_cannot_be_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(tollway.ConnectionFailed, match="SSL_CERT_FILE"):
        tollway.Client("https://localhost:1", TOKEN)


@pytest.mark.parametrize(
    ("code", "hinted"),
    [("model_not_found", True), ("version_not_found", True), ("not_found", False)],
)
def test_what_is_missing_and_is_no_model_is_not_looked_for_among_the_models(
    code: str, hinted: bool
) -> None:
    body = msgspec.json.encode({"detail": "it is not there", "code": code})
    said = str(from_response(404, body))
    assert said.startswith("it is not there")
    assert ("tollway models" in said) == hinted
