"""Streams: a connection is read and written with `await`, as with asyncio's streams."""
