/* Owns the calls by which poolio asks for memory while it works (of the heap, of objects, of the system), and how they
   are made to fail on request. Included, through faults.pxd, by every module that asks. Needs the GIL.

   In the builds for tests (POOLIO_BUILD=debug, sanitize, coverage) the allocations are counted, and
   poolio.memory.slab.fail_allocations() makes some of them fail, so that tests can walk through every one of a
   scenario. Meanwhile nothing comes from the lists of spare structs and objects, which would hide most allocations. In
   all other builds these are the plain calls. */

#ifndef POOLIO_FAULTS_H
#define POOLIO_FAULTS_H

#include <Python.h>
#include "memory.h"

typedef struct {
    long long asked;        /* allocations since the last fail_allocations() */
    long long first;        /* the first one that fails, counted from 1; 0: none fails */
    long long last;
    long long failed;
} poolio_faults;

#ifdef POOLIO_WITH_FAULTS
#define POOLIO_HAS_FAULTS 1
#define POOLIO_FAULTS_NAME "poolio.memory.slab._faults"

/* The one struct of all modules. slab owns it; NULL until slab has made it. */
static inline poolio_faults *poolio_faults_of_all(void)
{
    static poolio_faults *found = NULL;
    if (found == NULL) {
        PyObject *kind, *value, *traceback;
        PyErr_Fetch(&kind, &value, &traceback);
        found = (poolio_faults *)PyCapsule_Import(POOLIO_FAULTS_NAME, 0);
        PyErr_Restore(kind, value, traceback);
    }
    return found;
}
static inline int poolio_armed(void)
{
    poolio_faults *faults = poolio_faults_of_all();
    return faults != NULL && faults->first > 0;
}
static inline int poolio_fails(void)
{
    poolio_faults *faults = poolio_faults_of_all();
    if (faults == NULL || faults->first == 0)
        return 0;
    faults->asked++;
    if (faults->asked < faults->first || faults->asked > faults->last)
        return 0;
    faults->failed++;
    return 1;
}
static inline PyObject *poolio_faults_capsule(poolio_faults *faults)
{
    return PyCapsule_New(faults, POOLIO_FAULTS_NAME, NULL);
}
#else
#define POOLIO_HAS_FAULTS 0
#define poolio_armed() 0
#define poolio_fails() 0
#define poolio_faults_capsule(faults) ((void)(faults), Py_NewRef(Py_None))
#endif

static inline void *poolio_malloc(size_t size)
{
    return poolio_fails() ? NULL : PyMem_Malloc(size);
}
static inline void *poolio_calloc(size_t size)
{
    return poolio_fails() ? NULL : PyMem_Calloc(size, 1);
}
static inline void *poolio_raw_malloc(size_t size)
{
    return poolio_fails() ? NULL : PyMem_RawMalloc(size);
}
static inline void *poolio_map_memory(size_t size)
{
    return poolio_fails() ? NULL : poolio_map(size);
}
static inline PyObject *poolio_new_bytes(const char *data, Py_ssize_t size)
{
    return poolio_fails() ? PyErr_NoMemory() : PyBytes_FromStringAndSize(data, size);
}
static inline PyObject *poolio_new_object(PyTypeObject *kind)
{
    return poolio_fails() ? PyErr_NoMemory() : PyType_GenericAlloc(kind, 0);
}

#endif
