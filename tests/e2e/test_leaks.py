"""No secret is ever written: not by the route that gets it, and nor by one that gets it by mistake.

Marked credentials go through every route of the management API and of the data plane: in the
headers where they belong, and in paths, queries, bodies, names, labels and other headers, where
they do not. Then everything that the stack has written and answered is searched for them.
"""

import base64
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from protocol import keys
from tests.e2e.models import AFFINE_REQUEST, affine
from tests.e2e.openapi import Operation, example, operations
from tests.e2e.stack import RunningStack, eventually

HARMLESS = "leak-test"
DATA_PLANE = (
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/{model}"),
    ("GET", "/v2/models/{model}/ready"),
    ("GET", "/v2/models/{model}/config"),
    ("GET", "/v2/models/{model}/stats"),
    ("GET", "/v2/models/affine/versions/{version}"),
    ("POST", "/v2/models/{model}/infer"),
    ("POST", "/v2/models/affine/versions/{version}/infer"),
    ("POST", "/v2/repository/index"),
    ("GET", "/v1/models/{model}"),
    ("GET", "/v1/models/{model}/metadata"),
    ("POST", "/v1/models/{model}:predict"),
    ("POST", "/v1/models/affine/labels/{label}:predict"),
    ("POST", "/v1/models/affine/versions/{version}:explain"),
    ("GET", "/{nothing}"),
    ("POST", "/api/v1/{nothing}"),
    ("GET", "/metrics"),
)
OTHER_HEADERS = (
    ("Tollway-Reason",),
    ("X-Request-Id", "X-Forwarded-For"),
    ("Idempotency-Key",),
    ("User-Agent",),
    ("If-Match", "Origin"),
    ("Tollway-Version",),
    ("Tollway-Deadline-Ms", "Accept"),
)
"""Sent together: none of a group keeps the others from being read."""
THROTTLES = (
    "TOLLWAY_RATE_LOGIN", "TOLLWAY_RATE_LOGIN_NAME", "TOLLWAY_RATE_SIGN_UP",
    "TOLLWAY_RATE_CREDENTIALS", "TOLLWAY_RATE_USER", "TOLLWAY_RATE_ADDRESS",
)  # fmt: skip
WRITES = frozenset({"POST", "PUT", "PATCH"})
ISSUED = ("secret", "token")
"""Fields in which an answer shows a new credential, once."""


class Driver:
    """Sends requests, and remembers which answers hold a marked secret."""

    def __init__(self, stack: RunningStack, secrets: dict[str, str]) -> None:
        self._client = httpx.Client(base_url=stack.url, timeout=30, trust_env=False)
        self._admin = {"Authorization": f"Bearer {stack.token}"}
        self.secrets = secrets
        """Name -> secret. Those that the routes make on the way are added."""
        self._planted = list(secrets.values())
        self.leaks: list[str] = []
        self.sent = 0

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def send(
        self, method: str, path: str, headers: dict[str, str], **content: Any
    ) -> httpx.Response:
        """Send, and search the answer."""
        answer = self._client.request(method, path, headers=headers, **content)
        self.sent += 1
        shown = answer.text + " ".join(f"{k}: {v}" for k, v in answer.headers.items())
        known = list(self.secrets.items())
        self._learn(answer)
        for name, secret in known:
            if secret in shown:
                self.leaks.append(f"{name} in the answer {answer.status_code} to {method} {path}")
        return answer

    def _learn(self, answer: httpx.Response) -> None:
        if (
            answer.content
            and answer.is_success
            and answer.headers.get("content-type") == "application/json"
        ):
            found = answer.json()
            for field in ISSUED:
                if isinstance(found, dict) and isinstance(found.get(field), str):
                    self.secrets[f"made by request {self.sent}"] = found[field]

    def drive(self, operation: Operation, document: dict[str, Any]) -> None:
        """Every secret in the headers where it belongs, and in each place where it does not."""
        harmless = operation.filled(HARMLESS)
        body = {} if operation.body is None else example(document, operation.body, HARMLESS)
        for secret in self._planted:
            self.send(operation.method, harmless, {"Authorization": f"Bearer {secret}"}, json=body)
        self.send(operation.method, harmless, {"X-API-Key": self.secrets["live key"]}, json=body)
        names = ("live key", "bearer") if operation.method in WRITES else ("live key",)
        for name in names:
            self.misplace(operation, document, self.secrets[name], body)

    def misplace(
        self, operation: Operation, document: dict[str, Any], secret: str, body: object
    ) -> None:
        """The secret wherever it does not belong, sent by an admin."""
        method, harmless, admin = operation.method, operation.filled(HARMLESS), self._admin
        if "{" in operation.path:
            self.send(method, operation.filled(secret), admin, json=body)
            self.send(method, operation.filled(quote(f"a/{secret}")), admin, json=body)
        for query in (*operation.queries, "key"):
            self.send(method, harmless, admin, params={query: secret}, json=body)
        for headers in OTHER_HEADERS:
            self.send(method, harmless, {**admin, **dict.fromkeys(headers, secret)}, json=body)
        if operation.method in WRITES:
            texts = [secret, {secret: secret}, {"name": secret, "label": f"my key {secret}"}]
            if operation.body is not None:
                texts.append(example(document, operation.body, secret))
            for text in texts:
                self.send(method, harmless, admin, json=text)
            self.send(method, harmless, admin, content=f"{{{secret}")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "roles.log"


