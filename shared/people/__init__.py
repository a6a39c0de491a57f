"""What is personal: sealing contacts on their way, keeping them at rest, campaign keys that can be destroyed, erasure, masks."""
