"""Pooled memory: slabs, the pool that carves them, and the Buffers on them. Knows no loop, no socket, no timer."""
