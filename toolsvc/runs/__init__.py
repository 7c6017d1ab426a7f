"""The record of runs: claims, leases, journal, events. Whoever ends a run has claimed it."""
