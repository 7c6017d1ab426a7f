"""The relay: from a thread's stream to the sockets that listen to it, events unparsed.

`feed` has the rules without I/O, `reader` the one pub/sub connection, `relay` joins the two with
the stream and SQL.
"""
