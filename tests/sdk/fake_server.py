"""A server in memory behind ``httpx.MockTransport``: as much of the API as the client uses, and
faults on demand."""

import hashlib
import json
import re
from collections.abc import Callable

import httpx
import numpy as np

from tests.sdk.fake_access import FakeAccess, Json, problem
from tollway.tensors import HEADER_LENGTH

TOKEN = "tw_admin_secret"
ORDER = ["registered", "validated", "approved", "published", "deprecated", "retired"]


class FakeServer(FakeAccess):
    """State of the server, and what it has been asked."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[httpx.Request] = []
        self.models: dict[str, Json] = {}
        self.versions: dict[tuple[str, int], Json] = {}
        self.history: dict[tuple[str, str], list[Json]] = {}
        self.rollouts: dict[str, Json] = {}
        self.pins: dict[tuple[str, str], Json] = {}
        self.reasons: list[str] = []
        """What was given as the reasons of changes."""
        self.blobs: dict[str, bytes] = {}
        self.uploads: dict[str, Json] = {}
        self.faults: list[tuple[str, str, Callable[[httpx.Request], httpx.Response]]] = []
        self.engine_error = ""
        self.looks_until_ready = 0
        self.looks_until_key_known = 0
        self.infer: Callable[[Json, dict[str, np.ndarray], int], dict[str, np.ndarray]] | None
        self.infer = None

    def fail(
        self, method: str, path: str, answer: Callable[[httpx.Request], httpx.Response]
    ) -> None:
        """Have ``answer`` deal with the next request of ``method`` to a path matching ``path``."""
        self.faults.append((method, path, answer))

    def lose_answer(self, method: str, path: str) -> None:
        """Handle the next such request, but break the connection before it is answered."""

        def answer(request: httpx.Request) -> httpx.Response:
            self._route(request)
            raise httpx.ReadError("connection reset", request=request)

        self.fail(method, path, answer)

    def asked(self, method: str, path: str) -> list[httpx.Request]:
        """The requests of ``method`` whose path matches ``path``."""
        return [r for r in self.requests if r.method == method and re.fullmatch(path, r.url.path)]

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.requests.append(request)
        for fault in self.faults:
            if request.method == fault[0] and re.fullmatch(fault[1], request.url.path):
                self.faults.remove(fault)
                return fault[2](request)
        return self._route(request)

    def add_version(self, model: str, manifest: Json, state: str = "published") -> int:
        """Register a version without an upload, loaded and ready."""
        self.models.setdefault(model, {"name": model, "aliases": {}})
        number = 1 + sum(1 for key in self.versions if key[0] == model)
        self.versions[model, number] = {
            "model": model,
            "number": number,
            "digest": "sha256:" + f"{number:064x}",
            "state": state,
            "loaded": True,
            "manifest": {
                "model": model,
                "artifact": {"digest": "sha256:" + "0" * 64, "size": 1},
                "inputs": [],
                "outputs": [],
                **manifest,
            },
            "serving": {"state": "ready", "engines": [], "error": ""},
            "a_field_of_the_future": [1, 2],
        }
        return number

    def move(self, model: str, alias: str, number: int) -> None:
        """Point an alias at a version, and remember that."""
        moves = self.history.setdefault((model, alias), [])
        previous = self.models[model]["aliases"].get(alias)
        moves.append({"version": number, "previous": previous, "actor": "a", "at": "now"})
        self.models[model]["aliases"][alias] = number

    def _route(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        for pattern, name in _ROUTES:
            if match := re.fullmatch(pattern, path):
                if path.startswith("/api/") and (
                    request.headers.get("Authorization") != f"Bearer {TOKEN}"
                ):
                    return problem(401, "unauthenticated", "no such token")
                handler: Callable[..., httpx.Response] = getattr(self, f"_{name}")
                return handler(request, *match.groups())
        return problem(404, "not_found", f"no route {path}")

    def _models(self, request: httpx.Request) -> httpx.Response:
        names = sorted(self.models)
        after = request.url.params.get("after", "")
        names = [name for name in names if name > after]
        page, rest = names[:2], names[2:]
        return httpx.Response(
            200,
            json={"items": [self.models[n] for n in page], "next": page[-1] if rest else None},
        )

    def _model(self, request: httpx.Request, name: str) -> httpx.Response:
        if request.method == "PUT":
            self.models.setdefault(name, {"name": name, "aliases": {}})
            self.models[name].update(json.loads(request.content))
        if name not in self.models:
            return problem(404, "model_not_found", f"there is no model '{name}'")
        return httpx.Response(200, json=self.models[name])

    def _versions(self, request: httpx.Request, name: str) -> httpx.Response:
        if request.method == "POST":
            body = json.loads(request.content)
            if "remote" in body:
                body["artifact"] = None
                body["remote"]["binary"] = bool(body["remote"]["binary"])
            else:
                assert body["artifact"]["digest"] in self.blobs
            number = self.add_version(name, body, "registered")
            if self.looks_until_ready or self.engine_error:
                self.versions[name, number]["serving"]["state"] = "loading"
            return httpx.Response(201, json=self.versions[name, number])
        found = [v for key, v in sorted(self.versions.items()) if key[0] == name]
        return httpx.Response(200, json={"items": found, "next": None})

    def _version(self, request: httpx.Request, name: str, number: str) -> httpx.Response:
        version = self.versions.get((name, int(number)))
        if version is None:
            return problem(404, "version_not_found", "no such version")
        if request.method == "PATCH":
            version["loaded"] = json.loads(request.content)["loaded"]
            version["serving"]["state"] = "ready" if version["loaded"] else "none"
        elif version["serving"]["state"] == "loading":
            self.looks_until_ready -= 1
            if self.engine_error:
                version["serving"] = {"state": "failed", "engines": [], "error": self.engine_error}
            elif self.looks_until_ready <= 0:
                version["serving"]["state"] = "ready"
        return httpx.Response(200, json=version)

    def _transitions(self, request: httpx.Request, name: str, number: str) -> httpx.Response:
        version, to = self.versions[name, int(number)], json.loads(request.content)["to"]
        legal = to == "rejected" or ORDER.index(to) == ORDER.index(version["state"]) + 1
        if not legal:
            return problem(409, "illegal_transition", f"{version['state']} cannot become {to}")
        version["state"] = to
        return httpx.Response(200, json=version)

    def _alias(self, request: httpx.Request, name: str, alias: str) -> httpx.Response:
        present = self.models[name]["aliases"].get(alias)
        if request.method == "GET":
            if present is None:
                return problem(404, "not_found", "no such alias")
            return httpx.Response(
                200, json={"version": present}, headers={"ETag": self._etag(name)}
            )
        condition = request.headers.get("If-Match") or request.headers.get("If-None-Match")
        assert condition, "an alias moves by compare-and-swap"
        if condition != ("*" if present is None else self._etag(name)):
            return problem(412, "precondition_failed", "somebody else moved it")
        self.move(name, alias, json.loads(request.content)["version"])
        return httpx.Response(200, json={"version": self.models[name]["aliases"][alias]})

    def _etag(self, name: str) -> str:
        return f'"r{sum(len(m) for key, m in self.history.items() if key[0] == name)}"'

    def _history(self, request: httpx.Request, name: str, alias: str) -> httpx.Response:
        return httpx.Response(200, json={"items": self.history[name, alias], "next": None})

    def _rollout(self, request: httpx.Request, name: str) -> httpx.Response:
        beside = self.rollouts.setdefault(name, {"canary": None, "shadow": []})
        if request.method == "PUT":
            body = json.loads(request.content)
            self.reasons.append(body.pop("reason", ""))
            number = body.pop("stable", None)
            if number is not None:
                if self.versions[name, number]["state"] not in ("published", "deprecated"):
                    return problem(409, "conflict", "not published")
                self.move(name, "stable", number)
            beside.update({key: body[key] for key in ("canary", "shadow") if key in body})
        return self._shown(name)

    def _shown(self, name: str) -> httpx.Response:
        stable = self.models[name]["aliases"].get("stable")
        moves = self.history.get((name, "stable"), [])
        previous = moves[-1]["previous"] if moves else None
        shown = {"stable": stable, "previous": previous, **self.rollouts[name]}
        return httpx.Response(200, json=shown, headers={"ETag": self._etag(name)})

    def _rollback(self, request: httpx.Request, name: str) -> httpx.Response:
        if request.headers["If-Match"] != self._etag(name):
            return problem(412, "precondition_failed", "somebody else moved it")
        self.reasons.append(json.loads(request.content).get("reason", ""))
        moves = self.history[name, "stable"]
        previous = moves.pop()["previous"]
        if previous is None:
            return problem(409, "conflict", f"model '{name}' has no version to go back to")
        self.models[name]["aliases"]["stable"] = previous
        self.rollouts.setdefault(name, {"canary": None, "shadow": []})["canary"] = None
        return self._shown(name)

    def _pins(self, _request: httpx.Request, _what: str, name: str) -> httpx.Response:
        found = [pin for key, pin in sorted(self.pins.items()) if name in key]
        return httpx.Response(200, json={"items": found, "next": None})

    def _pin(self, request: httpx.Request, application: str, model: str) -> httpx.Response:
        key = (application, model)
        if request.method == "DELETE":
            return httpx.Response(204) if self.pins.pop(key, None) else problem(404, "x", "no pin")
        body = json.loads(request.content)
        self.pins[key] = {"application": application, "model": model, "set_by": "publisher", **body}
        return httpx.Response(201, json=self.pins[key])

    def _start_upload(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if body["digest"] in self.blobs:
            return httpx.Response(200, json={**body, "exists": True})
        name = f"u{len(self.uploads)}"
        self.uploads[name] = {**body, "data": b""}
        return httpx.Response(201, json={**body, "id": name, "offset": 0})

    def _upload(self, request: httpx.Request, name: str) -> httpx.Response:
        upload = self.uploads[name]
        have = str(len(upload["data"]))
        if request.headers["Upload-Offset"] != have:
            return httpx.Response(409, json={}, headers={"Upload-Offset": have})
        upload["data"] += request.content
        return httpx.Response(204, headers={"Upload-Offset": str(len(upload["data"]))})

    def _complete(self, request: httpx.Request, name: str) -> httpx.Response:
        if name not in self.uploads:
            return problem(404, "not_found", "no such upload")
        upload = self.uploads.pop(name)
        digest = "sha256:" + hashlib.sha256(upload["data"]).hexdigest()
        if digest != upload["digest"]:
            return problem(422, "digest_mismatch", "the bytes have another digest")
        self.blobs[digest] = upload["data"]
        return httpx.Response(201, json={"digest": digest, "size": len(upload["data"])})

    def _blob(self, request: httpx.Request, digest: str) -> httpx.Response:
        return httpx.Response(200 if digest in self.blobs else 404)

    def _ready(self, request: httpx.Request, name: str) -> httpx.Response:
        found = self._stats(request, name, None)
        if found.is_success:
            version = found.json()["model_stats"][0]["version"]
            return httpx.Response(200, json={"name": name, "version": version, "ready": True})
        return found

    def _stats(self, request: httpx.Request, name: str, version: str | None) -> httpx.Response:
        if "X-API-Key" in request.headers:
            assert "Authorization" not in request.headers
            secrets = {key["secret"] for key in self.keys.values()}
            self.looks_until_key_known -= 1
            known = request.headers["X-API-Key"] in secrets and self.looks_until_key_known < 0
            return httpx.Response(404 if known else 401, json={"error": "no such model"})
        number = int(version or self.models[name]["aliases"].get("stable", 0))
        if (name, number) not in self.versions:
            return httpx.Response(404, json={"error": "no such version"})
        stats = {"name": name, "version": str(number), "engines": [{"batching": True}]}
        return httpx.Response(200, json={"model_stats": [stats]})

    def _infer(self, request: httpx.Request, name: str, version: str | None) -> httpx.Response:
        pinned = version or request.headers.get("Tollway-Version")
        number = int(pinned or self.models[name]["aliases"]["stable"])
        length = int(request.headers[HEADER_LENGTH])
        document = json.loads(request.content[:length])
        arrays, offset = {}, length
        for tensor in document["inputs"]:
            size = tensor["parameters"]["binary_data_size"]
            raw = request.content[offset : offset + size]
            arrays[tensor["name"]] = np.frombuffer(raw, "<f4").reshape(tensor["shape"])
            offset += size
        expected = {t["name"] for t in self.versions[name, number]["manifest"]["inputs"]}
        if set(arrays) != expected:
            return httpx.Response(400, json={"error": f"unknown input, not {sorted(expected)}"})
        assert self.infer is not None
        return binary_answer(self.infer(document, arrays, number), number)


def binary_answer(outputs: dict[str, np.ndarray], version: int) -> httpx.Response:
    """A V2 answer with binary tensors, written independently of the client's own encoder."""
    described, chunks = [], b""
    for name, array in outputs.items():
        if array.dtype == object:
            texts = [str(value).encode() for value in array.ravel()]
            raw = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
            datatype = "BYTES"
        else:
            raw = array.tobytes()
            datatype = {"float32": "FP32", "int64": "INT64"}[str(array.dtype)]
        described.append(
            {
                "name": name,
                "datatype": datatype,
                "shape": list(array.shape),
                "parameters": {"binary_data_size": len(raw)},
            }
        )
        chunks += raw
    header = json.dumps({"model_name": "m", "outputs": described}).encode()
    return httpx.Response(
        200,
        content=header + chunks,
        headers={HEADER_LENGTH: str(len(header)), "Tollway-Version": str(version)},
    )


