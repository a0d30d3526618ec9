"""The worker's process."""

import asyncio

from runtime.addresses import control_client
from runtime.files import read_secret
from runtime.logs import configure_logs, logger
from runtime.priority import step_aside
from runtime.process import Lifeline, run, set_title
from runtime.start import refusing
from serving.agent import Agent, make_run_dir
from serving.endpoint import serve_endpoint
from serving.process import starter
from serving.settings import WorkerSettings


def main() -> None:
    """Serve until SIGTERM, SIGINT or the parent's death. Exits with 1 and one line on stderr when
    it cannot start."""
    set_title("worker")
    with refusing():
        settings = WorkerSettings()  # type: ignore[call-arg]  # fields come from the environment
        configure_logs("worker", settings.log_level, settings.log_format)
        token = read_secret(settings.cluster_token_file).decode()
    make_run_dir(settings.run_dir)
    step_aside()  # this process answers no prediction; its engines step back
    run(lambda stop: work(settings, token, stop))


async def work(settings: WorkerSettings, token: str, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set; engines are drained before it returns."""
    lifeline = Lifeline()
    try:
        async with control_client(settings.control_url, token) as client:
            agent = Agent(settings, client, token, starter(lifeline))
            async with serve_endpoint(settings.metrics_bind, agent, token):
                await agent.run(stop)
    finally:
        lifeline.close()
    logger("worker").info("stopped")
