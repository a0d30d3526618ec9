"""Receivers accept what the server has signed, and nothing else."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.webhooks.signing import Signer
from tollway.webhooks import WebhookVerificationError, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The example of the Standard Webhooks specification, with its signature."""
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
EVENT = b'{"type":"key.created","timestamp":"2026-01-01T00:00:00.000Z","data":{"key":"k"}}'


def signed(
    body: bytes = EVENT, at: int = AT, generations: tuple[int, ...] = (1,)
) -> dict[str, str]:
    return {
        "Webhook-Id": "evt_1",
        "Webhook-Timestamp": str(at),
        "Webhook-Signature": Signer(b"server").signatures("whk-1", generations, "evt_1", at, body),
    }


def secret(generation: int = 1) -> str:
    return Signer(b"server").secret("whk-1", generation)


def test_the_specifications_own_example_has_the_right_signature() -> None:
    headers = {"webhook-id": ID, "webhook-timestamp": str(AT), "webhook-signature": SIGNATURE}

    with pytest.raises(WebhookVerificationError, match="not a delivery of Tollway"):
        verify(headers, BODY, SECRET, now=lambda: AT)  # the signature fits, the body is another's
    with pytest.raises(WebhookVerificationError, match="signature does not fit"):
        verify(headers, BODY + b" ", SECRET, now=lambda: AT)


def test_a_genuine_delivery_gives_its_event() -> None:
    event = verify(signed(), EVENT, secret(), now=lambda: AT + 10)

    assert (event.id, event.type, event.data) == ("evt_1", "key.created", {"key": "k"})


def test_during_a_rotation_either_secret_fits() -> None:
    headers = signed(generations=(2, 1))

    for known in (secret(1), secret(2), [secret(3), secret(1)]):
        assert verify(headers, EVENT, known, now=lambda: AT).id == "evt_1"
    with pytest.raises(WebhookVerificationError):
        verify(headers, EVENT, secret(3), now=lambda: AT)


@pytest.mark.parametrize("age", [-301, 301, 10**6])
def test_a_delivery_of_another_time_is_refused(age: int) -> None:
    with pytest.raises(WebhookVerificationError, match="more than 300 s"):
        verify(signed(), EVENT, secret(), now=lambda: AT + age)


@pytest.mark.parametrize("header", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
def test_a_missing_header_is_named(header: str) -> None:
    headers = signed()
    del headers[header]

    with pytest.raises(WebhookVerificationError, match=header.lower()):
        verify(headers, EVENT, secret(), now=lambda: AT)


@pytest.mark.parametrize(
    "change",
    [
        {"Webhook-Id": "evt_2"},
        {"Webhook-Timestamp": str(AT + 1)},
        {"Webhook-Timestamp": "1e9"},
        {"Webhook-Timestamp": "٣"},
        {"Webhook-Signature": "v1,"},
        {"Webhook-Signature": "v1a,AAAA"},
        {"Webhook-Signature": "nonsense"},
        {"Webhook-Signature": "v1," + base64.b64encode(bytes(32)).decode()},
    ],
)
def test_a_changed_header_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(WebhookVerificationError):
        verify({**signed(), **change}, EVENT, secret(), now=lambda: AT)


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_%%%", "password", "whsec_QUJD"])
def test_what_is_no_secret_is_refused_before_anything_is_compared(text: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        verify(signed(), EVENT, text, now=lambda: AT)


@given(st.binary(max_size=300))
def test_no_other_body_is_taken_for_the_signed_one(body: bytes) -> None:
    if body != EVENT:
        with pytest.raises(WebhookVerificationError):
            verify(signed(), body, secret(), now=lambda: AT)


def test_secrets_of_endpoints_and_generations_differ() -> None:
    made = {Signer(b"server").secret(id, n) for id in ("whk-1", "whk-2") for n in (1, 2, 12)}
    made.add(Signer(b"other").secret("whk-1", 1))

    assert len(made) == 7
    assert all(len(base64.b64decode(one.removeprefix("whsec_"))) == 32 for one in made)
