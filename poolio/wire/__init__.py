"""poolio's own transports: the reactor, stream and datagram sockets, listeners, TLS, and the slab a loop reads into."""
