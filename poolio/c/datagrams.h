/* Owns the system calls for datagrams: many in one call, in trains, to an address, and what the kernel has dropped.
   Knows no Python. As in net.h every call returns its result or a negated errno, and refuses where there is no epoll.

   A batch is one recvmmsg. Each message has two rooms, used one after the other: its slot in the caller's memory, and a
   share of the overflow, which is seldom touched. So slots can be as small as what is expected, and nothing is cut.

     room      [ slot 0 ][ slot 1 ][ slot 2 ] ...      overflow  [ share 0       ][ share 1       ] ...

   A train is a datagram that the kernel has made of many (UDP_GRO), or is going to cut into many (UDP_SEGMENT), each of
   the same length but for the last. */

#ifndef POOLIO_DATAGRAM_H
#define POOLIO_DATAGRAM_H

#include "net.h"

enum {
    POOLIO_BATCH = 32,              /* messages of one call: more gain nothing, measured up to 64 */
    POOLIO_OVERFLOW = 2 << 20,      /* bytes: 65536 for each message of a batch, as much as an IP datagram can have */
    POOLIO_TRAIN = 64,              /* datagrams in a train to be sent: the least that kernels with UDP_SEGMENT take */
    POOLIO_LONGEST = 65507          /* bytes of an IPv4 datagram: 65535 without both headers */
};

#if POOLIO_HAS_EPOLL      /* else net_none.h has the refusals */

#include <sys/mman.h>
#include <sys/un.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

enum { POOLIO_DROPS = 8, POOLIO_MEMINFO = 16 };     /* SK_MEMINFO_DROPS of <linux/sock_diag.h>; room for more than it has */

typedef struct {
    socklen_t length;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } of;
} poolio_name;

/* Notes of the kernel: the train's, the drops', and what a socket that somebody has made may have asked for. */
typedef union {
    struct cmsghdr aligned;
    char bytes[256];
} poolio_control;

typedef struct {
    struct mmsghdr heads[POOLIO_BATCH];
    struct iovec rooms[POOLIO_BATCH][2];
    poolio_name names[POOLIO_BATCH];
    poolio_control control[POOLIO_BATCH];
} poolio_batch;

