"""Removes from a stream what its durable has handled: LIVE is emptied behind checkin (DESIGN §7, docs/decisions/live-emptied.md).

The server knows what has been handled: every message up to its "acknowledged floor" has been answered. checkin answers a message
after its batch was committed, or after it was parked. Messages above the floor stay, answered or not, until the floor has passed
them. Any number of processes may do this at any time.
"""

from nats.js import JetStreamContext, api

from shared.bus import topology
from shared.bus.topology import Durable


async def empty_behind(js: JetStreamContext, durable: Durable, info: api.ConsumerInfo) -> None:
    """Removes what `durable` has handled. `info` was just read from the server. Raises errors of server and connection."""
    if not topology.empties(durable) or info.config.deliver_policy != api.DeliverPolicy.ALL:
        return  # made by hand to begin at the end: its floor says nothing about older messages
    floor = info.ack_floor.stream_seq if info.ack_floor else 0
    if floor:
        await js.purge_stream(durable.stream, seq=floor + 1)
