"""What goes over the wire: positions, events, frames and codes. It rests on nothing of ours."""
