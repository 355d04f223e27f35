"""Learning labels: how right a head is after a few examples, and how few answers will do."""
