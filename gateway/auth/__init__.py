"""Who is asking: sign-ins, keys, and where a request may come from."""
