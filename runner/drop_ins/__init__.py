"""Drop-in agents: files in a folder become agents that are served.

`find` tells what there is and what it is called, `source` reads it once, `imports` makes modules of
it, `exports` finds what it offers, `load` puts that together, and `reload` does so whenever a file
has changed. `catalog` beside this package holds what came of it.
"""
