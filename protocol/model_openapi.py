"""A version's own OpenAPI 3.1 document: its paths, its columns, an example, its errors. Pure."""

from typing import Final

from protocol.configuration import ContractDoc, DeprecationDoc, VersionState
from protocol.errors import STATUS
from protocol.manifest import Manifest
from protocol.model_bodies import v1_schemas, v2_schemas
from protocol.model_explaining import explain_schemas
from protocol.model_samples import LANGUAGES, Language, samples
from protocol.model_schema import (
    Json,
    enforced,
    example_row,
    example_tensors,
    has_rows,
    speaks_json,
)

_LABELS: Final[dict[Language, str]] = {
    "curl": "curl", "python": "Python", "javascript": "JavaScript",
}  # fmt: skip
_REFUSALS: Final[dict[int, str]] = {
    400: "The body is malformed or does not fit the model; the message names the place.",
    401: "No credential, or one that is not valid.",
    403: "The credential does not allow this: no subscription, another scope, network or origin.",
    404: "There is no such model or version, or none that the caller may see.",
    406: "`Accept` allows no type that can be answered.",
    410: "The version was retired, or is browned out: `Link` names its successor.",
    413: "The body or its rows exceed a limit.",
    415: "The content type or coding is not taken.",
    422: "A row is outside of the model's data contract; the message names row and column.",
    429: "A limit or quota of the plan is used up: `Retry-After` says for how long.",
    503: "Nothing can answer in time now: `Retry-After` says when to try again.",
    504: "The deadline has passed.",
}
_HEADERS: Final[dict[str, tuple[str, Json]]] = {
    "X-Request-Id": ("What the request is called in logs.", {"type": "string"}),
    "Tollway-Prediction-Id": ("Names this prediction.", {"type": "string"}),
    "Tollway-Version": ("The version that answered.", {"type": "integer"}),
    "Tollway-Variant": (
        "How the version was chosen.", {"enum": ["stable", "canary", "pinned"], "type": "string"},
    ),
    "RateLimit-Policy": ("What the plan allows.", {"type": "string"}),
    "RateLimit": ("How each limit stands.", {"type": "string"}),
    "Retry-After": ("Seconds after which to try again.", {"type": "integer"}),
    "Server-Timing": ("Milliseconds: queue, infer, gateway.", {"type": "string"}),
    "Deprecation": ("Since when the version is deprecated (RFC 9745).", {"type": "string"}),
    "Sunset": ("When the version goes out of service (RFC 8594).", {"type": "string"}),
    "Link": ("Of a version that ends: its successor.", {"type": "string"}),
}  # fmt: skip
_ON_ERRORS: Final = ("X-Request-Id", "Retry-After", "Deprecation", "Sunset", "Link")


def document(
    manifest: Manifest,
    *,
    number: int,
    digest: str,
    state: VersionState,
    url: str,
    named: bool,
    contract: ContractDoc | None = None,
    deprecation: DeprecationDoc | None = None,
) -> Json:
    """The document of version ``number``. With ``named`` its paths name the version, else they are
    those of whichever version the model's rollout leads to. ``url``: where the server is."""
    rules = enforced(contract)
    schemas: Json = {"Error": _error_schema()}
    paths: Json = {}
    version = f"/versions/{number}" if named else ""
    common = {"deprecated": True} if state in {"deprecated", "retired"} else {}
    if has_rows(manifest):
        schemas |= v1_schemas(manifest, contract)
        row = example_row(manifest, rules)
        asked: dict[str, object] = {"instances": [_instance(manifest, row)]}
        path = f"/v1/models/{manifest.model}{version}:predict"
        paths[path] = {"post": common | _predict(asked, samples(url + path, asked, "predictions"))}
        if manifest.background:
            schemas |= explain_schemas()
            explained = f"/v1/models/{manifest.model}{version}:explain"
            paths[explained] = {"post": common | _explain(asked)}
    path = f"/v2/models/{manifest.model}{version}/infer"
    schemas |= v2_schemas(manifest)
    tensors: dict[str, object] = {"inputs": example_tensors(manifest, rules)}
    paths[path] = {
        "post": common
        | _infer(
            tensors,
            samples(url + path, tensors, "outputs") if speaks_json(manifest) else {},
        )
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": manifest.model,
            "version": str(number),
            "description": _about(manifest, state, deprecation),
            "x-digest": digest,
            "x-state": state,
            "x-task": manifest.task,
        },
        "servers": [{"url": url}],
        "security": [{"apiKey": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {f"E{status}": _refusal(status) for status in _REFUSALS},
            "headers": {
                name: {"description": text, "schema": schema}
                for name, (text, schema) in _HEADERS.items()
            },
            "parameters": _parameters(),
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, or a JSON Web Token of a known issuer.",
                },
            },
        },
    }


