/* The limit: what does TLS cost a C program with epoll, OpenSSL and static buffers?

   limit_tls PEM [idle]        prints its port, echoes until the end of standard input; PEM holds key and certificate
   limit_tls PEM sink          receives and drops; at a connection's end it says what came, as sink.c does with bulk data

   As limit.c, with what TLS cannot do without: an SSL object for each connection. All of them share one BIO, which reads
   from one static buffer and writes into another: what a peer has sent comes in one recv, records are decrypted from
   there, and the records of an answer leave in one send. OpenSSL itself copies each record twice, into a buffer of the
   connection and out of it. It holds two of these, of 17 KiB each; with "idle" it frees them after each record, which
   costs a thousand instructions a message. If a peer's window is full it waits for that peer alone, up to STALL_MS. */

#include "server.h"
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

enum { RECEIVED = 262144, SEALED = 524288, STALL_MS = 10000, TAIL = 16, PERIOD = 251 };

static char plain[RECEIVED], received[RECEIVED], sealed[SEALED];
static size_t received_at, received_end, sealed_size;  /* of the connection that is served now */
static SSL_CTX *context;
static BIO *shared;
static int is_sink;

typedef struct {                               /* of a sink, as sink.c has it */
    uint64_t count, wrong;
    size_t last_size;
    unsigned char last[TAIL];
} Sum;

static void fail_in_openssl(const char *what)
{
    ERR_print_errors_fp(stderr);
    fail(what);
}

/* --- what OpenSSL reads and writes by --- */

static int read_received(BIO *bio, char *room, int size)
{
    size_t left = received_end - received_at;
    BIO_clear_retry_flags(bio);
    if (left == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if ((size_t)size > left)
        size = (int)left;
    memcpy(room, received + received_at, (size_t)size);
    received_at += (size_t)size;
    return size;
}

static int write_sealed(BIO *bio, const char *data, int size)
{
    (void)bio;
    if ((size_t)size > SEALED - sealed_size)
        fail("more records than room");
    memcpy(sealed + sealed_size, data, (size_t)size);
    sealed_size += (size_t)size;
    return size;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static void make_shared(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "static buffers");
    if (!method || !BIO_meth_set_read(method, read_received) || !BIO_meth_set_write(method, write_sealed) ||
        !BIO_meth_set_ctrl(method, control) || !(shared = BIO_new(method)))
        fail_in_openssl("no BIO");
    BIO_set_init(shared, 1);
}

/* --- a connection: an SSL, which knows its descriptor, and its Sum --- */

static void open_connection(int fd)
{
    SSL *ssl = SSL_new(context);
    int yes = 1;
    if (!ssl || !BIO_up_ref(shared) || !SSL_set_ex_data(ssl, 0, (void *)(intptr_t)fd) ||
        !SSL_set_ex_data(ssl, 1, is_sink ? calloc(1, sizeof(Sum)) : NULL))
        fail_in_openssl("no memory for a connection");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    SSL_set_bio(ssl, shared, shared);
    SSL_set_accept_state(ssl);
    watch(fd, ssl);
}

/* 0: goes on; -1: the connection is over. */
static int send_sealed(int fd)
{
    size_t at = 0;
    while (at < sealed_size) {
        ssize_t sent = send(fd, sealed + at, sealed_size - at, MSG_NOSIGNAL);
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        if (sent >= 0)
            at += (size_t)sent;
        else if (errno != EAGAIN || poll(&room, 1, STALL_MS) != 1)
            return -1;
    }
    sealed_size = 0;
    return 0;
}

/* Decrypt what has come, as far as there is room; returns how much. *over: the connection is. */
static int open_records(SSL *ssl, int *over)
{
    int size = 0, n = 1;
    while (size < RECEIVED && (received_at < received_end || SSL_has_pending(ssl))) {
        n = SSL_read(ssl, plain + size, RECEIVED - size);
        if (n <= 0)
            break;
        size += n;
    }
    *over = n <= 0 && SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ;
    return size;
}

static void add(Sum *sum, int size)
{
    sum->wrong += (unsigned char)plain[0] != sum->count % PERIOD;
    sum->count += (uint64_t)size;
    sum->last_size = size < TAIL ? (size_t)size : TAIL;
    memcpy(sum->last, plain + size - sum->last_size, sum->last_size);
}

static void finish(SSL *ssl, int fd)
{
    Sum *sum = SSL_get_ex_data(ssl, 1);
    char line[128];
    if (sum) {
        int length = sprintf(line, "%llu %llu ", (unsigned long long)sum->count, (unsigned long long)sum->wrong);
        for (size_t i = 0; i < sum->last_size; i++)
            length += sprintf(line + length, "%02x", sum->last[i]);
        line[length++] = '\n';
        SSL_write(ssl, line, length);
    }
    ERR_clear_error();
    SSL_shutdown(ssl);
    send_sealed(fd);
    sealed_size = 0;
    free(sum);
    SSL_free(ssl);
    close(fd);
}

static void receive(void *who)
{
    SSL *ssl = who;
    int fd = (int)(intptr_t)SSL_get_ex_data(ssl, 0), size, over;
    ssize_t n = recv(fd, received, RECEIVED, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    received_at = 0;
    received_end = n > 0 ? (size_t)n : 0;
    do {
        size = open_records(ssl, &over);
        if (size > 0 && is_sink)
            add(SSL_get_ex_data(ssl, 1), size);
        else if (size > 0 && SSL_write(ssl, plain, size) != size)
            over = 1;
        if (send_sealed(fd) < 0)
            over = 1;
    } while (!over && size == RECEIVED);
    if (over || n <= 0)
        finish(ssl, fd);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 2 ? argv[2] : "";
    if (argc < 2) {
        fprintf(stderr, "usage: limit_tls PEM [idle | sink]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    is_sink = strcmp(mode, "sink") == 0;
    make_shared();
    context = SSL_CTX_new(TLS_server_method());
    if (!context || SSL_CTX_use_certificate_chain_file(context, argv[1]) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, argv[1], SSL_FILETYPE_PEM) != 1)
        fail_in_openssl(argv[1]);
    if (strcmp(mode, "idle") == 0)
        SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    serve();
    return 0;
}
