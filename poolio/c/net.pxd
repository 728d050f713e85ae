# Declares net.h: the system calls of the wire floor. Each returns 0 or more, or a negated errno.

from libc.stdint cimport uint64_t

cdef extern from "poolio/c/net.h" nogil:
    const int AF_INET
    const int AF_INET6

    # epoll
    enum:
        POOLIO_HAS_EPOLL
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLLET
    ctypedef struct poolio_event:
        unsigned int events
    int poolio_epoll_create()
    int poolio_epoll_renew(int old)
    int poolio_epoll_set(int epoll, int fd, unsigned int before, unsigned int after, uint64_t data)
    int poolio_epoll_wait(int epoll, poolio_event *events, int count, int milliseconds)
    int poolio_waker_create()
    int poolio_alarm_create()
    int poolio_waiting(int fd)
    int poolio_alarm_set(int fd, double when)
    int poolio_wake(int fd)
    uint64_t poolio_event_data(const poolio_event *event)
    double poolio_now()

    # sockets
    ctypedef struct poolio_address:
        pass
    ctypedef struct poolio_piece:
        void *iov_base
        size_t iov_len
    Py_ssize_t poolio_recv(int fd, void *room, size_t size)
    Py_ssize_t poolio_send(int fd, const void *data, size_t size)
    Py_ssize_t poolio_send_gathered(int fd, poolio_piece *pieces, size_t count)
    int poolio_accept(int fd, poolio_address *peer)
    int poolio_peer(int fd, poolio_address *peer)
    int poolio_own_address(int fd, poolio_address *own)
    int poolio_no_delay(int fd)
    int poolio_send_end(int fd)
    int poolio_close(int fd)

    # addresses
    int poolio_address_family(const poolio_address *address)
    const char *poolio_address_host(const poolio_address *address, int *size)
    unsigned int poolio_address_port(const poolio_address *address)
    unsigned int poolio_address_flow(const poolio_address *address)
    unsigned int poolio_address_scope(const poolio_address *address)
    bint poolio_same_address(const poolio_address *one, const poolio_address *other)
    unsigned int poolio_address_hash(const poolio_address *address)
    bint poolio_numeric_address(poolio_address *address, int family, const char *host, unsigned int port)
