/* The limit: what does it cost a C program to receive datagrams, one in a call, 32 in a call, or as a train?

   dgram KIND METHOD    prints its port, receives until the end of standard input; KIND as flood has it

   METHOD is recvfrom (in flows answered with sendto), recvmmsg (with sendmmsg) or gro (recvmsg with UDP_GRO: what the
   kernel has kept together is walked over here; not for flows). All of them block. Datagrams are noted as every server
   of endpoints.py does it, and questions are answered. There are two sets of rooms, used in turn, so the last datagram
   stays where it was received. */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { BATCH = 32, SMALL_ROOM = 2048, LARGE_ROOM = 65536, RCVBUF_BYTES = 4 << 20, QUESTION = 0xFF };

typedef struct sockaddr_in Address;

static struct mmsghdr batches[2][BATCH];
static struct iovec parts[2][BATCH];
static Address senders[2][BATCH];
static char rooms[2][BATCH * LARGE_ROOM];
static int fd, turn, replies;                  /* turn: which set of rooms is received into */
static size_t room_size = SMALL_ROOM;
static uint64_t count, sum;
static const char *last = "";
static size_t last_size;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void answer(const char *question, size_t size, const Address *to)
{
    static char text[LARGE_ROOM];
    size_t length;
    memcpy(text, question, size);
    length = size + (size_t)sprintf(text + size, "%llu %llu\n", (unsigned long long)count, (unsigned long long)sum);
    memcpy(text + length, last, last_size);
    if (sendto(fd, text, length + last_size, 0, (const struct sockaddr *)to, sizeof *to) < 0)
        fail("sendto");
}

/* 0: it was a question. */
static inline int note(const char *data, size_t size, const Address *from)
{
    unsigned char first = (unsigned char)data[0];
    if (first == QUESTION) {
        answer(data, size, from);
        return 0;
    }
    count += 1;
    sum += first;
    last = data;
    last_size = size;
    return 1;
}

static void receive_one(void)
{
    char *data = rooms[turn];
    Address from;
    socklen_t length = sizeof from;
    ssize_t n = recvfrom(fd, data, LARGE_ROOM, 0, (struct sockaddr *)&from, &length);
    if (n < 0)
        fail("recvfrom");
    if (n == 0 || !note(data, (size_t)n, &from))
        return;
    turn ^= 1;
    if (replies && sendto(fd, data, (size_t)n, 0, (struct sockaddr *)&from, length) < 0)
        fail("sendto");
}

static void send_all(struct mmsghdr *messages, int number)
{
    int sent;
    for (; number > 0; messages += sent, number -= sent) {
        sent = sendmmsg(fd, messages, (unsigned)number, 0);
        if (sent < 0)
            fail("sendmmsg");
    }
}

static void prepare_batches(void)
{
    int set, i;
    for (set = 0; set < 2; set++)
        for (i = 0; i < BATCH; i++) {
            parts[set][i] = (struct iovec){rooms[set] + (size_t)i * room_size, room_size};
            batches[set][i].msg_hdr = (struct msghdr){.msg_name = &senders[set][i], .msg_namelen = sizeof(Address),
                                                      .msg_iov = &parts[set][i], .msg_iovlen = 1};
        }
}

static void receive_batch(void)
{
    static struct mmsghdr answers[BATCH];
    struct mmsghdr *batch = batches[turn];
    struct iovec *part = parts[turn];
    int i, noted = 0, n = recvmmsg(fd, batch, BATCH, MSG_WAITFORONE, NULL);
    if (n < 0)
        fail("recvmmsg");
    for (i = 0; i < n; i++) {
        if (batch[i].msg_hdr.msg_flags & MSG_TRUNC)
            fail("a datagram is larger than its room");
        part[i].iov_len = batch[i].msg_len;
        if (batch[i].msg_len > 0 && note(part[i].iov_base, batch[i].msg_len, batch[i].msg_hdr.msg_name))
            answers[noted++].msg_hdr = batch[i].msg_hdr;
    }
    turn ^= noted > 0;
    if (replies)
        send_all(answers, noted);
    for (i = 0; i < n; i++)
        part[i].iov_len = room_size;
}

static size_t segment_size(struct msghdr *message, size_t all)
{
    struct cmsghdr *c;
    int size;
    for (c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            memcpy(&size, CMSG_DATA(c), sizeof size);
            return (size_t)size;
        }
    return all;
}

static void receive_train(void)
{
    char *data = rooms[turn];
    Address from;
    union {
        struct cmsghdr aligned;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {data, LARGE_ROOM};
    struct msghdr message = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1,
                             .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &message, 0);
    size_t at, size, all = (size_t)n;
    int noted = 0;
    if (n < 0)
        fail("recvmsg");
    size = segment_size(&message, all);
    for (at = 0; at < all; at += size)
        noted |= note(data + at, all - at < size ? all - at : size, &from);
    turn ^= noted;
}

static int open_socket(void)
{
    Address address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int bytes = RCVBUF_BYTES, s = socket(AF_INET, SOCK_DGRAM, 0);
    if (s < 0 || bind(s, (struct sockaddr *)&address, length) < 0)
        fail("bind");
    if (setsockopt(s, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) < 0)
        fail("SO_RCVBUF");
    if (getsockname(s, (struct sockaddr *)&address, &length) < 0)
        fail("getsockname");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return s;
}

/* As the receiver is blocked in its call, a second process reads standard input, and ends it. */
static void end_with_standard_input(void)
{
    char byte;
    pid_t server = getpid();
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child > 0)
        return;
    close(STDOUT_FILENO);
    close(STDERR_FILENO);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    if (getppid() == server)
        kill(server, SIGTERM);
    _exit(0);
}

int main(int argc, char **argv)
{
    int yes = 1;
    void (*receive)(void) = NULL;
    const char *digits;
    if (argc == 3 && strcmp(argv[2], "recvfrom") == 0)
        receive = receive_one;
    if (argc == 3 && strcmp(argv[2], "recvmmsg") == 0)
        receive = receive_batch;
    if (argc == 3 && strcmp(argv[2], "gro") == 0)
        receive = receive_train;
    if (receive == NULL) {
        fprintf(stderr, "usage: dgram KIND recvfrom|recvmmsg|gro\n");
        return 2;
    }
    replies = strncmp(argv[1], "flows", 5) == 0;
    digits = argv[1] + strcspn(argv[1], "0123456789");
    if (atoi(digits) > SMALL_ROOM)
        room_size = LARGE_ROOM;
    prepare_batches();
    end_with_standard_input();
    fd = open_socket();
    if (receive == receive_train && setsockopt(fd, IPPROTO_UDP, UDP_GRO, &yes, sizeof yes) < 0)
        fail("UDP_GRO");
    for (;;)
        receive();
}
