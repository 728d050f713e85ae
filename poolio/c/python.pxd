# Declares the parts of CPython's C API that Cython's own cpython package lacks, or declares in a way that costs more.

from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport uint64_t, uintptr_t

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

    # numbers
    bint PyIndex_Check(object value)
    object PyNumber_Index(object value)
    Py_ssize_t PyNumber_AsSsize_t(object value, PyObject *error) except? -1
    bint PyLong_Check(object value)
    long long PyLong_AsLongLong(object value) except? -1
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1
    uint64_t PyLong_AsUnsignedLongLongMask(object value) except? <uint64_t>-1
    double PyFloat_AsDouble(object value) except? -1.0
    double PyFloat_Unpack4(const char *data, int little_endian) except? -1.0
    double PyFloat_Unpack8(const char *data, int little_endian) except? -1.0
    int PyFloat_Pack4(double value, char *data, int little_endian) except -1
    int PyFloat_Pack8(double value, char *data, int little_endian) except -1

    # sequences and text
    object PySeqIter_New(object sequence)
    bint PyUnicode_Check(object value)
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    object PyUnicode_DecodeUTF8(const char *data, Py_ssize_t size, const char *errors)
    Py_ssize_t PyList_GET_SIZE(PyObject *items)
    PyObject *PyList_GET_ITEM(PyObject *items, Py_ssize_t index)

    # objects, types and memory
    void PyObject_Free(PyObject *object)
    void PyType_Modified(PyTypeObject *kind)
    int PyGC_Disable()
    int PyGC_Enable()
    int PyTraceMalloc_Track(unsigned int domain, uintptr_t memory, size_t size)
    int PyTraceMalloc_Untrack(unsigned int domain, uintptr_t memory)

    # calls. When a result is NULL, an exception is set: see poolio_raise_again() in objects.pxd
    ctypedef PyObject *(*vectorcallfunc)(PyObject *callable, PyObject **arguments, size_t count, PyObject *names)
    PyObject *PyObject_CallOneArg(PyObject *callable, PyObject *argument)
    PyObject *PyObject_VectorcallMethod(PyObject *name, PyObject **arguments, size_t count, PyObject *names)
    vectorcallfunc PyVectorcall_Function(PyObject *callable)
    bint PyMethod_Check(PyObject *thing)
    PyObject *PyMethod_GET_SELF(PyObject *method)
    PyObject *PyMethod_GET_FUNCTION(PyObject *method)

    # contexts of contextvars
    object PyContext_Copy(object context)
    object PyContext_CopyCurrent()
    int PyContext_Enter(PyObject *context) except -1
    int PyContext_TryEnter "PyContext_Enter" (PyObject *context) noexcept     # on -1 an exception is set
    int PyContext_Exit(PyObject *context) except -1

    # coroutines: what the slot am_send returns
    enum:
        PYGEN_RETURN
        PYGEN_NEXT
