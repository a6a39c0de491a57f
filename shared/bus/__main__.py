"""`python -m shared.bus`: creates and updates streams and durables as shared/bus/topology.py names them; may run at any time."""

import asyncio
import sys

from shared.bus.topology import TopologySettings, main

done = asyncio.run(main(TopologySettings()))  # type: ignore[call-arg]  # from the environment
sys.stdout.write("\n".join(done) + "\n")
