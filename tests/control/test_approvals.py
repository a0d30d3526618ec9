"""Approval over HTTP: who decides, what is answered, and what a gate says."""

import stat
from typing import Any

import msgspec
import pytest

from control.seal_keys import SealKeys
from protocol.configuration import VersionDoc
from protocol.seals import seal_statement
from runtime.signatures import PublicKeys
from tests.control.audited_models import evidence
from tests.control.running import Control
from tests.control.tenants import user
from tests.control.test_composition import register, report

REQUIREMENTS = "/api/v1/models/risk/requirements"


async def validated(control: Control) -> str:
    """The path of a version that is validated."""
    number = await register(control.admin)
    await report(control, number, "ready")
    path = f"/api/v1/models/risk/versions/{number}"
    await control.admin.post(f"{path}/transitions", json={"to": "validated"})
    return path


async def step(control: Control, path: str, to: str) -> Any:
    """The answer to a transition."""
    return await control.admin.post(f"{path}/transitions", json={"to": to})


async def test_the_way_from_requirements_to_an_approved_version(control: Control) -> None:
    path = await validated(control)
    ada, _ = await user(control, "ada", "sponsor")
    body = {"criteria": ["accuracy >= 0.95"], "sponsor": "ada"}
    await control.admin.put(REQUIREMENTS, json=body)
    digest = (await control.admin.get(path)).json()["digest"]
    await control.admin.post(f"{path}/evidence", json=evidence(digest))

    gate = (await control.admin.get(f"{path}/gate")).json()
    assert (gate["passed"], gate["requirements"], gate["approval"]["state"]) == (
        False,
        1,
        "missing",
    )
    [criterion] = gate["criteria"]
    assert criterion["outcome"] == "failed"
    assert criterion["parts"][0]["short_by"] == pytest.approx(0.03)
    refused = await step(control, path, "approved")
    assert refused.status_code == 409
    assert "short by 0.03" in refused.json()["detail"]
    assert "'ada' has not approved it" in refused.json()["detail"]

    await control.admin.put(REQUIREMENTS, json=body | {"criteria": ["accuracy.low >= 0.85"]})
    asked = await control.admin.post(f"{path}/approval-requests", json={"note": "please"})
    assert asked.status_code == 202
    async with ada:
        assert (await ada.get(f"{path}/gate")).json()["missing"] == [
            "the sponsor 'ada' has not approved it"
        ]
        unsaid = await ada.post(f"{path}/approvals", json={"decision": "refuse"})
        assert unsaid.status_code == 422
        given = await ada.post(f"{path}/approvals", json={"decision": "approve"})
        assert given.status_code == 201
        assert (
            await ada.post(f"{path}/approvals", json={"decision": "approve"})
        ).status_code == 200
        assert (await ada.post(f"{path}/transitions", json={"to": "approved"})).status_code == 403
    assert given.json()["evidence_digest"] == gate["evidence_digest"]
    assert (await step(control, path, "approved")).status_code == 200
    assert (await step(control, path, "published")).json()["approval"] == "given"
    listed = (await control.admin.get(f"{path}/approvals")).json()["items"]
    assert [(one["decision"], one["actor"]) for one in listed] == [("approve", "ada")]


async def test_an_admin_is_not_the_sponsor(control: Control) -> None:
    path = await validated(control)
    ada, _ = await user(control, "ada", "sponsor")
    await control.admin.put(REQUIREMENTS, json={"sponsor": "ada"})
    await ada.aclose()
    answer = await control.admin.post(f"{path}/approvals", json={"decision": "approve"})
    assert answer.status_code == 403


async def test_a_version_says_how_its_approval_stands(control: Control) -> None:
    path = await validated(control)
    assert (await control.admin.get(path)).json()["approval"] == "not_needed"
    ada, _ = await user(control, "ada", "sponsor")
    await control.admin.put(REQUIREMENTS, json={"sponsor": "ada"})
    async with ada:
        await ada.post(f"{path}/approvals", json={"decision": "approve"})
    await step(control, path, "approved")
    await step(control, path, "published")
    await control.admin.put(REQUIREMENTS, json={"sponsor": "ada", "criteria": ["accuracy > 0"]})
    [listed] = (await control.admin.get("/api/v1/models/risk/versions")).json()["items"]
    assert (listed["state"], listed["approval"]) == ("published", "outdated")


async def test_every_version_is_announced_with_a_seal_that_gateways_can_verify(
    control: Control,
) -> None:
    await validated(control)
    pem = (await control.cluster.get("/internal/v1/seal-key")).text
    assert (await control.admin.get("/internal/v1/seal-key")).status_code == 401
    page = (await control.cluster.get("/internal/v1/changes")).json()
    documents = [one["doc"] for one in page["changes"] if one["kind"] == "version"]
    found = [msgspec.convert(one, VersionDoc) for one in documents]
    assert [one.state for one in found] == ["registered", "validated"]
    for one in found:
        assert one.seal is not None
        statement = seal_statement(
            one.model, one.number, one.digest, one.state, one.seal.grounds, one.seal.encoded
        )
        keys = PublicKeys([pem])
        assert keys.doubt(one.seal.signer, one.seal.signature, statement) is None


def test_the_key_that_seals_is_for_control_alone_and_stays(control: Control) -> None:
    path = control.settings.seal_key_path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = SealKeys(path, control.settings.seal_dir).sealer
    assert again.public_pem == control.services.seal_public_pem
