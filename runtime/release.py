"""Which release of the software this is."""

from importlib.metadata import PackageNotFoundError, version


def software_version() -> str:
    """The version of the installed distribution; ``0`` where it runs without being installed."""
    try:
        return version("tollwayd")
    except PackageNotFoundError:
        return "0"
