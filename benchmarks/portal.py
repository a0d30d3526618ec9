"""What the portal's pages cost in a large installation: ``python -m benchmarks.portal``.

A control with 1,000 models, 10,000 applications and 90 days of usage; every page of
``tests/browser/pages.py``, fetched again and again as the role that looks at it. Then predictions
in an open loop: rounds in which the portal is crawled alternate with rounds in which it is not. The
crawler runs at the lowest priority: it stands for another machine.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import httpx
import msgspec
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.interruption import end_on_sigterm
from benchmarks.judged import RESULTS, Check, Output, conclude
from benchmarks.models import json_body, train_classifier
from benchmarks.open_loop import OpenSpec, Paced, drive
from benchmarks.portal_filling import (
    Size,
    database_of,
    fill_callers,
    fill_directory,
    fill_usage,
)
from benchmarks.portal_pages import Crawl, Reader, Wanted, cpu_ms
from benchmarks.report import make_console
from benchmarks.spec import Exchange
from benchmarks.stand_in import undelayed
from benchmarks.systems import ROOT, Served
from benchmarks.targets import Verdict
from tests.browser.pages import PAGES, Shown
from tests.browser.world import World, build
from tests.e2e.models import affine
from tests.e2e.stack import RunningStack

TARGET_MS: Final = 200.0
TARGET_BYTES: Final = 300_000
TARGET_RATIO: Final = 1.2
MODEL: Final = "breast-cancer"
COPIED: Final = "demand-forecast"
APPLICATION: Final = "bench"
CONNECTIONS: Final = 16
DEADLINE_MS: Final = 10_000
SETTLE_S: Final = 1.0
BUSIEST: Final = (
    Shown("application", "consumer", "/portal/applications/application-000"),
    Shown("keys", "consumer", "/portal/applications/application-000/keys"),
    Shown("usage", "consumer", "/portal/applications/application-000/usage?range=30d"),
    Shown("statements", "consumer", "/portal/applications/application-000/statements"),
    Shown("busy-model", "consumer", "/portal/models/model-00"),
    Shown("all-applications", "admin", "/portal/applications"),
    Shown("own-model", "publisher", "/portal/publish/models/model-00"),
    Shown("own-version", "publisher", "/portal/publish/models/model-00/versions/1"),
    Shown("own-rollout", "publisher", "/portal/publish/models/model-00/rollout"),
    Shown("canary-callers", "publisher", f"/portal/publish/models/{COPIED}/rollout/callers.json"),
    Shown("published", "publisher", "/portal/publish"),
    Shown("all-published", "admin", "/portal/publish"),
    Shown("waiting", "admin", "/portal/approvals"),
    Shown("operate", "admin", "/portal/operate"),
)
"""Beside the pages of the browser tests: of what has the most usage, and the longest lists. Every
application calls the model :data:`COPIED`, of which a canary is tried."""
SETTINGS: Final = {"TOLLWAY_SIGN_UP": "true", "TOLLWAY_LOG_LEVEL": "warning"}


class PageCost(msgspec.Struct, frozen=True, kw_only=True):
    """One page as one role sees it."""

    page: str
    role: str
    path: str
    status: int
    cpu_ms: float
    """Median of control's CPU time."""
    worst_ms: float
    weight: int
    """Bytes on the wire, style sheets and scripts included."""


class Side(Paced, kw_only=True):
    """The rounds in which the portal is crawled, or is not."""

    late_ms: float = 0.0
    """How far the generator fell behind its own schedule at most."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run stores."""

    schema: str = "tollway.portal-benchmark/1"
    machine: machine.Machine
    size: Size
    rate: float
    pages: list[PageCost]
    alone: Side
    crawled: Side
    verdicts: list[Verdict]


