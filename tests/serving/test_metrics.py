"""The worker's metrics when an engine misbehaves."""

import asyncio
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from protocol.configuration import EngineDoc
from serving.metrics import scrape


async def test_an_engine_that_speaks_nonsense_has_only_its_state() -> None:
    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\xff" * 64)
        writer.close()

    with tempfile.TemporaryDirectory(prefix="tw") as folder:
        address = f"unix:{Path(folder) / 'e.sock'}"
        server = await asyncio.start_unix_server(connected, address.removeprefix("unix:"))
        doc = EngineDoc(model="m", version=1, slot=0, address=address, state="ready")
        slot: Any = SimpleNamespace(doc=doc, address=address)
        fleet: Any = SimpleNamespace(
            version=SimpleNamespace(model="m", number=1), slots={0: slot}, ups=2, downs=1
        )
        text = await scrape([fleet], b"token")
        server.close()
        await server.wait_closed()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == [
        'tollway_engine_state{model="m",version="1",slot="0",state="ready"} 1',
        'tollway_engines_added_total{model="m",version="1"} 2',
        'tollway_engines_removed_total{model="m",version="1"} 1',
    ]
