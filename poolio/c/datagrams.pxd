# Declares datagrams.h: the system calls for datagrams, many in one. Each returns 0 or more, or a negated errno; only
# poolio_take_error() returns an errno as it is.

from poolio.c.net cimport poolio_address

cdef extern from "poolio/c/datagrams.h" nogil:
    enum:
        POOLIO_BATCH
        POOLIO_OVERFLOW
        POOLIO_TRAIN
        POOLIO_LONGEST

    # reading
    ctypedef struct poolio_batch:
        pass
    void poolio_batch_prepare(poolio_batch *batch)
    int poolio_batch_receive(
        poolio_batch *batch, int fd, int count, bint is_local, char *room, size_t slot, char *overflow, size_t share)
    int poolio_batch_receive_one(
        poolio_batch *batch, int fd, bint is_local, char *room, size_t size, char *overflow, size_t share)
    Py_ssize_t poolio_batch_size(const poolio_batch *batch, int i)
    bint poolio_batch_is_cut(const poolio_batch *batch, int i)
    Py_ssize_t poolio_batch_train(poolio_batch *batch, int i)
    bint poolio_batch_same_sender(const poolio_batch *batch, int i)
    bint poolio_batch_is_from(const poolio_batch *batch, int i, const poolio_address *address)
    bint poolio_batch_sender(
        const poolio_batch *batch, int i, poolio_address *address, const char **path, Py_ssize_t *length)
    char *poolio_overflow_map()
    void poolio_overflow_forget(char *memory)
    void poolio_overflow_unmap(char *memory)

    # sending
    ctypedef struct poolio_letter:
        const char *data
        size_t size
        const poolio_address *address
    Py_ssize_t poolio_sendto(int fd, const void *data, size_t size, const poolio_address *address)
    Py_ssize_t poolio_send_train(int fd, const void *data, size_t size, size_t each, const poolio_address *address)
    int poolio_send_many(int fd, const poolio_letter *letters, int count)

    # the socket
    int poolio_take_error(int fd)
    bint poolio_datagram_options(int fd)
    int poolio_drops(int fd, unsigned int *drops)
