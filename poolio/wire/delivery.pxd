# How a transport calls data_received(): inline functions, no module. The stream transport and TLS's use them.

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF

from poolio.c.objects cimport poolio_raise_again
from poolio.c.python cimport (
    PyContext_Exit, PyMethod_GET_FUNCTION, PyMethod_GET_SELF, PyObject_CallOneArg, PyObject_VectorcallMethod,
    vectorcallfunc,
)
from poolio.wire.reactor cimport enter_context


# Call data_received(buf), a bound method, in a connection's context. vectorcall is that of the method's function; NULL:
# the method is called as any object.
cdef inline int call_with_buffer(
    object method, vectorcallfunc vectorcall, object connection_context, object buf,
) except -1:
    cdef PyObject *arguments[2]
    cdef PyObject *result
    context = enter_context(connection_context)
    if vectorcall != NULL:                  # does what calling the bound method does, without the detours
        arguments[0] = PyMethod_GET_SELF(<PyObject *>method)
        arguments[1] = <PyObject *>buf
        result = vectorcall(PyMethod_GET_FUNCTION(<PyObject *>method), arguments, 2, NULL)
    else:
        result = PyObject_CallOneArg(<PyObject *>method, <PyObject *>buf)
    PyContext_Exit(<PyObject *>context)
    if result == NULL:
        poolio_raise_again()
    Py_DECREF(<object>result)
    return 0


# Call this method of a protocol in a connection's context. It is looked up each time, as on asyncio.
cdef inline int call_with_data(object protocol, object name, object connection_context, object data) except -1:
    cdef PyObject *arguments[2]
    cdef PyObject *result
    arguments[0] = <PyObject *>protocol
    arguments[1] = <PyObject *>data
    context = enter_context(connection_context)
    result = PyObject_VectorcallMethod(<PyObject *>name, arguments, 2, NULL)
    PyContext_Exit(<PyObject *>context)
    if result == NULL:
        poolio_raise_again()
    Py_DECREF(<object>result)
    return 0
