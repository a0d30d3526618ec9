"""Envoy with a key check and a local rate limit, one worker thread, before the bare ASGI app.

Run: ``python behind_envoy.py MODEL.onnx --port 8100 --envoy ENVOY --key FILE``
"""

import argparse
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

BARE = Path(__file__).with_name("bare_asgi.py")
EXTENSIONS = "type.googleapis.com/envoy.extensions"
TOKENS = 100_000_000
"""Of the limit: it never refuses, because refusals would be cheaper than answers."""
ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}


def configuration(port: int, upstream: int, key: str) -> dict[str, object]:
    """A listener with the two filters, and one cluster."""
    filters = [
        {
            "name": "envoy.filters.http.api_key_auth",
            "typed_config": {
                "@type": f"{EXTENSIONS}.filters.http.api_key_auth.v3.ApiKeyAuth",
                "credentials": [{"key": key, "client": "bench"}],
                "key_sources": [{"header": "x-api-key"}],
            },
        },
        {
            "name": "envoy.filters.http.local_ratelimit",
            "typed_config": {
                "@type": f"{EXTENSIONS}.filters.http.local_ratelimit.v3.LocalRateLimit",
                "stat_prefix": "limit",
                "token_bucket": {
                    "max_tokens": TOKENS, "tokens_per_fill": TOKENS, "fill_interval": "60s",
                },
                "filter_enabled": ALWAYS,
                "filter_enforced": ALWAYS,
            },
        },
        {
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": f"{EXTENSIONS}.filters.http.router.v3.Router"},
        },
    ]  # fmt: skip
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}]
    manager = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{EXTENSIONS}.filters.network.http_connection_manager.v3"
            ".HttpConnectionManager",
            "stat_prefix": "http",
            "http_filters": filters,
            "route_config": {
                "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]
            },
        },
    }
    return {
        "static_resources": {
            "listeners": [
                {"address": _address(port), "filter_chains": [{"filters": [manager]}]},
            ],
            "clusters": [
                {
                    "name": "app",
                    "load_assignment": {
                        "cluster_name": "app",
                        "endpoints": [
                            {"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}
                        ],
                    },
                }
            ],
        }
    }


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description="Envoy before the bare ASGI app.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--envoy", required=True)
    parser.add_argument("--key", type=Path, required=True)
    arguments = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        upstream = probe.getsockname()[1]
    written = configuration(arguments.port, upstream, arguments.key.read_text())
    file = arguments.model.with_name("envoy.json")
    file.write_text(json.dumps(written))
    commands = [
        [sys.executable, str(BARE), str(arguments.model), "--port", str(upstream)],
        [arguments.envoy, "--config-path", str(file), "--concurrency", "1", "-l", "warning",
         "--disable-hot-restart"],
    ]  # fmt: skip
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    processes = [subprocess.Popen(command) for command in commands]
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    for process in processes:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
