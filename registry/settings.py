"""What the registry needs to know; the control role's settings class fills it."""

from pathlib import Path

import msgspec

GIB = 1 << 30


class RegistrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and places. Units are in the names."""

    staging_dir: Path
    """A local folder of this process alone, for uploads under way and bundles under inspection."""
    max_artifact_bytes: int = 2 * GIB
    """Largest blob, and largest sum of a version's blobs."""
    gc_grace_s: float = 24 * 3600.0
    """How long an unreferenced blob, or an abandoned temporary file, is kept."""
    retired_retention_s: float = 365 * 24 * 3600.0
    """How long the blobs of a version are kept after its retirement."""
    upload_ttl_s: float = 24 * 3600.0
    """How long an upload may stay unfinished."""
    inspect_timeout_s: float = 120.0
    """Wall-clock limit of one inspection."""
    inspect_memory_bytes: int = 2 * GIB
    """Address space of the inspection process, on top of four times the artifact's size."""
