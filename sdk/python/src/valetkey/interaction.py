"""What only a person can do."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Interaction:
    """A question to a person: they answer on the page `uri`, the agent polls meanwhile."""

    uri: str | None
    """The page for the person; none when everything is granted already."""
    kind: str
    """`consent`, `approval` or `step_up`."""
    expires_in: int
    """Seconds, counted from the answer that named it."""
    interval: int
    """Seconds to leave between polls."""
    auth_req_id: str = field(repr=False)
    """The agent's handle. A secret: it stands for the token to come."""