def samples_of(
    manifest: Manifest, *, number: int, url: str, named: bool, contract: ContractDoc | None = None
) -> dict[Language, str]:
    """The samples of the protocol that suits the version best: V1 where it can be asked by row.
    None for a version whose tensors have no JSON form."""
    version = f"/versions/{number}" if named else ""
    if has_rows(manifest):
        path = f"{url}/v1/models/{manifest.model}{version}:predict"
        return samples(path, asked_of(manifest, contract), "predictions")
    if not speaks_json(manifest):
        return {}
    path = f"{url}/v2/models/{manifest.model}{version}/infer"
    return samples(path, asked_of(manifest, contract), "outputs")


def asked_of(manifest: Manifest, contract: ContractDoc | None = None) -> Json:
    """The body of an example request: rows for V1 where it can be asked by row, else V2's
    tensors."""
    rules = enforced(contract)
    if has_rows(manifest):
        return {"instances": [_instance(manifest, example_row(manifest, rules))]}
    return {"inputs": example_tensors(manifest, rules)}


def _instance(manifest: Manifest, row: Json) -> object:
    """A row as V1 takes it: an object, but the bare value where one input without columns is all
    that there is."""
    needed = [tensor for tensor in manifest.inputs if not tensor.optional]
    return next(iter(row.values())) if not manifest.columns and len(needed) == 1 else row


def _about(manifest: Manifest, state: str, deprecation: DeprecationDoc | None) -> str:
    parts = [manifest.description] if manifest.description else []
    parts.append(f"A {manifest.task} model." if manifest.task != "unknown" else "A model.")
    if deprecation is not None:
        successor = deprecation.successor
        instead = f"; version {successor} succeeds it" if successor is not None else ""
        note = f". {deprecation.note}" if deprecation.note else ""
        parts.append(f"This version is {state}{instead}{note}")
    return "\n\n".join(parts)


def _predict(asked: Json, code: dict[Language, str]) -> Json:
    return _operation("predict", "Predict rows", "PredictRequest", "PredictResponse", asked, code)


def _explain(asked: Json) -> Json:
    operation = _operation(
        "explain", "Explain predictions", "ExplainRequest", "ExplainResponse", asked, {}
    )
    operation["description"] = "Contributions of each column to each row's prediction."
    return operation


def _infer(asked: Json, code: dict[Language, str]) -> Json:
    operation = _operation("infer", "Infer tensors", "InferRequest", "InferResponse", asked, code)
    body = operation["requestBody"]
    assert isinstance(body, dict)
    body["content"]["application/octet-stream"] = {
        "schema": {
            "description": "Binary tensors; Inference-Header-Content-Length divides JSON from them."
        }
    }
    return operation


def _operation(
    name: str, summary: str, request: str, response: str, asked: Json, code: dict[Language, str]
) -> Json:
    schema: Json = {"$ref": f"#/components/schemas/{response}"}
    answered = {
        "description": "Answered.",
        "headers": {
            header: {"$ref": f"#/components/headers/{header}"}
            for header in _HEADERS
            if header != "Retry-After"
        },
        "content": {"application/json": {"schema": schema}},
    }
    refused = {str(status): {"$ref": f"#/components/responses/E{status}"} for status in _REFUSALS}
    operation: Json = {
        "operationId": name,
        "summary": summary,
        "parameters": [
            {"$ref": f"#/components/parameters/{parameter}"} for parameter in _parameters()
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{request}"},
                    "example": asked,
                }
            },
        },
        "responses": {"200": answered, **refused},
    }
    if code:
        operation["x-codeSamples"] = [
            {"lang": language, "label": _LABELS[language], "source": code[language]}
            for language in LANGUAGES
        ]
    return operation


def _parameters() -> Json:
    def header(name: str, text: str, schema: Json) -> Json:
        return {"in": "header", "name": name, "description": text, "schema": schema}

    return {
        "Deadline": header(
            "Tollway-Deadline-Ms", "Milliseconds allowed.", {"type": "integer", "minimum": 1}
        ),
        "RequestId": header(
            "X-Request-Id", "What you call the request.", {"type": "string", "maxLength": 128}
        ),
    }


def _error_schema() -> Json:
    return {
        "type": "object",
        "properties": {"error": {"type": "string", "description": "What is wrong, and where."}},
        "required": ["error"],
    }


def _refusal(status: int) -> Json:
    assert status in STATUS.values()
    return {
        "description": _REFUSALS[status],
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in _ON_ERRORS},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
