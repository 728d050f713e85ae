/* Owns the system calls of poolio's own transports (epoll, reading, sending, accepting, one clock), and the kernel's
   form of an address. Knows no Python. Used by the modules of the wire floor only, and by datagrams.h.

   Every system call returns its result (0 or more) or a negated errno, so nothing depends on errno between two calls.
   Reading, sending and accepting are repeated when a signal interrupts them. Waiting is not, because the caller wants
   to look at signals; closing is not, as poolio_close() says.
   Where there is no epoll, net_none.h answers these calls with -ENOSYS: the package builds, and the reactor refuses. */

#ifndef POOLIO_NET_H
#define POOLIO_NET_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__linux__) && !defined(POOLIO_WITHOUT_EPOLL)
#define POOLIO_HAS_EPOLL 1

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

typedef struct epoll_event poolio_event;
typedef struct iovec poolio_piece;
typedef struct {
    socklen_t length;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } of;
} poolio_address;

#define POOLIO_RETRY(result, call)                     \
    do {                                               \
        (result) = (call);                             \
    } while ((result) < 0 && errno == EINTR);          \
    return (result) < 0 ? -errno : (result)

static inline int poolio_epoll_create(void)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : fd;
}
/* A new instance in place of another, under the same number. The old one is closed here, and goes on where a process
   shares it; without a new one (-1 and so on) the number is free. */
