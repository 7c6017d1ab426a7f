"""The OpenAI door, `/v1`: agents as models, for every client that speaks OpenAI's API.

`asked` and `wanted` read requests, `answer` has the rules of what a caller sees of a run,
`completion` and `response` the shapes of answers; all without I/O. `serving` tells a run to one
request; `chat`, `responses` and `models` are the routes.
"""
