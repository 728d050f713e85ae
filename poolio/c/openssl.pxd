# Declares openssl.h: the OpenSSL that CPython's `_ssl` uses, found at run time, and the BIO of a TLS connection.

from cpython.object cimport PyObject

cdef extern from "poolio/c/openssl.h":
    ctypedef struct poolio_tls_io:
        const char *feed "in"
        size_t feed_left "in_left"
        char *out
        size_t out_room
        size_t out_size
        char *spill
        size_t spill_size
    const char *poolio_openssl_load(const char *path)
    bint poolio_is_readable(const void *memory, size_t size)
    void *poolio_ssl_candidate(PyObject *object)
    void *poolio_ssl_of(PyObject *object)
    poolio_tls_io *poolio_tls_attach(void *ssl)
    void poolio_tls_io_drop(poolio_tls_io *io)
    void poolio_free_spill(poolio_tls_io *io)
    int poolio_ssl_read(void *ssl, char *room, size_t size, size_t *got)
    int poolio_ssl_write(void *ssl, const char *data, size_t size, size_t *taken)
    bint poolio_ssl_has_pending(void *ssl)
    bint poolio_ssl_waits(void *ssl)
    bint poolio_ssl_has_ended(void *ssl)
    int poolio_ssl_version(void *ssl)
    void poolio_ssl_cleanse(void *ssl)
