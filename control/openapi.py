"""Prints the OpenAPI document: ``python -m control.openapi > docs/reference/openapi.json``."""

import json
import sys
import tempfile
from pathlib import Path

from control.app import create_app, openapi_document
from control.settings import ControlSettings
from runtime.logs import configure_logs


def main() -> None:
    """Build control on an empty database and write its document to standard output."""
    configure_logs("control")
    with tempfile.TemporaryDirectory() as folder:
        settings = ControlSettings(data_dir=Path(folder), database_url="", blob_store="")
        app = create_app(settings)
        document = openapi_document(app)
        app.state.services.database.close()
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
