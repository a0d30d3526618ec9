"""No version is routed to whose chain of state, digest, manifest and approval does not verify."""

from pathlib import Path

import httpx
import msgspec
import pytest

from gateway.app import Gateway
from gateway.seals import KEPT, Seals
from gateway.settings import GatewaySettings
from protocol.configuration import DeprecationDoc, VersionDoc
from protocol.seals import Grounds, Seal, encoded_digest
from registry.seals import Sealer
from runtime.start import StartError
from tests.fixtures.seals import KEYS, SEALER, sealed
from tests.gateway.documents import World, version
from tests.gateway.sockets import serving

INFER = "/v2/models/iris/infer"
APPROVED = Grounds(evidence="sha256:e", requirements=3, sponsor="ada", approver="ada")
UNAPPROVED = Grounds(evidence="sha256:e", requirements=3, sponsor="ada")


def put(gateway: Gateway, document: VersionDoc) -> None:
    key = f"{document.model}/{document.number}"
    gateway.catalog.apply([("version", key, document)], False)


def _forged_grounds() -> VersionDoc:
    document = sealed(version("iris", 2), UNAPPROVED)
    assert document.seal is not None
    seal = msgspec.structs.replace(document.seal, grounds=APPROVED)
    return msgspec.structs.replace(document, seal=seal)


def _by_another_key() -> VersionDoc:
    document = version("iris", 2)
    encoded = encoded_digest(document.manifest)
    seal = Sealer.for_itself().seal("iris", 2, document.digest, "published", Grounds(), encoded)
    return msgspec.structs.replace(document, seal=seal)


def _under_the_genuine_keys_name() -> VersionDoc:
    document = _by_another_key()
    genuine = version("iris", 2).seal
    assert document.seal is not None
    assert genuine is not None
    seal = msgspec.structs.replace(document.seal, signer=genuine.signer)
    return msgspec.structs.replace(document, seal=seal)


def _other_manifest() -> VersionDoc:
    document = version("iris", 2)
    manifest = msgspec.structs.replace(document.manifest, labels=("no", "yes"))
    return msgspec.structs.replace(document, manifest=manifest)


def _with_encoding_of(document: VersionDoc) -> Seal:
    assert document.seal is not None
    return msgspec.structs.replace(document.seal, encoded=encoded_digest(document.manifest))


TAMPERED = {
    "a seal that was taken away": msgspec.structs.replace(version("iris", 2), seal=None),
    "a state that was not sealed": msgspec.structs.replace(
        version("iris", 2, "registered"), state="published"
    ),
    "another manifest under the digest": _other_manifest(),
    "an encoding that was not sealed": msgspec.structs.replace(
        _other_manifest(), seal=_with_encoding_of(_other_manifest())
    ),
    "another digest": msgspec.structs.replace(version("iris", 2), digest=version("iris", 1).digest),
    "another version's manifest and seal": msgspec.structs.replace(version("iris", 1), number=2),
    "another model's": msgspec.structs.replace(version("rose", 2), model="iris"),
    "an approval that was not given": sealed(version("iris", 2), UNAPPROVED),
    "an approval that was written in": _forged_grounds(),
    "another's key": _by_another_key(),
    "another's key under the name of control's": _under_the_genuine_keys_name(),
}


@pytest.mark.parametrize("document", TAMPERED.values(), ids=TAMPERED.keys())
async def test_a_record_that_was_tampered_with_is_not_routed_to(
    client: httpx.AsyncClient, gateway: Gateway, document: VersionDoc
) -> None:
    assert (await client.post(INFER, content=b"{}")).status_code == 200
    put(gateway, document)
    for path in (INFER, "/v2/models/iris/versions/2/infer"):
        answer = await client.post(path, content=b"{}")
        assert answer.status_code == 404
        assert "has no" in answer.json()["error"]
    [report] = gateway.seals.reports()
    assert (report.model, report.version) == ("iris", 2)
    assert "tollway_unverified_versions 1.0" in (await client.get("/metrics")).text
    put(gateway, version("iris", 2))
    assert (await client.post(INFER, content=b"{}")).status_code == 200
    assert gateway.seals.reports() == ()


