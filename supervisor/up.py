"""The embedded stack: control, workers and gateway on this machine, kept running."""

import asyncio
import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import httpx

from runtime.files import secret_file
from runtime.machine import cores
from runtime.process import Lifeline
from runtime.server import listen
from runtime.signatures import make_key_pair
from supervisor.child import Child
from supervisor.data_directory import open_data_directory
from supervisor.settings import StackSettings

POLL_S = 0.05
SPARE_S = 1.5
"""What a role needs beyond the time it gives its requests."""


class Stack:
    """The processes of one embedded stack."""

    def __init__(self, settings: StackSettings) -> None:
        """Opens the data directory and the port. Raises :class:`StartError`."""
        self._settings = settings
        self._lock = open_data_directory(settings.data)
        self._socket = listen(settings.host, settings.port)
        self.port: int = self._socket.getsockname()[1]
        self._run_dir = Path(tempfile.mkdtemp(prefix="tollway-"))
        self._lifeline = Lifeline()
        data = settings.data.resolve()
        secrets = data / "secrets"
        for name in ("cluster.token", "key.pepper"):
            secret_file(secrets / name)
        seal_key, seal_public = secrets / "seal.key", secrets / "seal.public.pem"
        make_key_pair(seal_key, seal_public)
        self._common = {
            **os.environ,
            "TOLLWAY_DATA_DIR": str(data),
            "TOLLWAY_LOG_LEVEL": settings.log_level,
            "TOLLWAY_CLUSTER_TOKEN_FILE": str(secrets / "cluster.token"),
            "TOLLWAY_KEY_PEPPER_FILE": str(secrets / "key.pepper"),
            "TOLLWAY_SEAL_KEY_FILE": str(seal_key),
            "TOLLWAY_SEAL_PUBLIC_KEY_FILE": str(seal_public),
            "TOLLWAY_CONTROL_URL": f"unix:{self._run_dir}/control.sock",
        }
        self.control = self._child("control", "control.main", self._control_settings())
        self.workers = [
            self._child(f"worker-{n}", "serving.main", self._worker_settings(n))
            for n in range(1, settings.workers + 1)
        ]
        self.gateway = self._child(
            "gateway",
            "gateway.main",
            {
                "TOLLWAY_LISTEN_FD": str(self._socket.fileno()),
                "TOLLWAY_SHUTDOWN_GRACE_S": str(settings.stop_gateway_s - SPARE_S),
            },
            self._socket.fileno(),
        )

    @property
    def _scheme(self) -> str:
        """The gateway speaks TLS when this process's environment, and so its own, says so."""
        return "https" if os.environ.get("TOLLWAY_TLS_CERTIFICATE_FILE") else "http"

    @property
    def url(self) -> str:
        """Where users reach the stack."""
        host = self._settings.host
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def run(self, stop: asyncio.Event) -> None:
        """Keep every role running until ``stop`` is set; print ``ready URL`` once it is. Raises
        :class:`StartError` when a role says that it cannot start."""
        children = [self.control, *self.workers, self.gateway]
        keepers = [asyncio.create_task(child.keep()) for child in children]
        announcing = asyncio.create_task(self._announce())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({stopping, *keepers}, return_when=asyncio.FIRST_COMPLETED)
            for keeper in keepers:
                if keeper.done():
                    keeper.result()  # raises what its role cannot start for
        finally:
            stopping.cancel()
            announcing.cancel()
            # The gateway first: it answers what is in flight while the engines still run, and
            # ships its usage while control still takes it.
            await self.gateway.stop(self._settings.stop_gateway_s)
            await asyncio.gather(*(child.stop(self._settings.stop_others_s) for child in children))
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(announcing, stopping, *keepers, return_exceptions=True)

    def close(self) -> None:
        """Give back the port, the run directory and the data directory."""
        self._lifeline.close()
        self._socket.close()
        shutil.rmtree(self._run_dir, ignore_errors=True)
        os.close(self._lock)

    async def _announce(self) -> None:
        # The roles start at their own pace, and restart: asking is the one way to know.
        # Nothing is sent but the question whether this machine's own child answers, and its
        # certificate is for the name that users know.
        async with httpx.AsyncClient(
            base_url=self._local_url(),
            trust_env=False,
            verify=False,  # noqa: S501
        ) as client:
            for path in ("/readyz", "/v2/health/ready"):
                while not await _is_ok(client, path):  # noqa: ASYNC110 -- another process's state
                    await asyncio.sleep(POLL_S)
        print(f"ready {self.url}", flush=True)  # noqa: T201 -- the contract's line

    def _local_url(self) -> str:
        """The stack as seen from this machine: a wildcard address is no destination."""
        wildcard = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104
        host = wildcard.get(self._settings.host)
        return f"{self._scheme}://{host}:{self.port}" if host else self.url

    def _child(self, name: str, module: str, settings: dict[str, str], *extra: int) -> Child:
        environment = {**self._common, **settings, **self._lifeline.environment()}
        return Child(name, module, lambda: environment, (self._lifeline.child_end, *extra))

    def _control_settings(self) -> dict[str, str]:
        local = {"TOLLWAY_FEW_PROCESSORS": os.environ.get("TOLLWAY_FEW_PROCESSORS", "true")}
        if "TOLLWAY_GATEWAY_URL" not in os.environ:
            local["TOLLWAY_GATEWAY_URL"] = self._local_url()
            if certificate := os.environ.get("TOLLWAY_TLS_CERTIFICATE_FILE"):
                # It is for the name that users know, which need not lead here.
                local["TOLLWAY_GATEWAY_CERTIFICATE_FILE"] = certificate
        return {
            **local,
            "TOLLWAY_BIND": f"unix:{self._run_dir}/control.sock",
            "TOLLWAY_ADMIN_TOKEN_FILE": str(self._settings.data.resolve() / "admin.token"),
        }

    def _worker_settings(self, number: int) -> dict[str, str]:
        run_dir = self._run_dir / f"worker-{number}"
        run_dir.mkdir(mode=0o700)
        return {
            "TOLLWAY_WORKER_ID": f"worker-{number}",
            "TOLLWAY_RUN_DIR": str(run_dir),
            "TOLLWAY_ENGINE_DRAIN_S": str(self._settings.stop_others_s - SPARE_S),
            **self._blobs_nearby(),
            **self._engine_bounds(),
        }

    def _blobs_nearby(self) -> dict[str, str]:
        """Where control keeps its blobs, unless it was told another place: workers need not fetch
        what is there."""
        if not os.environ.keys().isdisjoint(("TOLLWAY_BLOB_STORE", "TOLLWAY_BLOBS_NEARBY")):
            return {}
        folder = self._settings.data.resolve() / "control" / "blobs"
        return {"TOLLWAY_BLOBS_NEARBY": str(folder)}

    def _engine_bounds(self) -> dict[str, str]:
        """What the options say, else the environment; else workers share the machine's cores."""
        settings = self._settings
        share = max(cores() // settings.workers, 1)
        bounds = {
            "TOLLWAY_ENGINES_MAX": max(share, settings.engines_min or 1),
            "TOLLWAY_ENGINES_EXTRA_MAX": share,
        }
        bounds = {name: value for name, value in bounds.items() if name not in os.environ}
        if settings.engines_min is not None:
            bounds["TOLLWAY_ENGINES_MIN"] = settings.engines_min
        if settings.engines_max is not None:
            bounds["TOLLWAY_ENGINES_MAX"] = settings.engines_max
        return {name: str(value) for name, value in bounds.items()}


async def _is_ok(client: httpx.AsyncClient, path: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return (await client.get(path, timeout=2.0)).is_success
    return False