static inline int poolio_epoll_renew(int old)
{
    int fd, result;
    close(old);
    fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0 || fd == old)
        return fd < 0 ? -errno : fd;
    result = dup3(fd, old, O_CLOEXEC) < 0 ? -errno : old;
    close(fd);
    return result;
}
static inline int poolio_epoll_set(int epoll, int fd, uint32_t before, uint32_t after, uint64_t data)
{
    struct epoll_event event = {.events = after, .data = {.u64 = data}};
    int what = after == 0 ? EPOLL_CTL_DEL : before == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    return epoll_ctl(epoll, what, fd, &event) < 0 ? -errno : 0;
}
static inline int poolio_epoll_wait(int epoll, poolio_event *events, int count, int milliseconds)
{
    int ready = epoll_wait(epoll, events, count, milliseconds);
    return ready < 0 ? -errno : ready;
}
/* A descriptor that others write to, to end a wait: each write is an event of its own (EPOLLET), so nobody reads it. */
static inline int poolio_waker_create(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}
static inline int poolio_wake(int fd)
{
    return eventfd_write(fd, 1) < 0 ? -errno : 0;
}
/* A descriptor that becomes readable at a time, which poolio_now() has reached by then. */
static inline int poolio_alarm_create(void)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}
static inline int poolio_alarm_set(int fd, double when)
{
    struct itimerspec time = {.it_value = {.tv_sec = (time_t)when}};
    long after = (long)((when - (double)time.it_value.tv_sec) * 1e9) + 1;
    time.it_value.tv_sec += after / 1000000000;
    time.it_value.tv_nsec = after % 1000000000;
    return timerfd_settime(fd, TFD_TIMER_ABSTIME, &time, NULL) < 0 ? -errno : 0;
}
static inline uint64_t poolio_event_data(const poolio_event *event)
{
    return event->data.u64;
}
static inline ptrdiff_t poolio_recv(int fd, void *room, size_t size)
{
    ptrdiff_t result;
    POOLIO_RETRY(result, recv(fd, room, size, 0));
}
static inline ptrdiff_t poolio_send(int fd, const void *data, size_t size)
{
    ptrdiff_t result;
    POOLIO_RETRY(result, send(fd, data, size, MSG_NOSIGNAL));
}
static inline ptrdiff_t poolio_send_gathered(int fd, poolio_piece *pieces, size_t count)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    ptrdiff_t result;
    POOLIO_RETRY(result, sendmsg(fd, &message, MSG_NOSIGNAL));
}
static inline int poolio_accept(int fd, poolio_address *peer)
{
    int result;
    peer->length = sizeof peer->of;
    POOLIO_RETRY(result, accept4(fd, &peer->of.any, &peer->length, SOCK_NONBLOCK | SOCK_CLOEXEC));
}
/* How many connections wait to be accepted; 0 if that is not known, as for a unix socket. */
static inline int poolio_waiting(int fd)
{
    struct tcp_info info = {.tcpi_unacked = 0};        /* where a listening socket tells it */
    socklen_t length = offsetof(struct tcp_info, tcpi_unacked) + sizeof info.tcpi_unacked;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0 || info.tcpi_state != TCP_LISTEN)
        return 0;
    return (int)info.tcpi_unacked;
}
static inline int poolio_peer(int fd, poolio_address *peer)
{
    peer->length = sizeof peer->of;
    return getpeername(fd, &peer->of.any, &peer->length) < 0 ? -errno : 0;
}
static inline int poolio_own_address(int fd, poolio_address *own)
{
    own->length = sizeof own->of;
    return getsockname(fd, &own->of.any, &own->length) < 0 ? -errno : 0;
}
static inline int poolio_no_delay(int fd)
{
    int yes = 1;
    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0 ? -errno : 0;
}
static inline int poolio_send_end(int fd)
{
    return shutdown(fd, SHUT_WR) < 0 ? -errno : 0;
}
static inline int poolio_close(int fd)
{
    return close(fd) < 0 ? -errno : 0;   /* never repeated: the number may be another socket's by then */
}
static inline double poolio_now(void)
{
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The parts of which Python makes an address: family, the 4 or 16 bytes of the host, port, flow label, scope. */
static inline int poolio_address_family(const poolio_address *address)
{
    return address->length == 0 ? AF_UNSPEC : address->of.any.sa_family;
}
static inline const char *poolio_address_host(const poolio_address *address, int *size)
{
    int is_v4 = address->of.any.sa_family == AF_INET;
    *size = is_v4 ? 4 : 16;
    return is_v4 ? (const char *)&address->of.v4.sin_addr : (const char *)&address->of.v6.sin6_addr;
}
static inline unsigned poolio_address_port(const poolio_address *address)
{
    return ntohs(address->of.any.sa_family == AF_INET ? address->of.v4.sin_port : address->of.v6.sin6_port);
}
static inline unsigned poolio_address_flow(const poolio_address *address)
{
    return ntohl(address->of.v6.sin6_flowinfo);
}
static inline unsigned poolio_address_scope(const poolio_address *address)
{
    return address->of.v6.sin6_scope_id;
}
static inline int poolio_same_address(const poolio_address *one, const poolio_address *other)
{
    return one->length == other->length && memcmp(&one->of, &other->of, one->length) == 0;
}
/* The hash is taken from high bits of the product, because all bits of the address reach them, and neighbouring ports
   differ in high bits. */
static inline uint32_t poolio_address_hash(const poolio_address *address)
{
    uint64_t hash = 0;
    uint32_t word;
    size_t at;
    for (at = 0; at + sizeof word <= address->length; at += sizeof word) {
        memcpy(&word, (const char *)&address->of + at, sizeof word);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    }
    return (uint32_t)(hash >> 40);
}
/* Makes the address of a host that is written in numbers. Returns 0 if the host is not. */
static inline int poolio_numeric_address(poolio_address *address, int family, const char *host, unsigned port)
{
    memset(address, 0, sizeof *address);
    address->of.any.sa_family = (sa_family_t)family;
    if (family == AF_INET) {
        address->length = sizeof address->of.v4;
        address->of.v4.sin_port = htons((uint16_t)port);
        return inet_pton(family, host, &address->of.v4.sin_addr) == 1;
    }
    address->length = sizeof address->of.v6;
    address->of.v6.sin6_port = htons((uint16_t)port);
    return inet_pton(family, host, &address->of.v6.sin6_addr) == 1;
}

#else
#include "net_none.h"
#endif

#endif
