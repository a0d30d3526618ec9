"""What an agent and its engine process say to each other: a start order in, one word out, news.

The order goes over the engine's standard input (it may hold the cluster token, so no command line
and no file), and after it what changes while the engine serves; the word, and after it news, come
back over its standard output. All of them are JSON lines.
"""

import msgspec

from protocol.configuration import AlertDoc, ContractDoc
from protocol.manifest import Manifest
from runtime.logs import LogFormat, LogLevel
from serving.scaling import EngineLoad


class EngineOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an engine process needs to start."""

    model: str
    version: int
    slot: int
    digest: str
    """Digest of the manifest, for HELLO."""
    manifest: Manifest
    folder: str
    """Private folder with the verified files."""
    artifact: str
    """Path of the graph within ``folder``."""
    golden: str | None = None
    """Path of the golden rows within ``folder``."""
    background: str | None = None
    """Path of the background rows within ``folder``."""
    explain_max_rows: int = 100
    explain_max_evaluations: int = 5_000_000
    address: str
    """``unix:/path`` or ``tcp:host:port`` to listen on."""
    cluster_token: str = ""
    """What peers prove over TCP; unused over a Unix socket."""
    max_queue_requests: int = 1024
    max_queue_bytes: int = 256 << 20
    max_batch_rows: int = 1024
    max_frame_bytes: int = 256 << 20
    finding: AlertDoc | None = None
    """What an earlier engine of this version found; set: requests never share a run."""
    threads: int = 1
    """Threads of a run inside the runtime; 0: the engine tries what suits the model."""
    cores: int = 1
    """Threads that it may have then."""
    urgent: bool = False
    """Whether it loads at full priority: callers wait for it (it follows one that died, wakes a
    version, or shares a load), or its agent serves nobody else whom that could hold up."""
    processors: tuple[int, ...] = ()
    """Those that it serves on; until then, unless it is urgent, it keeps to those that it was
    started on. Empty: they are the same."""
    contract: ContractDoc | None = None
    """What requests may hold; see :mod:`serving.contract`."""
    drain_s: float = 8.0
    """How long requests in flight may take after SIGTERM."""
    software: str = ""
    """Release of Tollway, for the receipts of its predictions."""
    log_level: LogLevel = "info"
    log_format: LogFormat = "auto"


class EngineChange(msgspec.Struct, frozen=True, kw_only=True):
    """What of its order an engine that serves has to see otherwise from now on."""

    contract: ContractDoc | None


class EngineWord(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine says once: it serves, or why it never will."""

    ready: bool
    error: str = ""
    load_ms: int = 0
    threads: int = 1


class EngineNews(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an engine that serves tells: one of the two."""

    load: EngineLoad | None = None
    alert: AlertDoc | None = None
