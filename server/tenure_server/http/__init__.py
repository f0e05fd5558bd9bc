"""HTTP for operators and machines: metrics, health, scaling. Read-only; the broker works without it."""
