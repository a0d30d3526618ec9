"""Each version's document and samples at the gateway: who sees them, what is cached."""

import httpx
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.app import Gateway
from protocol.configuration import DeprecationDoc
from tests.gateway.documents import version


@pytest.fixture
def anonymous(gateway: Gateway) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(gateway.application)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway:8080")


@pytest.mark.parametrize(
    ("path", "status", "number", "route"),
    [
        ("/v1/models/iris/openapi.json", 200, "2", "/v1/models/iris:predict"),
        ("/v1/models/iris/versions/1/openapi.json", 200, "1", "/v1/models/iris/versions/1:predict"),
        ("/v1/models/iris/labels/old/openapi.json", 200, "1", "/v1/models/iris:predict"),
        ("/v1/models/iris/versions/3/openapi.json", 404, "", ""),
        ("/v1/models/iris/versions/4/openapi.json", 410, "", ""),
        ("/v1/models/secret/openapi.json", 404, "", ""),
        ("/v1/models/none/openapi.json", 404, "", ""),
        ("/v1/models/iris/versions/3/samples", 404, "", ""),
        ("/v1/models/secret/samples", 404, "", ""),
    ],
)
async def test_documents_of_published_versions_are_open_and_of_others_there_are_none(
    anonymous: httpx.AsyncClient, path: str, status: int, number: str, route: str
) -> None:
    answer = await anonymous.get(path)
    assert answer.status_code == status
    if status == 200:
        found = answer.json()
        OpenAPIV31SpecValidator(found).validate()
        assert found["info"]["version"] == number
        assert found["servers"] == [{"url": "http://gateway:8080"}]
        assert route in found["paths"]


async def test_who_has_the_document_is_told_that_it_is_the_same(
    anonymous: httpx.AsyncClient, gateway: Gateway
) -> None:
    path = "/v1/models/iris/openapi.json"
    first = await anonymous.get(path)
    tag = first.headers["etag"]
    for known in (tag, f'"x", W/{tag}', "*"):
        again = await anonymous.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = await anonymous.get(path, headers={"If-None-Match": '"x"'})
    ending = msgspec.structs.replace(
        version("iris", 2, "deprecated"), deprecation=DeprecationDoc(since=5, successor=1)
    )
    gateway.catalog.apply([("version", "iris/2", ending)], False)
    changed = await anonymous.get(path, headers={"If-None-Match": tag})

    assert (other.status_code, changed.status_code) == (200, 200)
    assert changed.headers["deprecation"] == "@5"


async def test_samples_are_given_by_language_for_the_address_that_was_asked(
    anonymous: httpx.AsyncClient,
) -> None:
    found = (await anonymous.get("/v1/models/iris/samples")).json()
    assert (found["model"], found["version"]) == ("iris", 2)
    assert list(found["samples"]) == ["curl", "python", "javascript"]
    assert all("http://gateway:8080/v1/models/iris:predict" in s for s in found["samples"].values())


@pytest.mark.parametrize("host", ["x'; touch y;'", 'a"b', "a b", "a/b", "$(id)", "[::1", "x" * 300])
async def test_a_host_that_is_none_does_not_get_into_samples(
    anonymous: httpx.AsyncClient, host: str
) -> None:
    answer = await anonymous.get("/v1/models/iris/samples", headers={"Host": host})
    assert "http://localhost/v1/models/iris:predict" in answer.json()["samples"]["curl"]


async def test_an_ipv6_host_is_one(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/v1/models/iris/samples", headers={"Host": "[::1]:8080"})
    assert "--globoff 'http://[::1]:8080/v1/" in answer.json()["samples"]["curl"]
