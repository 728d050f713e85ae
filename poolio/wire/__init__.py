"""Sockets at the speed of C: the reactor, the transports on it, and the slab that a loop receives into."""