@pytest.fixture
def stack(tmp_path: Path, log: Path) -> Iterator[RunningStack]:
    unthrottled = dict.fromkeys(THROTTLES, "")
    arguments = ("--log-level", "debug")
    with RunningStack(tmp_path / "data", *arguments, log=log, settings=unthrottled) as running:
        yield running


def planted(stack: RunningStack) -> dict[str, str]:
    """Credentials of every kind, the working ones used once."""
    with stack.client() as client, stack.api() as api:
        client.deploy(affine(), name="affine")
        live = client.create_key(application="shop", model="affine").secret
        test = api.post(
            "/api/v1/keys", json={"application": "shop", "environment": "test", "label": "trial"}
        ).json()["secret"]
    for secret in (live, test):
        with stack.api(secret) as caller:
            eventually(
                lambda caller=caller: (
                    caller.post("/v2/models/affine/infer", json=AFFINE_REQUEST).status_code == 200
                )
            )
    rotated, new = rotate(stack)
    parts = ({"alg": "RS256", "kid": "k"}, {"iss": "https://issuer.example", "azp": "shop"})
    encoded = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts]
    return {
        "live key": live,
        "test key": test,
        "rotated key": rotated,
        "key after rotation": new,
        "admin token": stack.token,
        **user_credentials(stack),
        "unknown key": keys.generate("live"),
        "unknown token": keys.generate("user"),
        "bearer": ".".join([*encoded, "c2lnbmF0dXJlLXRoYXQtbm9ib2R5LW1hZGU"]),
    }


def user_credentials(stack: RunningStack) -> dict[str, str]:
    """A user's session and personal token, by name and password."""
    password = "correct-horse-battery-staple"
    with stack.api() as api:
        user = {"role": "publisher", "password": password}
        assert api.put("/api/v1/users/ada", json=user).is_success
    with httpx.Client(base_url=f"{stack.url}/api/v1", trust_env=False, timeout=30) as anybody:
        session = anybody.post("/sessions", json={"name": "ada", "password": password})
        assert session.is_success, session.text
        secret = session.json()["secret"]
        anybody.headers["Authorization"] = f"Bearer {secret}"
        token = anybody.post("/tokens", json={"label": "notebook"})
        assert token.is_success, token.text
    return {"password": password, "session": secret, "personal token": token.json()["secret"]}


def rotate(stack: RunningStack) -> tuple[str, str]:
    """A key's secret, and its secret after a rotation."""
    with stack.api() as api:
        made = api.post("/api/v1/keys", json={"application": "shop"}).json()
        rotated = api.post(f"/api/v1/keys/{made['id']}/rotate", json={"overlap_s": 60})
        assert rotated.is_success, rotated.text
        return made["secret"], rotated.json()["secret"]


def test_no_secret_is_written_or_answered(stack: RunningStack, log: Path) -> None:
    driver = Driver(stack, planted(stack))
    with stack.api() as api:
        document = api.get("/api/v1/openapi.json").json()
    routes = list(operations(document))
    assert len(routes) > 40
    with contextlib.closing(driver):
        for operation in routes:
            driver.drive(operation, document)
        for method, path in DATA_PLANE:
            driver.drive(Operation(method, path, (), None), document)
        data_plane_bodies(driver)
    metrics = httpx.get(f"{stack.url}/metrics", trust_env=False).text
    assert stack.stop() == 0  # everything is written now

    written = {str(path.relative_to(stack.data)): path.read_bytes() for path in files(stack.data)}
    assert any("tollway.db" in name for name in written)
    assert any("changes.journal" in name for name in written)
    written |= {"log": log.read_bytes(), "metrics": metrics.encode()}
    leaks = driver.leaks + [
        f"{name} in {place}"
        for place, content in written.items()
        for name, secret in driver.secrets.items()
        if secret.encode() in content
    ]
    assert leaks == []


def data_plane_bodies(driver: Driver) -> None:
    """Secrets in tensors and their names, which engines' errors repeat."""
    working = {"X-API-Key": driver.secrets["live key"]}
    for name, secret in list(driver.secrets.items()):
        if name == "password":
            continue  # it looks like any text: an engine tells its sender that it is no number
        tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
        for fault in ({"name": secret}, {"data": [secret, 2, 3]}, {"datatype": secret}):
            body = {"inputs": [{**tensor, **fault}]}
            answer = driver.send("POST", "/v2/models/affine/infer", working, json=body)
            assert answer.status_code == 400
        for rows in ([[secret, 1, 2]], [{secret: 1}], secret):
            answer = driver.send(
                "POST", "/v1/models/affine:predict", working, json={"instances": rows}
            )
            assert answer.status_code == 400


def files(folder: Path) -> Iterator[Path]:
    """What the stack has written, but for the files that are meant to hold a secret."""
    for path in folder.rglob("*"):
        own = path.relative_to(folder).parts
        if path.is_file() and own[0] not in {"admin.token", "secrets"}:
            yield path
