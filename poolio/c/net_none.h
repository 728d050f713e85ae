/* Owns the refusals of systems without epoll. The system calls of net.h and datagrams.h answer -ENOSYS; what has no
   error to answer with says 0, or does nothing. Included by net.h. The package builds and imports there; making a
   Reactor raises an error that says what is missing. */

#ifndef POOLIO_NET_NONE_H
#define POOLIO_NET_NONE_H

#define POOLIO_HAS_EPOLL 0

enum { AF_UNSPEC_HERE = 0, EPOLLIN = 1, EPOLLOUT = 4, EPOLLERR = 8, EPOLLHUP = 16, EPOLLET = 1 << 30 };
#ifndef AF_INET
#define AF_INET 2
#endif
#ifndef AF_INET6
#define AF_INET6 10
#endif
typedef struct { uint32_t events; uint64_t data; } poolio_event;
typedef struct { void *iov_base; size_t iov_len; } poolio_piece;
typedef struct { unsigned length; } poolio_address;

#define poolio_epoll_create() (-ENOSYS)
#define poolio_epoll_renew(old) ((void)(old), -ENOSYS)
#define poolio_epoll_set(epoll, fd, before, after, data) (-ENOSYS)
#define poolio_epoll_wait(epoll, events, count, milliseconds) (-ENOSYS)
#define poolio_waker_create() (-ENOSYS)
#define poolio_alarm_create() (-ENOSYS)
#define poolio_waiting(fd) (0)
#define poolio_alarm_set(fd, when) (-ENOSYS)
#define poolio_wake(fd) ((void)(fd), -ENOSYS)
#define poolio_event_data(event) ((event)->data)
#define poolio_recv(fd, room, size) ((ptrdiff_t)-ENOSYS)
#define poolio_send(fd, data, size) ((ptrdiff_t)-ENOSYS)
#define poolio_send_gathered(fd, pieces, count) ((ptrdiff_t)-ENOSYS)
#define poolio_accept(fd, peer) (-ENOSYS)
#define poolio_peer(fd, peer) (-ENOSYS)
#define poolio_own_address(fd, own) (-ENOSYS)
#define poolio_no_delay(fd) (-ENOSYS)
#define poolio_send_end(fd) (-ENOSYS)
#define poolio_close(fd) (-ENOSYS)
#define poolio_now() (0.0)
#define poolio_address_family(address) (0)
#define poolio_address_host(address, size) (*(size) = 0, "")
#define poolio_address_port(address) (0u)
#define poolio_address_flow(address) (0u)
#define poolio_address_scope(address) (0u)
#define poolio_same_address(one, other) (0)
#define poolio_address_hash(address) (0u)
#define poolio_numeric_address(address, family, host, port) (0)

/* for datagrams.h */
typedef struct { int none; } poolio_batch;
typedef struct { const char *data; size_t size; const poolio_address *address; } poolio_letter;

#define poolio_batch_prepare(batch) ((void)(batch))
#define poolio_batch_receive(batch, fd, count, is_local, room, slot, overflow, share) (-ENOSYS)
#define poolio_batch_receive_one(batch, fd, is_local, room, size, overflow, share) (-ENOSYS)
#define poolio_batch_size(batch, i) ((ptrdiff_t)0)
#define poolio_batch_is_cut(batch, i) (0)
#define poolio_batch_train(batch, i) ((ptrdiff_t)0)
#define poolio_batch_sender(batch, i, address, path, path_length) (*(path) = "", *(path_length) = 0, 0)
#define poolio_batch_same_sender(batch, i) (0)
#define poolio_batch_is_from(batch, i, address) (0)
#define poolio_overflow_map() ((char *)0)
#define poolio_overflow_forget(memory) ((void)(memory))
#define poolio_overflow_unmap(memory) ((void)(memory))
#define poolio_sendto(fd, data, size, address) ((ptrdiff_t)-ENOSYS)
#define poolio_send_train(fd, data, size, each, address) ((ptrdiff_t)-ENOSYS)
#define poolio_send_many(fd, letters, count) (-ENOSYS)
#define poolio_take_error(fd) (0)
#define poolio_datagram_options(fd) (0)
#define poolio_drops(fd, drops) (*(drops) = 0, -ENOSYS)

#endif
