"""Prints the OpenAPI document: ``python -m control.openapi > docs/reference/openapi.json``."""

import json
import sys

from control.app import openapi_document
from runtime.logs import configure_logs


def main() -> None:
    """Write the document to standard output."""
    configure_logs("control")
    sys.stdout.write(json.dumps(openapi_document(), indent=2) + "\n")


if __name__ == "__main__":
    main()
