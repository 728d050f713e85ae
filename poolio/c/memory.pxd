# Declares memory.h: what slabs need from the platform. poolio_map() is called through faults.h only.

cdef extern from "poolio/c/memory.h" nogil:
    const char *POOLIO_VARIANT
    void poolio_unmap(void *memory, size_t size)
    void poolio_wipe(void *memory, size_t size)
    long long poolio_seconds()
