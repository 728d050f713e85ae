/* Owns the system calls for datagrams: reading and sending many in one call, trains, and the count of those that the
   kernel has dropped. Knows no Python. Used by datagram, inbox and outbox of the wire floor. As in net.h a system call
   returns its result or a negated errno, and is refused where there is no epoll.

   A batch is one recvmmsg. Each message has two rooms, used one after the other: its slot in the caller's memory, and a
   share of the overflow, which is seldom touched. So slots can be as small as what is expected, and no IP datagram is
   cut.

     room      [ slot 0 ][ slot 1 ][ slot 2 ] ...      overflow  [ share 0       ][ share 1       ] ...

   A train is one message that the kernel has made of many datagrams (UDP_GRO), or is going to cut into many
   (UDP_SEGMENT). All have the same length; only the last one can be shorter. */

#ifndef POOLIO_DATAGRAM_H
#define POOLIO_DATAGRAM_H

#include "net.h"

enum {
    POOLIO_BATCH = 32,              /* messages of one call; more gain nothing, as measured up to 64 */
    POOLIO_OVERFLOW = 2 << 20,      /* bytes: 65536 for each message of a batch, as much as an IP datagram can have */
    POOLIO_TRAIN = 64,              /* datagrams in a train to be sent: every kernel with UDP_SEGMENT takes as many */
    POOLIO_LONGEST = 65507,         /* bytes of an IPv4 datagram: 65535 without both headers */
    POOLIO_IP_LONGEST = 65536       /* bytes: no IP datagram or train that is received has more */
};

#if POOLIO_HAS_EPOLL      /* otherwise net_none.h has the refusals */

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

/* SK_MEMINFO_DROPS of <linux/sock_diag.h>, and room for more numbers than it has. */
enum { POOLIO_DROPS = 8, POOLIO_MEMINFO = 16 };

typedef struct {
    socklen_t length;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } of;
} poolio_name;

/* Room for notes of the kernel: about a train, and those that the maker of a socket may have asked for. */
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

/* Fills in what is the same in each call. */
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
/* Reads messages and returns how many came, at most `count`. No notes are taken from a local peer, because its
   descriptors would come with them. */
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
/* Reads one message, as message 0, into all of the room, and returns 1. recvmsg looks at the queue once, where recvmmsg
   looks again to find that there is no more. */
static inline int poolio_batch_receive_one(poolio_batch *batch, int fd, int is_local, char *room, size_t size,
                                           char *overflow, size_t share)
{
    struct msghdr *head = &batch->heads[0].msg_hdr;
    ptrdiff_t result;
    head->msg_namelen = sizeof batch->names[0].of;
    head->msg_controllen = is_local ? 0 : sizeof batch->control[0];
    head->msg_iovlen = size >= POOLIO_IP_LONGEST && !is_local ? 1 : 2;
    batch->rooms[0][0] = (struct iovec){room, size};
    batch->rooms[0][1] = (struct iovec){overflow, share};
    do
        result = recvmsg(fd, head, MSG_DONTWAIT | MSG_TRUNC);
    while (result < 0 && errno == EINTR);
    head->msg_iovlen = 2;
    batch->heads[0].msg_len = (unsigned)result;
    return result < 0 ? -errno : 1;
}
/* Returns the whole length of message i, even if not all of it is here. */
static inline ptrdiff_t poolio_batch_size(const poolio_batch *batch, int i)
{
    return (ptrdiff_t)batch->heads[i].msg_len;
}
static inline int poolio_batch_is_cut(const poolio_batch *batch, int i)
{
    return (batch->heads[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
}
/* Returns the length of each datagram of a train; 0 if message i is no train; -1 if that note was lost with others. */
static inline ptrdiff_t poolio_batch_train(poolio_batch *batch, int i)
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
    return length;
}
/* The sender of message i. Returns 1 and the address if it is an IP address; otherwise 0 and the path of the unix
   socket, whose length is 0 or less if it has none. */
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
/* Has message i come from the same IP address as the message before it? */
static inline int poolio_batch_same_sender(const poolio_batch *batch, int i)
{
    socklen_t length = batch->heads[i].msg_hdr.msg_namelen;
    return i > 0 && length >= sizeof(struct sockaddr_in) && length == batch->heads[i - 1].msg_hdr.msg_namelen &&
           memcmp(&batch->names[i].of, &batch->names[i - 1].of, length) == 0;
}
/* Has message i come from this IP address? */
static inline int poolio_batch_is_from(const poolio_batch *batch, int i, const poolio_address *address)
{
    socklen_t length = batch->heads[i].msg_hdr.msg_namelen;
    return length >= sizeof(struct sockaddr_in) && length == address->length &&
           memcmp(&batch->names[i].of, &address->of, length) == 0;
}
/* Maps the overflow. It is zero, and takes no memory, until it is written to; poolio_overflow_forget() makes it so
   again. */
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
/* Sends a train of datagrams of `each` bytes in one call. */
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
    const poolio_address *address;      /* NULL: where the socket is connected to */
} poolio_letter;
/* Sends `count` letters, POOLIO_BATCH at most. Returns how many were sent, or an error if not even the first was. */
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
/* Takes the error that an ICMP message has left at the socket. Returns its errno, which is not negated; 0 if there is
   none. */
static inline int poolio_take_error(int fd)
{
    int error = 0;
    socklen_t length = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 ? errno : error;
}
/* Asks the kernel to make trains of what arrives, if this is a UDP socket, and returns whether it is one. Trains only
   make things better, so an error is ignored. */
static inline int poolio_datagram_options(int fd)
{
    int yes = 1, protocol = 0, family = AF_UNSPEC;
    socklen_t length = sizeof protocol;
    if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) < 0 || protocol != IPPROTO_UDP)
        return 0;
    length = sizeof family;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) < 0 || (family != AF_INET && family != AF_INET6))
        return 0;
    setsockopt(fd, IPPROTO_UDP, UDP_GRO, &yes, sizeof yes);
    return 1;
}
/* Sets `drops` to the count of datagrams, or trains, that the socket's full receive queue has cost. It has 32 bits.
   SO_RXQ_OVFL would tell it with each datagram, whether anybody asks or not. */
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
