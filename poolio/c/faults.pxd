# Declares faults.h: allocations that can be made to fail on request. They need the GIL.

from cpython.object cimport PyTypeObject

cdef extern from "poolio/c/faults.h":
    const bint POOLIO_HAS_FAULTS
    ctypedef struct poolio_faults:
        long long asked
        long long first
        long long last
        long long failed
    object poolio_faults_capsule(poolio_faults *faults)
    bint poolio_armed()
    bint poolio_fails()

    void *poolio_malloc(size_t size)
    void *poolio_calloc(size_t size)
    void *poolio_raw_malloc(size_t size)
    void *poolio_map_memory(size_t size)
    object poolio_new_bytes(const char *data, Py_ssize_t size)
    object poolio_new_object(PyTypeObject *kind)
