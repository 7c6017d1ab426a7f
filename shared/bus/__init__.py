"""Redis, the transport: streams of events, the doorbell, and who is told. Nothing here is truth."""
