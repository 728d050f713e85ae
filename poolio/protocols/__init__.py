"""The base classes of users' protocols: poolio.Protocol, FramedProtocol, DatagramProtocol."""
