"""The base classes of people's protocols: poolio.Protocol, FramedProtocol, DatagramProtocol."""
