"""Retention: what is older than the policy says is deleted, a little at a time."""
