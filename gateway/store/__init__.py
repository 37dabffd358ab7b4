"""The durable outbox: what was accepted and is not yet delivered, and the little that later answers need."""
