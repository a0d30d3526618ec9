"""Settings of the embedded stack (``tollwayd up``); its options say the same."""

from dataclasses import dataclass
from pathlib import Path

from runtime.logs import LogLevel


@dataclass(frozen=True, slots=True)
class StackSettings:
    """What one embedded stack is."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    engines_min: int | None = None
    """Engines that every version has on each worker; None: as the environment says, or 1."""
    engines_max: int | None = None
    """Engines that a version may have on each worker; None: as the environment says, or its share
    of the cores."""
    log_level: LogLevel = "warning"
    stop_gateway_s: float = 6.0
    """Time that the gateway gets to answer what is in flight and to ship its usage."""
    stop_others_s: float = 3.0
    """Time that control and the workers get afterwards. What has not stopped then is killed: all
    is over within 10 seconds."""
