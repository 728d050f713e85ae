# Owns poolio's declarations of C. Each header has one .pxd (net_none.h is a part of net.h), and python.pxd declares
# CPython's own API. Modules cimport from here, and none declares a C function itself. Other people's Cython needs no
# header: of this floor, the .pxd files behind `from poolio cimport ...` use guard.pxd alone, which contains its C code.
