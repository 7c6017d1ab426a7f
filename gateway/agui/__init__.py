"""AG-UI's own door: runs as server-sent events, for clients that know nothing of our socket."""
