"""The peers, each started from its own environment on a free port, and stopped at the end."""

import contextlib
import json
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec

from benchmarks.models import CLASSIFIER
from benchmarks.processes import free_port, started, wait_until
from benchmarks.spec import Exchange
from benchmarks.systems import ROOT, Served
from benchmarks.workloads import Form

ENVIRONMENTS = ROOT / "build" / "peers"
SCRIPTS = ROOT / "benchmarks" / "peers"
START_S = 180.0
"""Some import a gigabyte of libraries before they listen."""
V2_PATH = f"/v2/models/{CLASSIFIER}/infer"
BENTOML_SETTINGS = {"BENTOML_DO_NOT_TRACK": "True"}

HANDWRITTEN = "hand-written"
HANDWRITTEN_TUNED = "hand-written, 1 thread"
BARE = "bare ASGI + ORT"
ENVOY = "Envoy + bare ASGI + ORT"


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer is started with."""

    graph: Path
    folder: Path
    """For its files; its working folder as well."""
    port: int
    api_key: str
    python: str
    """Of the peer's environment."""

    def script(self, name: str, *arguments: str) -> list[str]:
        """Run one of the scripts in ``benchmarks/peers`` with the graph and the port."""
        command = [self.python, str(SCRIPTS / name), str(self.graph), "--port", str(self.port)]
        return [*command, *arguments]

    def tool(self, name: str) -> str:
        """A command that the environment has."""
        return str(Path(self.python).parent / name)


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """One system, and how it is spoken to."""

    name: str
    environment: str
    command: Callable[[Launch], list[str]]
    path: str = V2_PATH
    form: Form = Form.V2
    binary: bool = False
    """Whether it takes binary tensors."""
    settings: dict[str, str] = {}
    """Environment variables."""
    python: bool = True
    """Whether requests pass through Python in all of it: Envoy's do not."""

    @property
    def interpreter(self) -> Path:
        """The Python of its environment."""
        return ENVIRONMENTS / self.environment / "bin" / "python"


def _handwritten(threads: int) -> Callable[[Launch], list[str]]:
    def command(launch: Launch) -> list[str]:
        keys = launch.folder / "keys.json"
        keys.write_text(json.dumps({launch.api_key: "bench"}))
        return launch.script("handwritten.py", "--keys", str(keys), "--threads", str(threads))

    return command


def _mlserver(launch: Launch) -> list[str]:
    model = {
        "name": CLASSIFIER,
        "implementation": "mlserver_runtime.OnnxModel",
        "parameters": {"uri": str(launch.graph), "version": "1"},
    }
    server = {
        "host": "127.0.0.1",
        "http_port": launch.port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
    }
    (launch.folder / "model-settings.json").write_text(json.dumps(model))
    (launch.folder / "settings.json").write_text(json.dumps(server))
    return [launch.tool("mlserver"), "start", str(launch.folder)]


def _bentoml(launch: Launch) -> list[str]:
    return [
        launch.tool("bentoml"), "serve", "bentoml_service:Model", "--host", "127.0.0.1",
        "--port", str(launch.port), "--working-dir", str(SCRIPTS),
    ]  # fmt: skip


def _mlflow(launch: Launch) -> list[str]:
    model = launch.folder / "mlflow"
    save = [launch.python, str(SCRIPTS / "mlflow_model.py"), str(launch.graph), str(model)]
    subprocess.run(save, check=True, capture_output=True, cwd=launch.folder)
    return [
        launch.tool("mlflow"), "models", "serve", "--model-uri", str(model),
        "--host", "127.0.0.1", "--port", str(launch.port), "--env-manager", "local",
    ]  # fmt: skip


def _pytriton(launch: Launch) -> list[str]:
    ports = ["--grpc-port", str(free_port()), "--metrics-port", str(free_port())]
    return launch.script("pytriton_server.py", "--name", CLASSIFIER, *ports)


def _envoy(launch: Launch) -> list[str]:
    key = launch.folder / "api.key"
    key.write_text(launch.api_key)
    return launch.script("behind_envoy.py", "--envoy", launch.tool("envoy"), "--key", str(key))


PEERS = [
    Peer(name=HANDWRITTEN, environment="handwritten", command=_handwritten(0)),
    Peer(name=HANDWRITTEN_TUNED, environment="handwritten", command=_handwritten(1)),
    Peer(
        name="MLServer",
        environment="mlserver",
        command=_mlserver,
        settings={"PYTHONPATH": str(SCRIPTS)},
    ),
    Peer(
        name="BentoML",
        environment="bentoml",
        command=_bentoml,
        path="/infer",
        form=Form.BENTOML,
        settings=BENTOML_SETTINGS,
    ),
    Peer(
        name="LitServe",
        environment="litserve",
        command=lambda launch: launch.script("litserve_api.py"),
        path="/predict",
    ),
    Peer(
        name="Ray Serve",
        environment="ray",
        command=lambda launch: launch.script("ray_deployment.py"),
        path="/",
        settings={"RAY_USAGE_STATS_ENABLED": "0"},
    ),
    Peer(
        name="MLflow",
        environment="mlflow",
        command=_mlflow,
        path="/invocations",
        form=Form.MLFLOW,
    ),
    Peer(name="PyTriton", environment="pytriton", command=_pytriton, binary=True),
    Peer(
        name=BARE,
        environment="envoy",
        command=lambda launch: launch.script("bare_asgi.py"),
        binary=True,
        python=False,
    ),
    Peer(name=ENVOY, environment="envoy", command=_envoy, binary=True, python=False),
]


@contextlib.contextmanager
def peer_served(peer: Peer, graph: bytes, folder: Path, probe: Exchange) -> Iterator[Served]:
    """A peer that answers. Raises RuntimeError with its last lines when it does not start."""
    own = folder / peer.name.replace(" ", "-").replace(",", "")
    own.mkdir()
    model = own / "model.onnx"
    model.write_bytes(graph)
    launch = Launch(
        graph=model,
        folder=own,
        port=free_port(),
        api_key=secrets.token_hex(20),
        python=str(peer.interpreter),
    )
    served = Served(
        system=peer.name, pid=0, port=launch.port, path=peer.path, api_key=launch.api_key
    )
    command, log = peer.command(launch), own / "log"
    path = f"{peer.interpreter.parent}:/usr/local/bin:/usr/bin:/bin"
    env = {"PATH": path, "HOME": str(own), "BENCH_MODEL": str(model), **peer.settings}
    with started(command, log, env=env, folder=own) as process:
        wait_until(lambda: _answers(served, probe), process=process, log=log, timeout_s=START_S)
        yield msgspec.structs.replace(served, pid=process.pid)


def missing(peers: list[Peer]) -> list[str]:
    """Names of the environments that are not there."""
    return sorted({peer.environment for peer in peers if not peer.interpreter.exists()})


def _answers(served: Served, probe: Exchange) -> bool:
    headers = {"X-API-Key": served.api_key, "Content-Type": "application/json", **probe.headers}
    url = f"http://127.0.0.1:{served.port}{served.path}"
    try:
        answer = httpx.post(url, content=probe.body, headers=headers, timeout=5.0, trust_env=False)
    except httpx.TransportError:
        return False
    return answer.status_code == 200