/* What is the same in each call. */
static inline void poolio_batch_prepare(poolio_batch *batch)
{
    int i;
    memset(batch, 0, sizeof *batch);
    for (i = 0; i < POOLIO_BATCH; i++) {
        struct msghdr *head = &batch->heads[i].msg_hdr;
        head->msg_iov = batch->rooms[i];
        head->msg_iovlen = 2;
        head->msg_name = &batch->names[i].of;
        head->msg_control = &batch->control[i];
    }
}
/* How many messages came, at most `count`. From a local peer no notes are taken: with them come its descriptors. */
static inline int poolio_batch_receive(poolio_batch *batch, int fd, int count, int is_local, char *room, size_t slot,
                                       char *overflow, size_t share)
{
    int i, result;
    for (i = 0; i < count; i++) {
        batch->heads[i].msg_hdr.msg_namelen = sizeof batch->names[i].of;
        batch->heads[i].msg_hdr.msg_controllen = is_local ? 0 : sizeof batch->control[i];
        batch->rooms[i][0] = (struct iovec){room + (size_t)i * slot, slot};
        batch->rooms[i][1] = (struct iovec){overflow + (size_t)i * share, share};
    }
    POOLIO_RETRY(result, recvmmsg(fd, batch->heads, (unsigned)count, MSG_DONTWAIT | MSG_TRUNC, NULL));
}
/* Of message i: its whole length, also if not all of it is here. */
static inline ptrdiff_t poolio_batch_size(const poolio_batch *batch, int i)
{
    return (ptrdiff_t)batch->heads[i].msg_len;
}
static inline int poolio_batch_is_cut(const poolio_batch *batch, int i)
{
    return (batch->heads[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
}
/* The length of each datagram of a train, 0 if it is none, -1 if that was lost with other notes; and the socket's count
   of drops so far, if it was told. */
static inline ptrdiff_t poolio_batch_train(poolio_batch *batch, int i, uint32_t *drops)
{
    struct msghdr *head = &batch->heads[i].msg_hdr;
    struct cmsghdr *note;
    int length = 0;
    if (head->msg_flags & MSG_CTRUNC)
        return -1;
    if (head->msg_controllen == 0)
        return 0;
    for (note = CMSG_FIRSTHDR(head); note != NULL; note = CMSG_NXTHDR(head, note))
        if (note->cmsg_level == IPPROTO_UDP && note->cmsg_type == UDP_GRO && note->cmsg_len >= CMSG_LEN(sizeof length))
            memcpy(&length, CMSG_DATA(note), sizeof length);
        else if (note->cmsg_level == SOL_SOCKET && note->cmsg_type == SO_RXQ_OVFL &&
                 note->cmsg_len >= CMSG_LEN(sizeof *drops))
            memcpy(drops, CMSG_DATA(note), sizeof *drops);
    return length;
}
/* Who has sent it: 1 and the address, if it is an IP address; else 0, and the unix socket's path, -1 long if none. */
static inline int poolio_batch_sender(const poolio_batch *batch, int i, poolio_address *address, const char **path,
                                      ptrdiff_t *path_length)
{
    const poolio_name *name = &batch->names[i];
    socklen_t length = batch->heads[i].msg_hdr.msg_namelen;
    if (length > 0 && (name->of.any.sa_family == AF_INET || name->of.any.sa_family == AF_INET6)) {
        address->length = length;
        memcpy(&address->of, &name->of, sizeof address->of);
        return 1;
    }
    *path = name->of.local.sun_path;
    *path_length = (ptrdiff_t)length - (ptrdiff_t)offsetof(struct sockaddr_un, sun_path);
    if (*path_length > 0 && (*path)[0] != 0)
        *path_length = (ptrdiff_t)strnlen(*path, (size_t)*path_length);
    return 0;
}
/* Has message i come from the same IP address as the one before it? */
static inline int poolio_batch_same_sender(const poolio_batch *batch, int i)
{
    socklen_t length = batch->heads[i].msg_hdr.msg_namelen;
    return i > 0 && length >= sizeof(struct sockaddr_in) && length == batch->heads[i - 1].msg_hdr.msg_namelen &&
           memcmp(&batch->names[i].of, &batch->names[i - 1].of, length) == 0;
}
/* Memory that is zero until it is written to, and takes no room until then. */
static inline char *poolio_overflow_map(void)
{
    void *memory = mmap(NULL, POOLIO_OVERFLOW, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}
static inline void poolio_overflow_forget(char *memory)
{
    madvise(memory, POOLIO_OVERFLOW, MADV_DONTNEED);
}
static inline void poolio_overflow_unmap(char *memory)
{
    munmap(memory, POOLIO_OVERFLOW);
}

static inline struct sockaddr *poolio_sockaddr(const poolio_address *address)
{
    return address == NULL ? NULL : (struct sockaddr *)&address->of;
}
static inline ptrdiff_t poolio_sendto(int fd, const void *data, size_t size, const poolio_address *address)
{
    ptrdiff_t result;
    POOLIO_RETRY(result, sendto(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT, poolio_sockaddr(address),
                                address == NULL ? 0 : address->length));
}
/* One call for a train of datagrams of `each` bytes. */
static inline ptrdiff_t poolio_send_train(int fd, const void *data, size_t size, size_t each,
                                          const poolio_address *address)
{
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
    } control = {.bytes = {0}};
    struct iovec piece = {(void *)data, size};
    struct msghdr head = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control,
                          .msg_controllen = sizeof control, .msg_name = poolio_sockaddr(address),
                          .msg_namelen = address == NULL ? 0 : address->length};
    struct cmsghdr *note = CMSG_FIRSTHDR(&head);
    uint16_t length = (uint16_t)each;
    ptrdiff_t result;
    note->cmsg_level = IPPROTO_UDP;
    note->cmsg_type = UDP_SEGMENT;
    note->cmsg_len = CMSG_LEN(sizeof length);
    memcpy(CMSG_DATA(note), &length, sizeof length);
    POOLIO_RETRY(result, sendmsg(fd, &head, MSG_NOSIGNAL | MSG_DONTWAIT));
}
typedef struct {
    const char *data;
    size_t size;
    const poolio_address *address;      /* NULL: to where the socket is connected */
} poolio_letter;
/* How many of the letters were sent, POOLIO_BATCH at most; an error if not even the first. */
static inline int poolio_send_many(int fd, const poolio_letter *letters, int count)
{
    struct mmsghdr heads[POOLIO_BATCH];
    struct iovec pieces[POOLIO_BATCH];
    int i, result;
    for (i = 0; i < count; i++) {
        const poolio_letter *letter = &letters[i];
        pieces[i] = (struct iovec){(void *)letter->data, letter->size};
        heads[i] = (struct mmsghdr){.msg_hdr = {
            .msg_iov = &pieces[i], .msg_iovlen = 1, .msg_name = poolio_sockaddr(letter->address),
            .msg_namelen = letter->address == NULL ? 0 : letter->address->length}};
    }
    POOLIO_RETRY(result, sendmmsg(fd, heads, (unsigned)count, MSG_NOSIGNAL | MSG_DONTWAIT));
}
/* The error that an ICMP message has left at the socket; 0: none. */
static inline int poolio_take_error(int fd)
{
    int error = 0;
    socklen_t length = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 ? errno : error;
}
/* Let trains be received as such, if it is a UDP socket, and drops be told: both are only better with it. Is it one? */
static inline int poolio_datagram_options(int fd)
{
    int yes = 1, protocol = 0, family = AF_UNSPEC;
    socklen_t length = sizeof protocol;
    setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &yes, sizeof yes);
    if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) < 0 || protocol != IPPROTO_UDP)
        return 0;
    length = sizeof family;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) < 0 || (family != AF_INET && family != AF_INET6))
        return 0;
    setsockopt(fd, IPPROTO_UDP, UDP_GRO, &yes, sizeof yes);
    return 1;
}
/* What the socket's full receive queue has cost: datagrams, or trains. A count of 32 bits. */
static inline int poolio_drops(int fd, uint32_t *drops)
{
    uint32_t info[POOLIO_MEMINFO] = {0};
    socklen_t length = sizeof info;
    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length) < 0)
        return -errno;
    *drops = info[POOLIO_DROPS];
    return 0;
}

#endif

#endif
