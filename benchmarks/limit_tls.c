/* The limit: what does an echo over TLS cost a C program with epoll, OpenSSL and one static buffer?

   limit_tls PEM    prints its port, echoes until the end of standard input; PEM holds key and certificate

   As limit.c, with what TLS cannot do without: an SSL object for each connection. OpenSSL reads ahead, so what is there
   comes in one recv; records are gathered before they are sent, so an answer leaves in one send. If a peer's window is
   full it waits for that peer alone, up to STALL_MS. */

#include "server.h"
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>

enum { BUFFER_SIZE = 262144, GATHERED = 131072, STALL_MS = 10000 };

static char buffer[BUFFER_SIZE];
static SSL_CTX *context;

static void fail_in_openssl(const char *what)
{
    ERR_print_errors_fp(stderr);
    fail(what);
}

/* It is known by its SSL object. */
static void open_connection(int fd)
{
    SSL *ssl = SSL_new(context);
    BIO *gathering = BIO_new(BIO_f_buffer()), *to_socket = BIO_new_socket(fd, BIO_NOCLOSE);
    int yes = 1;
    if (!ssl || !gathering || !to_socket || !BIO_set_write_buffer_size(gathering, GATHERED))
        fail_in_openssl("no memory for a connection");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    SSL_set0_rbio(ssl, BIO_new_socket(fd, BIO_NOCLOSE));
    SSL_set0_wbio(ssl, BIO_push(gathering, to_socket));
    SSL_set_accept_state(ssl);
    watch(fd, ssl);
}

/* 0: goes on; -1: the connection is over. */
static int room_for_more(SSL *ssl)
{
    struct pollfd room = {.fd = SSL_get_rfd(ssl), .events = POLLOUT};
    return poll(&room, 1, STALL_MS) == 1 ? 0 : -1;
}

static int write_all(SSL *ssl, int size)
{
    int sent;
    while ((sent = SSL_write(ssl, buffer, size)) <= 0)
        if (SSL_get_error(ssl, sent) != SSL_ERROR_WANT_WRITE || room_for_more(ssl) < 0)
            return -1;
    return 0;
}

static int flush(SSL *ssl)
{
    while (BIO_flush(SSL_get_wbio(ssl)) <= 0)
        if (!BIO_should_retry(SSL_get_wbio(ssl)) || room_for_more(ssl) < 0)
            return -1;
    return 0;
}

/* All that OpenSSL holds, as far as the buffer goes; 0: nothing was whole; -1: the connection is over. */
static int echo_some(SSL *ssl)
{
    int got = 0, n;
    do {
        n = SSL_read(ssl, buffer + got, BUFFER_SIZE - got);
        if (n > 0)
            got += n;
    } while (n > 0 && got < BUFFER_SIZE && SSL_has_pending(ssl));
    if (n <= 0 && SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ)
        return -1;
    if ((got > 0 && write_all(ssl, got) < 0) || flush(ssl) < 0)
        return -1;
    return got;
}

static void receive(void *who)
{
    SSL *ssl = who;
    int got, fd = SSL_get_rfd(ssl);
    while ((got = echo_some(ssl)) > 0 && SSL_has_pending(ssl))
        ;
    if (got >= 0)
        return;
    ERR_clear_error();
    SSL_free(ssl);
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: limit_tls PEM\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    context = SSL_CTX_new(TLS_server_method());
    if (!context || SSL_CTX_use_certificate_chain_file(context, argv[1]) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, argv[1], SSL_FILETYPE_PEM) != 1)
        fail_in_openssl(argv[1]);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, 65536);
    serve();
    return 0;
}
