"""The drill: a stack of its own, faults from a seeded plan, and a judge that looks from outside.

Clients converse over real sockets through a faulty network while processes and stores are killed.
Afterwards the judge compares what the clients saw, what the model server was asked, what the tool
did outside of the system, and what SQL holds. It believes nothing that the services say of
themselves.
"""