class Stand:
    """The installation, running."""

    def __init__(self, world: World, stack: RunningStack, key: str) -> None:
        self._stack = stack
        self.url = world.url
        [self.control] = stack.pids("control")
        assert stack.process is not None
        self._served = Served(
            system="tollway",
            pid=stack.process.pid,
            port=int(self.url.rsplit(":", 1)[1]),
            path=f"/v2/models/{MODEL}/infer",
            api_key=key,
        )
        self._exchanges = [
            Exchange(body=json_body("input", row)) for row in train_classifier().X[:64]
        ]
        self.pages = tuple(
            Wanted(
                one.name,
                one.role or "",
                one.path,
                world.secrets[one.role] if one.role is not None else "",
            )
            for one in (*PAGES, *BUSIEST)
        )

    def costs(self, repeats: int, console: Console) -> list[PageCost]:
        """Every page: once unmeasured, then so many times."""
        found = []
        with contextlib.closing(Reader(self.url)) as reader, console.status("pages") as status:
            for page in self.pages:
                status.update(f"{page.role} {page.path}")
                first = reader.get(page)
                spent = []
                for _ in range(repeats):
                    before = cpu_ms(self.control)
                    reader.get(page)
                    spent.append(cpu_ms(self.control) - before)
                found.append(
                    PageCost(
                        page=page.name,
                        role=page.role,
                        path=page.path,
                        status=first.status_code,
                        cpu_ms=round(median(spent), 1),
                        worst_ms=round(max(spent), 1),
                        weight=reader.weight(first),
                    )
                )
        return found

    def predict(self, rate: float, seconds: float, side: Side) -> None:
        """A round of predictions."""
        spec = OpenSpec(
            rate=rate, seconds=seconds, deadline_ms=DEADLINE_MS, connections=CONNECTIONS
        )
        with undelayed():
            found = uvloop.run(drive(self._served, self._exchanges, spec))
        side.add(found)
        side.late_ms = max(side.late_ms, found.late_s * 1000)

    @contextlib.contextmanager
    def crawled(self) -> Iterator[None]:
        """Have the portal crawled meanwhile."""
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.portal_pages"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
        ) as crawler:
            assert crawler.stdin is not None
            try:
                crawler.stdin.write(msgspec.json.encode(Crawl(self.url, self.pages)) + b"\n")
                crawler.stdin.flush()
                time.sleep(2 * SETTLE_S)
                if crawler.poll() is not None:
                    raise RuntimeError("the crawler has ended")
                yield
            finally:
                crawler.terminate()


@contextlib.contextmanager
def stand(folder: Path, size: Size, console: Console) -> Iterator[Stand]:
    """Fill an installation, and run it."""
    data, log = folder / "data", folder / "tollway.log"
    begin = time.monotonic()
    with contextlib.closing(database_of(data)) as database, console.status("usage") as status:
        fill_usage(database, size, status.update)
    console.print(f"usage made in {time.monotonic() - begin:.0f} s")
    with RunningStack(data, log=log, settings=SETTINGS) as stack:
        world = build(stack)
        trained = train_classifier()
        with contextlib.closing(stack.client()) as client:
            client.deploy(trained.estimator, name=MODEL, X=trained.X, y=trained.y)
            key = client.create_key(APPLICATION, MODEL, plan="unlimited").secret
            canary = affine()
            canary.doc_string = "another version"
            client.deploy(canary, name=COPIED)
            client.create_application(COPIED, consumer="robin-consumer")
            client.create_key(COPIED, COPIED)
        with contextlib.closing(stack.api()) as api:
            tried = {"stable": 1, "canary": {"version": 2, "percent": 10}}
            api.put(f"/api/v1/models/{COPIED}/rollout", json=tried).raise_for_status()
    begin = time.monotonic()
    with contextlib.closing(database_of(data)) as database, console.status("copies"):
        fill_directory(
            database, size, model=COPIED, application=COPIED, publisher="robin-publisher"
        )
        fill_callers(database, size, COPIED)
    console.print(f"models and applications copied in {time.monotonic() - begin:.0f} s")
    with RunningStack(data, log=log, settings=SETTINGS) as stack:
        world.stack = stack
        yield Stand(world, stack, key)


