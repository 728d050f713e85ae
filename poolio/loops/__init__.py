"""poolio's place in asyncio: its event loop, and the functions that connect and serve on any loop."""