_M = r"/api/v1/models/([^/]+)"
_ROUTES = [
    (r"/api/v1/models", "models"),
    (_M, "model"),
    (_M + r"/versions", "versions"),
    (_M + r"/versions/(\d+)", "version"),
    (_M + r"/versions/(\d+)/transitions", "transitions"),
    (_M + r"/aliases/([^/]+)", "alias"),
    (_M + r"/aliases/([^/]+)/history", "history"),
    (_M + r"/rollout", "rollout"),
    (_M + r"/rollback", "rollback"),
    (r"/api/v1/(models|applications)/([^/]+)/pins", "pins"),
    (r"/api/v1/applications/([^/]+)/pins/([^/]+)", "pin"),
    (r"/api/v1/blobs/uploads", "start_upload"),
    (r"/api/v1/blobs/uploads/([^/]+)", "upload"),
    (r"/api/v1/blobs/uploads/([^/]+)/complete", "complete"),
    (r"/api/v1/blobs/([^/]+)", "blob"),
    (r"/api/v1/consumers", "consumers"),
    (r"/api/v1/consumers/([^/]+)", "consumer"),
    (r"/api/v1/applications", "applications"),
    (r"/api/v1/applications/([^/]+)", "application"),
    (r"/api/v1/subscriptions", "subscriptions"),
    (r"/api/v1/subscriptions/([^/]+)/([^/]+)", "subscription"),
    (r"/api/v1/subscriptions/([^/]+)/([^/]+)/(approve|refuse)", "decision"),
    (r"/api/v1/plans", "plans"),
    (r"/api/v1/plans/([^/]+)", "plan"),
    (r"/api/v1/keys", "keys"),
    (r"/api/v1/keys/([^/]+)", "key"),
    (r"/api/v1/keys/([^/]+)/rotate", "rotate"),
    (r"/api/v1/keys/([^/]+)/revoke", "revoke"),
    (r"/api/v1/usage", "usage"),
    (r"/api/v1/quotas", "quotas"),
    (r"/api/v1/applications/([^/]+)/statements", "statements"),
    (r"/api/v1/applications/([^/]+)/statements/([^/]+)", "statement"),
    (r"/v2/models/([^/]+)(?:/versions/(\d+))?/stats", "stats"),
    (r"/v2/models/([^/]+)/ready", "ready"),
    (r"/v2/models/([^/]+)(?:/versions/(\d+))?/infer", "infer"),
]
