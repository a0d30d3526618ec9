"""The worker's metrics when an engine misbehaves."""

import asyncio
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from protocol.configuration import EngineDoc
from protocol.frames import BatchStats, EngineStats
from serving.metrics import exposition, scrape


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
            version=SimpleNamespace(model="m", number=1), slots={0: slot}, ups=2, downs=1, wakes=3
        )
        text = await scrape([fleet], b"token")
        server.close()
        await server.wait_closed()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == [
        'tollway_engine_state{model="m",version="1",slot="0",state="ready"} 1',
        'tollway_engines_added_total{model="m",version="1"} 2',
        'tollway_engines_removed_total{model="m",version="1"} 1',
        'tollway_engine_cold_starts_total{model="m",version="1"} 3',
    ]


def test_the_text_is_valid_and_has_tritons_counts() -> None:
    doc = EngineDoc(model="m", version=3, slot=0, address="unix:/e", state="ready")
    stats = EngineStats(
        inference_count=12_345_678_901,
        execution_count=7,
        success_count=6,
        failures={"REJECTED": 2, "BACKEND": 1},
        compute_input_ns=1_500_000_000,
        compute_infer_ns=2_500_000_000,
        compute_output_ns=500_000_000,
        run_ns=2_000_000_000,
        batches={1: BatchStats(count=3), 3: BatchStats(count=2), 2000: BatchStats(count=1)},
    )
    found = {
        (sample.name, sample.labels.get("le") or sample.labels.get("reason")): sample.value
        for family in text_string_to_metric_families(exposition([(doc, stats)]))
        for sample in family.samples
    }
    assert found["tollway_engine_rows_total", None] == 12_345_678_901  # to the last digit
    assert found["tollway_engine_failures_total", "REJECTED"] == 2
    assert found["tollway_engine_failures_total", "OTHER"] == 0
    assert found["tollway_engine_compute_input_seconds_total", None] == 1.5
    assert found["tollway_engine_compute_infer_seconds_total", None] == 2.5
    assert found["tollway_engine_compute_output_seconds_total", None] == 0.5
    assert found["tollway_engine_run_seconds_total", None] == 2.0
    buckets = {le: found["tollway_engine_batch_rows_bucket", le] for le in ("1", "2", "4", "1024")}
    assert buckets == {"1": 3, "2": 3, "4": 5, "1024": 5}
    assert found["tollway_engine_batch_rows_bucket", "+Inf"] == 7
    assert found["tollway_engine_batch_rows_count", None] == 7
