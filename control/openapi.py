"""Writes the management API's description: ``python -m control.openapi > control/openapi.json``."""

import json
import sys
from typing import Any, Final

from control.app import described
from control.routes_conventions import ProblemBody
from runtime.logs import configure_logs

TITLE: Final = "Tollway management API"
SUMMARY: Final = "Models, versions, consumers, keys, subscriptions and usage."


def document() -> dict[str, Any]:
    """The OpenAPI document, with errors as they are really answered."""
    made = described(TITLE, SUMMARY)
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["ProblemBody"] = ProblemBody.model_json_schema(
        ref_template="#/components/schemas/{model}"
    )
    # FastAPI documents its own form of a 422, which this application never answers with.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    components["securitySchemes"] = {
        "management": {
            "type": "http",
            "scheme": "bearer",
            "description": "A management token: the content of `admin.token`.",
        }
    }
    made["security"] = [{"management": []}]
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    for path in made.get("paths", {}).values():
        for operation in path.values():
            refused = operation.get("responses", {}).get("422", {})
            if "application/json" in refused.get("content", {}):
                refused["description"] = "A value is not acceptable; `errors` names the fields."
                refused["content"] = problem
    return made


def main() -> None:
    """Write the document to standard output."""
    configure_logs("control")
    sys.stdout.write(json.dumps(document(), indent=2) + "\n")


if __name__ == "__main__":
    main()
