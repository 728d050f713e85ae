# What a class says about a call that it can't take. See calls.pyx.

cdef int check_call(type kind, tuple arguments, dict options) except -1
