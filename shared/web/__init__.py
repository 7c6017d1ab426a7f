"""How an HTTP process of ours answers: request ids, limits, errors, health, serving."""
