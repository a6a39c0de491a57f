"""What a durable has behind it leaves its stream: LIVE is emptied behind checkin (DESIGN §7, docs/decisions/live-emptied.md).

Only the server's word counts for what is behind: its acknowledged floor, below which every message was answered, and checkin
answers a message after its batch was committed (or parked). Messages above the floor stay, answered or not, until it has passed
them. Any number of processes may do this, at any time.
"""

from nats.js import JetStreamContext, api

from shared.bus import topology
from shared.bus.topology import Durable


async def empty_behind(js: JetStreamContext, durable: Durable, info: api.ConsumerInfo) -> None:
    """Removes what `durable`, of which `info` was just said, has behind it. Raises what the server or the connection raises."""
    if not topology.empties(durable) or info.config.deliver_policy != api.DeliverPolicy.ALL:
        return  # made by hand to begin at the end, its floor says nothing about what is below
    floor = info.ack_floor.stream_seq if info.ack_floor else 0
    if floor:
        await js.purge_stream(durable.stream, seq=floor + 1)
