"""The dev stack: real Postgres, real NATS and the four services as child processes of one supervisor."""
