# memory.h: what slabs need of the platform.

cdef extern from "poolio/c/memory.h" nogil:
    const char *POOLIO_VARIANT
    void poolio_unmap(void *memory, size_t size)
    void poolio_wipe(void *memory, size_t size)
    long long poolio_seconds()