async def test_both_lanes_refuse_alike(gateway: Gateway, world: World) -> None:
    put(gateway, TAMPERED["a state that was not sealed"])
    async with serving(gateway) as ports, httpx.AsyncClient() as client:
        answers = [
            await client.post(
                f"http://127.0.0.1:{port}{INFER}", content=b"{}", headers={"x-api-key": world.key}
            )
            for port in ports.values()
        ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1


async def test_an_approved_version_is_routed_to(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    put(gateway, sealed(version("iris", 2), APPROVED))
    assert (await client.post(INFER, content=b"{}")).status_code == 200


async def test_the_other_versions_answer_on(client: httpx.AsyncClient, gateway: Gateway) -> None:
    put(gateway, msgspec.structs.replace(version("iris", 1), seal=None))
    assert (await client.post(INFER, content=b"{}")).status_code == 200


async def test_a_disk_copy_that_was_edited_is_not_believed(
    settings: GatewaySettings,
) -> None:
    """The journal holds what control sent; whoever edits it has no key."""
    seals = Seals.open(settings.seal_public_key_file, settings.data_dir)
    document = version("iris", 3, "validated")
    edited = msgspec.json.encode(document).replace(b'"validated"', b'"published"')
    assert seals.believes(document, None)
    assert not seals.believes(msgspec.json.decode(edited, type=VersionDoc), document)


async def test_a_withdrawn_version_does_not_come_back_by_its_earlier_record(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    """Not in the stream, not when the stream starts over, and not when it was deleted from it."""
    published = version("iris", 2)
    assert (await client.post(INFER, content=b"{}")).status_code == 200
    put(gateway, version("iris", 2, "retired"))
    put(gateway, published)
    assert (await client.post(INFER, content=b"{}")).status_code == 404
    [report] = gateway.seals.reports()
    assert report.problem == "it is published, and was retired before: no version goes back"
    gateway.catalog.apply([("version", "iris/2", None)], False)
    put(gateway, published)
    assert (await client.post(INFER, content=b"{}")).status_code == 404
    gateway.catalog.apply([("version", "iris/2", published)], True)
    assert gateway.catalog.version("iris", 2) is None


async def test_a_withdrawn_version_does_not_come_back_by_a_restart(
    gateway: Gateway, settings: GatewaySettings
) -> None:
    """Whatever the disk copy of the stream has become."""
    put(gateway, version("iris", 2, "retired"))
    put(gateway, version("iris", 2))
    seals = Seals.open(settings.seal_public_key_file, settings.data_dir / "gateway")
    assert not seals.believes(version("iris", 2), None)
    assert seals.believes(version("iris", 2, "retired"), None)
    assert seals.believes(version("iris", 1), None)


def test_what_changes_within_a_state_is_taken() -> None:
    seals = Seals(KEYS, Path("unused"))
    ending = version("iris", 2, "deprecated")
    noted = msgspec.structs.replace(ending, deprecation=DeprecationDoc(since=1, note="soon"))
    unloaded = msgspec.structs.replace(noted, loaded=False)
    for document in (version("iris", 2), ending, noted, unloaded, noted, ending):
        assert seals.believes(document, None)


def test_a_number_that_another_manifest_has_after_a_restored_backup_begins_anew() -> None:
    seals = Seals(KEYS, Path("unused"))
    assert seals.believes(version("iris", 2, "retired"), None)
    other = sealed(_other_manifest())
    assert seals.believes(other, None)


def test_a_manifest_that_this_release_encodes_as_the_other_did_needs_no_canonical_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unread(_manifest: object) -> bytes:
        raise AssertionError

    monkeypatch.setattr("gateway.seals.canonical_json", unread)
    seals = Seals(KEYS, Path("unused"))
    assert seals.believes(version("iris", 2), None)
    assert seals.believes(version("iris", 2), version("iris", 2, "validated"))


def test_a_manifest_that_another_release_encoded_is_known_by_its_digest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = version("iris", 2)
    monkeypatch.setattr("gateway.seals.encoded_digest", lambda _manifest: "another")
    assert Seals(KEYS, Path("unused")).believes(document, None)
    assert not Seals(KEYS, Path("unused")).believes(_other_manifest(), None)


async def test_control_is_asked_for_the_key_once_and_no_other_is_believed_later(
    tmp_path: Path,
) -> None:
    asked: list[str] = []
    pem = SEALER.public_pem

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, text=pem) if len(asked) > 1 else httpx.Response(503)

    transport = httpx.MockTransport(answer)
    async with httpx.AsyncClient(transport=transport, base_url="http://control") as control:
        seals = Seals.open(None, tmp_path)
        assert not await seals.obtain(control)
        assert not seals.believes(version("iris", 2), None)
        assert seals.reports() == ()
        waited: list[VersionDoc] = []
        await seals.run(control, waited.extend)
        assert [one.number for one in waited] == [2]
        assert seals.believes(version("iris", 2), None)
        pem = Sealer.for_itself().public_pem
        again = Seals.open(None, tmp_path)
        assert await again.obtain(control)
        assert again.believes(version("iris", 2), None)
    assert asked == ["/internal/v1/seal-key"] * 2
    assert (tmp_path / KEPT).stat().st_mode & 0o777 == 0o600


async def test_an_answer_that_is_no_key_is_not_kept(tmp_path: Path) -> None:
    for text in (
        "",
        "no key",
        "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----",
        "x" * 9999,
    ):
        transport = httpx.MockTransport(lambda _, text=text: httpx.Response(200, text=text))
        async with httpx.AsyncClient(transport=transport, base_url="http://control") as control:
            assert not await Seals.open(None, tmp_path).obtain(control)
    assert not (tmp_path / KEPT).exists()


def test_a_key_file_that_holds_none_is_an_error_at_start(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pem", tmp_path):
        with pytest.raises(StartError):
            Seals.open(path, tmp_path)
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(StartError, match="holds no public key"):
        Seals.open(tmp_path / "empty.pem", tmp_path)
