"""``python -m benchmarks.catalog``: what a large configuration costs a gateway.

Starts ``tollwayd gateway`` from a disk copy with 100,000 keys and 1,000 models, and from one with
few, without control. The start ends when a call with one of the keys is answered. Then takes calls
through all steps before the body (identify, accept, route, authorise, admit) in this process.
"""

import asyncio
import gc
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
import psutil
import typer
from rich.table import Table

from benchmarks import machine
from benchmarks.configuration import Configuration
from benchmarks.interruption import end_on_sigterm
from benchmarks.machine import Machine
from benchmarks.processes import free_port, started, wait_until
from benchmarks.report import make_console, store
from benchmarks.systems import ROOT
from gateway.app import Gateway, GatewaySecrets
from gateway.settings import GatewaySettings
from policies.base import Call

START_TARGET_S = 5.0
GIVE_UP_S = 120.0
REPEATS = 5
CALLS = 20_000
FEW = 100
REVOCATIONS = 100


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one configuration costs."""

    keys: int
    models: int
    documents: int
    journal_mb: float
    start_s: float
    """From the process' start to its first answer to a key."""
    start_cpu_s: float
    rss_mb: float
    admit_us: float
    """CPU time of all steps before the body, for 100 keys in turn that were verified before; the
    best of several rounds."""
    spread_admit_us: float
    """The same for 20,000 keys at random: what the processor's caches do not hold any more."""
    first_admit_us: float
    """The same when each key is seen for the first time."""
    revoke_us: float
    """To apply a revocation and admit another key after it."""


class CatalogReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run stores."""

    schema: str = "tollway.catalog/1"
    machine: Machine
    costs: list[Cost]


def main(
    keys: Annotated[int, typer.Option(min=REVOCATIONS * 2)] = 100_000,
    models: Annotated[int, typer.Option(min=1)] = 1_000,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = ROOT
    / "benchmarks"
    / "results",
    check: Annotated[bool, typer.Option(help="Fail when the start takes 5 s or more.")] = False,
) -> None:
    """Measure a gateway's start, memory and look-ups with a small and a large configuration."""
    end_on_sigterm()
    console = make_console()
    conditions = machine.describe()
    costs = []
    for sizes in ((REVOCATIONS * 2, 10), (keys, models)):
        with console.status(f"{sizes[0]:,} keys"), _folder() as folder:
            costs.append(_measure(folder, *sizes))
    report = CatalogReport(machine=conditions, costs=costs)
    path = machine.result_path(output, conditions, "catalog")
    store(path, report)
    table = Table(title=f"{conditions.cpu}, {conditions.cores} cores, commit {conditions.commit}")
    for name in Cost.__struct_fields__:
        table.add_column(name.replace("_", " "), justify="right")
    for cost in costs:
        table.add_row(*(f"{value:,}" for value in msgspec.structs.astuple(cost)))
    console.print(table)
    console.print(f"load average {conditions.load_average[0]:.1f} before; stored in {path.name}")
    sys.exit(1 if check and costs[-1].start_s >= START_TARGET_S else 0)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tollway-") as name:
        folder = Path(name)
        (folder / "gateway").mkdir()
        for secret in ("cluster.token", "key.pepper"):
            (folder / secret).write_text(secrets.token_hex(32))
        yield folder


def _measure(folder: Path, keys: int, models: int) -> Cost:
    journal = folder / "gateway" / "changes.journal"
    pepper = (folder / "key.pepper").read_bytes()
    configuration = Configuration(keys, models, pepper)
    callers, documents = configuration.callers, len(configuration.changes)
    configuration.write(journal)
    (folder / "seal.public.pem").write_text(configuration.seal_public_pem)
    del configuration
    gc.collect()
    start_s, cpu_s, rss_mb = _start(folder, callers[-1])
    admit_us, spread_us, first_us, revoke_us = asyncio.run(_look_up(_settings(folder), callers))
    return Cost(
        keys=keys,
        models=models,
        documents=documents,
        journal_mb=round(journal.stat().st_size / 1e6, 1),
        start_s=round(start_s, 2),
        start_cpu_s=round(cpu_s, 2),
        rss_mb=round(rss_mb, 1),
        admit_us=round(admit_us, 2),
        spread_admit_us=round(spread_us, 2),
        first_admit_us=round(first_us, 2),
        revoke_us=round(revoke_us, 2),
    )


