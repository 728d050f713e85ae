"""Owns the fields of a loop that its selector and its handles read, and which lie below it; and its queue's two ends.

Refuses to know who fills them: asyncio's code does, under asyncio's names, and loops.core. Base of loops.core.LoopCore.
"""


cdef class Schedule:
    """What a loop of poolio's has to do. asyncio's attributes, kept as compiled code reads them best."""

    cdef int put(self, callback, argument, context) except -1:
        raise NotImplementedError

    cdef double first_due(self) except? -1.0:
        raise NotImplementedError

    cdef int run_first(self) except -1:
        raise NotImplementedError


cdef int run_first_of(callbacks) except -1:
    handle = callbacks.popleft()
    if not handle._cancelled:
        handle._run()
    return 0