def judge(pages: list[PageCost], alone: Side, crawled: Side) -> list[Verdict]:
    """The targets against what was measured."""
    slowest = max(pages, key=lambda one: one.cpu_ms)
    heaviest = max(pages, key=lambda one: one.weight)
    ratio = median(crawled.p99_ms) / median(alone.p99_ms)
    return [
        Verdict(
            target=f"every page takes less than {TARGET_MS:.0f} ms of the server",
            measured=f"{slowest.cpu_ms:.0f} ms at most ({slowest.role} {slowest.path}; median of "
            f"all {median(one.cpu_ms for one in pages):.0f} ms)",
            passed=slowest.cpu_ms < TARGET_MS,
        ),
        Verdict(
            target=f"no page loads more than {TARGET_BYTES / 1000:.0f} kB, with its assets",
            measured=f"{heaviest.weight / 1000:.0f} kB at most ({heaviest.role} {heaviest.path})",
            passed=heaviest.weight <= TARGET_BYTES,
        ),
        Verdict(
            target=f"p99 of predictions while the portal is crawled below {TARGET_RATIO:g} times "
            "that without",
            measured=f"{ratio:.2f} times ({median(crawled.p99_ms):.2f} over "
            f"{median(alone.p99_ms):.2f} ms)",
            passed=ratio < TARGET_RATIO,
        ),
        Verdict(
            target="no prediction and no page failed",
            measured=f"{alone.failed + crawled.failed} predictions, "
            f"{sum(one.status >= httpx.codes.INTERNAL_SERVER_ERROR for one in pages)} pages",
            passed=alone.failed + crawled.failed == 0
            and all(one.status < httpx.codes.INTERNAL_SERVER_ERROR for one in pages),
        ),
    ]


def show(console: Console, pages: list[PageCost]) -> None:
    """Print the pages, the slowest first."""
    table = Table(title="Pages by CPU time of control")
    for name in ("role", "path"):
        table.add_column(name)
    for name in ("status", "ms", "worst", "kB"):
        table.add_column(name, justify="right")
    for one in sorted(pages, key=lambda one: -one.cpu_ms):
        table.add_row(
            one.role or "-",
            one.path,
            str(one.status),
            f"{one.cpu_ms:.0f}",
            f"{one.worst_ms:.0f}",
            f"{one.weight / 1000:.0f}",
        )
    console.print(table)


def main(
    *,
    models: Annotated[int, typer.Option(min=10)] = 1_000,
    applications: Annotated[int, typer.Option(min=10)] = 10_000,
    requests: Annotated[int, typer.Option(min=1000, help="In the usage.")] = 3_000_000,
    days: Annotated[int, typer.Option(min=1, max=112, help="Of usage.")] = 90,
    repeats: Annotated[int, typer.Option(min=1, help="Fetches of a page.")] = 9,
    rate: Annotated[float, typer.Option(min=1, help="Predictions a second.")] = 100.0,
    seconds: Annotated[float, typer.Option(min=1, max=60, help="Of a round.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each.")] = 6,
    output: Output = RESULTS,
    check: Check = False,
) -> None:
    """Measure the portal's pages and what crawling them costs predictions; store the result."""
    end_on_sigterm()
    console = make_console()
    conditions = machine.describe()
    size = Size(models=models, applications=applications, requests=requests, days=days)
    alone, crawled = Side(), Side()
    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tollway-bench-")))
        standing = cleanup.enter_context(stand(folder, size, console))
        pages = standing.costs(repeats, console)
        show(console, pages)
        standing.predict(rate, seconds, Side())  # engines and caches are warm
        for number in range(rounds):
            # The order changes from round to round: neither is always the first.
            for on in (False, True) if number % 2 else (True, False):
                with standing.crawled() if on else contextlib.nullcontext():
                    standing.predict(rate, seconds, crawled if on else alone)
                time.sleep(SETTLE_S)
    report = Report(
        machine=conditions,
        size=size,
        rate=rate,
        pages=pages,
        alone=alone,
        crawled=crawled,
        verdicts=judge(pages, alone, crawled),
    )
    path = machine.result_path(output, conditions, "portal")
    met = conclude(console, path, report, report.verdicts)
    if check and not met:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
