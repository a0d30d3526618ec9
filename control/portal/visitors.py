"""Who a page is for, by the groups of roles of the API, and the parameters that lists share."""

from typing import Annotated

from fastapi import Query

from control.portal.session import Visit, signed_in
from control.routes_conventions import INSPECTORS, OWNERS, READERS, WITNESSES
from registry.access import EVERYONE, EVIDENCE_READERS, PUBLISHERS

Member = Annotated[Visit, signed_in(*EVERYONE)]
"""Whoever is logged in."""
Owner = Annotated[Visit, signed_in(*OWNERS)]
"""Who may have applications."""
Witness = Annotated[Visit, signed_in(*WITNESSES)]
"""Who may have applications, or looks at those of others."""
Publisher = Annotated[Visit, signed_in(*PUBLISHERS)]
"""Who makes versions, and moves traffic."""
PublishReader = Annotated[Visit, signed_in(*READERS)]
"""Who makes or audits versions. Sponsors find what concerns them among the approvals."""
EvidenceReader = Annotated[Visit, signed_in(*EVIDENCE_READERS)]
"""Who makes, approves or audits versions."""
Inspector = Annotated[Visit, signed_in(*INSPECTORS)]
"""Who sees the whole installation."""
Admin = Annotated[Visit, signed_in("admin")]
"""Who changes the whole installation."""
Search = Annotated[str, Query(alias="q", max_length=200)]
"""Words that what is listed has to have."""
After = Annotated[str, Query(max_length=255)]
"""The last entry of the page before."""
