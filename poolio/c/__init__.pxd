# What poolio declares of C: each header has one .pxd, and python.pxd has CPython's own API. Modules cimport from here,
# and none declares a C function by itself. No header is needed by other people's Cython: what the .pxd of `from poolio
# cimport ...` use of C stands in guard.pxd, in full.
