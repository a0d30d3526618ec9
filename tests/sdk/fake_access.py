"""The part of the server in memory that knows who may call: consumers, applications, plans, keys,
and what they have used."""

import json
from typing import Any

import httpx

Json = dict[str, Any]


class FakeAccess:
    """State of that part, and its answers."""

    def __init__(self) -> None:
        self.consumers: dict[str, Json] = {}
        self.applications: dict[str, Json] = {}
        self.plans: dict[str, Json] = {}
        self.requests_of_plans: list[str] = []
        """One entry for each change of a plan."""
        self.subscriptions: dict[tuple[str, str], Json] = {}
        self.keys: dict[str, Json] = {}

    def _consumers(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"items": list(self.consumers.values()), "next": None})

    def _consumer(self, request: httpx.Request, name: str) -> httpx.Response:
        if request.method == "DELETE":
            self.consumers.pop(name)
            return httpx.Response(204)
        body = json.loads(request.content or b"{}")
        self.consumers[name] = {"name": name, "title": "", **body}
        return httpx.Response(201, json=self.consumers[name])

    def _applications(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"items": list(self.applications.values()), "next": None})

    def _application(self, request: httpx.Request, name: str) -> httpx.Response:
        if request.method == "PUT":
            body = json.loads(request.content)
            self.applications[name] = {"name": name, "consumer": "default", "title": "", **body}
        if request.method == "DELETE":
            self.applications.pop(name)
            return httpx.Response(204)
        if name not in self.applications:
            return problem(404, "not_found", "no such application")
        return httpx.Response(200, json=self.applications[name])

    def _subscriptions(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"items": list(self.subscriptions.values()), "next": None})

    def _subscription(self, request: httpx.Request, app: str, model: str) -> httpx.Response:
        if request.method == "PUT":
            plan = json.loads(request.content)["plan"]
            self.subscriptions[app, model] = {"application": app, "model": model, "plan": plan}
        if request.method == "DELETE":
            self.subscriptions.pop((app, model))
            return httpx.Response(204)
        if (app, model) not in self.subscriptions:
            return problem(404, "not_found", "no such subscription")
        return httpx.Response(200, json=self.subscriptions[app, model])

    def _decision(
        self, request: httpx.Request, app: str, model: str, decision: str
    ) -> httpx.Response:
        found = self.subscriptions[app, model]
        found["state"] = "active" if decision == "approve" else "refused"
        found["reason"] = json.loads(request.content)["reason"]
        return httpx.Response(200, json=found)

    def _plans(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"items": list(self.plans.values()), "next": None})

    def _plan(self, request: httpx.Request, name: str) -> httpx.Response:
        present = self.plans.get(name)
        if request.method == "PUT":
            condition = request.headers.get("If-Match") or request.headers.get("If-None-Match")
            if condition != ("*" if present is None else f'"{len(self.requests_of_plans)}"'):
                return problem(412, "precondition_failed", "somebody else changed it")
            self.requests_of_plans.append(name)
            self.plans[name] = {"name": name, **json.loads(request.content)}
        elif present is None:
            return problem(404, "not_found", f"there is no plan '{name}'")
        elif request.method == "DELETE":
            self.plans.pop(name)
            return httpx.Response(204)
        tag = f'"{len(self.requests_of_plans)}"'
        return httpx.Response(200, json=self.plans[name], headers={"ETag": tag})

    def _key(self, request: httpx.Request, key: str) -> httpx.Response:
        assert request.method == "PATCH"
        self.keys[key].update(json.loads(request.content))
        self.keys[key]["networks"] = self.keys[key].get("networks") or []
        shown = {k: v for k, v in self.keys[key].items() if k != "secret"}
        return httpx.Response(200, json=shown)

    def _rotate(self, request: httpx.Request, key: str) -> httpx.Response:
        overlap_s = json.loads(request.content)["overlap_s"]
        earlier = {"generation": 1, "prefix": "tw_live_abcd", "ends_at": "2026-01-01T00:00:00Z"}
        self.keys[key].update(
            secret=f"tw_live_new{key}", generation=2, overlaps=[earlier] if overlap_s else []
        )
        return httpx.Response(200, json=self.keys[key])

    def _keys(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            shown = [{k: v for k, v in key.items() if k != "secret"} for key in self.keys.values()]
            return httpx.Response(200, json={"items": shown, "next": None})
        body = json.loads(request.content)
        number = len(self.keys) + 1
        key = {"id": f"k{number}", "prefix": "tw_live_abcd", "secret": f"tw_live_abcd{number}"}
        self.keys[f"k{number}"] = {**key, **body}
        return httpx.Response(201, json=self.keys[f"k{number}"])

    def _revoke(self, request: httpx.Request, key: str) -> httpx.Response:
        self.keys[key]["revoked_at"] = "2026-01-01T00:00:00Z"
        return httpx.Response(200, json=self.keys[key])

    def _quotas(self, request: httpx.Request) -> httpx.Response:
        names = ("application", "model", "plan", "unit", "period", "resets_at")
        row = {**dict.fromkeys(names, "x"), "limit": 10, "used": 3, "left": 7}
        return httpx.Response(200, json={"items": [row], "next": None})

    def _statement(self, request: httpx.Request, application: str, month: str) -> httpx.Response:
        if request.url.params.get("format") == "csv":
            return httpx.Response(200, text="a,b\n1,2\n")
        names = ("state", "start", "end")
        found = {**dict.fromkeys(names, "x"), "lines": [], "late": [], "totals": []}
        named = {"id": f"{application}/{month}", "application": application, "month": month}
        return httpx.Response(200, json={**found, **named})

    def _statements(self, request: httpx.Request, application: str) -> httpx.Response:
        """Two pages of months, the newest first."""
        del application
        first = {"items": ["2027-02"], "next": "2027-02"}
        last = {"items": ["2027-01"], "next": None}
        return httpx.Response(200, json=last if "after" in request.url.params else first)

    def _usage(self, request: httpx.Request) -> httpx.Response:
        if request.url.params.get("format") == "csv":
            return httpx.Response(200, text="a,b\n1,2\n")
        row = {"model": "m", "requests": 3, "rows": 4, "errors": 0, "p50_ms": 0.5, "p99_ms": 1.0}
        return httpx.Response(200, json={"items": [row], "next": None})


def problem(status: int, code: str, detail: str) -> httpx.Response:
    """A problem document, as control answers."""
    body = {"type": f"urn:tollway:error:{code}", "title": "x", "status": status}
    return httpx.Response(
        status, json={**body, "detail": detail, "code": code}, headers={"X-Request-Id": "req-1"}
    )
