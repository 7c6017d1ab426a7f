"""The OpenAI door, `/v1`: agents as models, for every client that speaks OpenAI's API.

`asked` reads requests, `answer` has the rules of what a caller sees of a run, `completion` the
shapes of answers; all without I/O. `chat` and `models` are the routes.
"""