def _settings(folder: Path) -> GatewaySettings:
    return GatewaySettings(
        data_dir=folder,
        control_url=f"unix:{folder}/no-control.sock",
        cluster_token_file=folder / "cluster.token",
        key_pepper_file=folder / "key.pepper",
        seal_public_key_file=folder / "seal.public.pem",
        port=free_port(),
    )


def _start(folder: Path, caller: tuple[bytes, str]) -> tuple[float, float, float]:
    """Seconds, CPU seconds and resident MB of a gateway that has answered its first call."""
    settings = _settings(folder)
    environment = {
        f"TOLLWAY_{name.upper()}": str(value)
        for name, value in settings.model_dump(exclude_unset=True).items()
    }
    credential, model = caller
    log = folder / "gateway.log"

    def answers() -> bool:
        try:
            answer = httpx.post(
                f"http://127.0.0.1:{settings.port}/v2/models/{model}/infer",
                headers={"X-API-Key": credential.decode()},
                content=b"{}",
                timeout=GIVE_UP_S,
                trust_env=False,
            )
        except httpx.TransportError:
            return False
        if answer.status_code != 503:
            raise RuntimeError(f"an unexpected answer: {answer.text}")
        return True

    begun = time.perf_counter()
    command = [sys.executable, "-m", "supervisor.cli", "gateway"]
    with started(command, log, {"PYTHONPATH": str(ROOT), **environment}) as process:
        wait_until(answers, process=process, log=log, timeout_s=GIVE_UP_S)
        took = time.perf_counter() - begun
        running = psutil.Process(process.pid)
        times = running.cpu_times()
        return took, times.user + times.system, running.memory_info().rss / 1e6


async def _look_up(
    settings: GatewaySettings, callers: list[tuple[bytes, str]]
) -> tuple[float, float, float, float]:
    """Microseconds of an admission, of one among many keys, of a key's first, and of a revocation
    with the admission after it."""
    gateway = Gateway(settings, GatewaySecrets.read(settings))
    gateway.follower.load()
    try:
        order = random.Random(1)
        some = order.sample(callers, min(CALLS, len(callers)))
        first = _admit_all(gateway, some)
        again = [order.choice(some) for _ in range(CALLS)]
        few = [order.choice(some[:FEW]) for _ in range(CALLS)]
        best = min(_admit_all(gateway, few) for _ in range(REPEATS))
        spread = min(_admit_all(gateway, again) for _ in range(REPEATS))
        begun = time.thread_time()
        for number in range(REVOCATIONS):
            gateway.catalog.apply([("key", f"key-{number:020x}", None)], False)
            _admit_all(gateway, [callers[-1 - number % REVOCATIONS]])
        revoked = time.thread_time() - begun
    finally:
        async with gateway.running():
            pass  # closes what it holds
    return best * 1e6, spread * 1e6, first * 1e6, revoked / REVOCATIONS * 1e6


def _admit_all(gateway: Gateway, callers: list[tuple[bytes, str]]) -> float:
    """CPU seconds for each."""
    refused: list[BaseException] = []

    def decided(refusal: BaseException | None) -> None:
        if refusal is not None:
            refused.append(refusal)

    admit = gateway.fast_lane.invoker.admit
    begun = time.thread_time()
    for credential, model in callers:
        admit(Call(model=model, credential=credential, client="127.0.0.1"), decided)
    took = time.thread_time() - begun
    if refused:
        raise RuntimeError(f"{len(refused)} calls were refused, the first: {refused[0]}")
    return took / len(callers)


if __name__ == "__main__":
    typer.run(main)
