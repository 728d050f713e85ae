"""Streams: reading and writing a connection with `await`, as asyncio's streams do it."""
