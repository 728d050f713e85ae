/* The load generator for datagrams: sends as fast as it can, or asks and waits, and checks what comes back.

   flood PORT KIND FLOWS SECONDS SERVER_PID WINDOW_MS    prints one JSON object

   KIND is floodN (one way, N bytes a datagram, one send() each), trainsN (one way, with UDP_SEGMENT: as many of N bytes
   in one send() as fit), pacedN (as floodN, but one every PACE_NS) or flowsN (FLOWS sockets, a request of N bytes
   outstanding on each, the server sends the same back). A datagram begins with its number, 64 bits, little endian; what
   follows is made from the number. Numbers whose first byte is 255 are left out: such a datagram is a question, and the
   server answers it with the question, a line of how many datagrams it has received and the sum of their first bytes,
   and the last of them whole.

   UDP loses what its receiver has no room for, so what was sent tells nothing. In each window this program sends for
   WINDOW_MS, waits until the server's receive queue is empty, and asks. As the question waits behind all else, the
   answer counts all that the server has received so far, and its CPU time is read then: waking up is in it, and going
   to sleep again falls into the next window. A question without answer is sent again.

   A flood has two states, and each keeps itself up. A server that sleeps must be woken, which slows the sender down, so
   the server is soon asleep again, and takes what comes in ones and twos. A server that has fallen behind is not woken,
   the sender is faster than it, and it always finds as many as it can take. Which of them a window has is chance, and
   for batches it is half of the cost. So a flood is a row of backlogs, each sent while the server is stopped with
   SIGSTOP: that is the second state, whatever the sender's speed. Trains, which are sent faster than any server takes
   them one by one, begin with a backlog and go on. A server that keeps up is what pacedN shows.

   At the end what was sent and has not come must be what the kernel has counted as dropped (of a train that it had not
   yet cut up it counts one); without drops the sum must be right; the last datagram must be whole in any case. In flows
   every answer is compared byte for byte, and a request without answer is sent again. Wrong: a message and status 1. */

#define PROGRAM "flood"
#include "bench.h"
#include <netinet/udp.h>
#include <poll.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { SMALLEST = 16, LARGEST = 65000, MOST_SEGMENTS = 64, QUESTION = 0xFF, QUESTION_SIZE = 8, NUMBERS = 255,
       SENDS_A_TURN = 32, PACE_NS = 5000, ASK_AGAIN_MS = 100, ASK_MS = 5000, NAP_US = 200, LOOKS = 20,
       BACKLOG = 8192 };                       /* 4 MiB of receive buffer hold 10,000 small ones */
static const double WARM_UP = 0.15, GRACE = 20.0;
static const uint64_t RESEND_NS = 100000000;

typedef struct {
    int fd, waiting, resent;                   /* resent: at any time, so old answers may still come */
    uint64_t index;                            /* of the request */
    uint64_t sent_at;
} Flow;

typedef struct {
    uint64_t count, sum;
    const char *last;
    size_t last_size;
} Answer;

static enum { NONE, FLOOD, TRAINS, PACED, FLOWS } kind;
static size_t size, segments = 1;
static int question_fd, flood_fd, epoll_fd, flows, outstanding, asked_again;
static int server_port;
static uint64_t sent, resent, questions;
static Flow *flow;
static char train[LARGEST], room[65536], wanted[LARGEST];

static void choose(const char *name)
{
    if (sscanf(name, "flood%zu", &size) == 1)
        kind = FLOOD;
    else if (sscanf(name, "trains%zu", &size) == 1)
        kind = TRAINS;
    else if (sscanf(name, "paced%zu", &size) == 1)
        kind = PACED;
    else if (sscanf(name, "flows%zu", &size) == 1)
        kind = FLOWS;
    if (size < SMALLEST || size > LARGEST)
        fail("KIND is floodN, trainsN, pacedN or flowsN, N from 16 to 65000");
    if (kind == TRAINS)
        segments = LARGEST / size < MOST_SEGMENTS ? LARGEST / size : MOST_SEGMENTS;
}

/* The datagram of this index: its number, then words made from the number and their place. */
static void fill(char *at, uint64_t index)
{
    uint64_t number = index / NUMBERS << 8 | index % NUMBERS, word = number;
    size_t done;
    for (done = 0; done < size; done += sizeof word) {
        memcpy(at + done, &word, size - done < sizeof word ? size - done : sizeof word);
        word = (number + 1) * 0x9E3779B97F4A7C15u + done * 0xD1B54A32D192ED03u;
    }
}

/* If these bytes are a whole datagram with an index below `end`, it is left in `index`. */
static int is_whole(const char *data, size_t length, uint64_t end, uint64_t *index)
{
    uint64_t number;
    if (length != size)
        return 0;
    memcpy(&number, data, sizeof number);
    *index = (number >> 8) * NUMBERS + (number & 0xFF);
    if ((number & 0xFF) >= NUMBERS || *index >= end)
        return 0;
    fill(wanted, *index);
    return memcmp(data, wanted, size) == 0;
}

static int connected(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)server_port) };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("cannot open a socket");
    return fd;
}

static void send_datagrams(int fd, const char *data, size_t length)
{
    if (send(fd, data, length, 0) != (ssize_t)length)
        fail(errno == ECONNREFUSED ? "the server's socket is closed" : "cannot send");
}

/* Whether the server's socket was found. */
static int read_table(uint64_t *waiting, uint64_t *drops)
{
    char line[512];
    unsigned port;
    int found = 0;
    FILE *file = fopen("/proc/net/udp", "r");
    if (!file)
        fail("cannot read /proc/net/udp");
    while (!found && fgets(line, sizeof line, file))
        found = sscanf(line, " %*d: %*[0-9A-F]:%x %*s %*s %*[0-9A-F]:%lx %*s %*s %*s %*s %*s %*s %*s %lu",
                       &port, waiting, drops) == 3 && port == (unsigned)server_port;
    fclose(file);
    return found;
}

/* Bytes that wait in the server's receive queue, and datagrams dropped there. The kernel gives its table in pieces, and
   goes on by counting: a line may be missed if somebody closes another socket meanwhile. */
static void look_at_queue(uint64_t *waiting, uint64_t *drops)
{
    int tries;
    for (tries = 0; tries < LOOKS; tries++)
        if (read_table(waiting, drops))
            return;
    errno = 0;
    fail("the server's socket is not in /proc/net/udp: it is closed, or of IPv6");
}

static uint64_t drops_so_far(void)
{
    uint64_t waiting, drops;
    look_at_queue(&waiting, &drops);
    return drops;
}

static void wait_until_drained(void)
{
    uint64_t end = now_ns() + (uint64_t)(GRACE * 1e9), waiting, drops;
    for (look_at_queue(&waiting, &drops); waiting; look_at_queue(&waiting, &drops)) {
        errno = 0;
        if (now_ns() > end)
            fail("the server does not receive what waits for it");
        usleep(NAP_US);
    }
}

static Answer ask(void)
{
    struct pollfd ready = { .fd = question_fd, .events = POLLIN };
    unsigned long long count, sum;
    unsigned char question[QUESTION_SIZE] = { QUESTION };
    Answer answer;
    ssize_t n;
    int tries, at;
    questions += 1;
    memcpy(question + 1, &questions, QUESTION_SIZE - 1);
    wait_until_drained();
    for (tries = 0; tries < ASK_MS / ASK_AGAIN_MS; tries++) {
        asked_again += tries > 0;
        send_datagrams(question_fd, (char *)question, sizeof question);
        while (poll(&ready, 1, ASK_AGAIN_MS) > 0) {
            n = recv(question_fd, room, sizeof room - 1, 0);
            if (n < 0)
                fail("the server's socket is closed");
            room[n] = 0;
            if (n < QUESTION_SIZE || memcmp(room, question, sizeof question) != 0)
                continue;                      /* the answer to an earlier one */
            errno = 0;
            if (sscanf(room + QUESTION_SIZE, "%llu %llu%n", &count, &sum, &at) != 2 || room[QUESTION_SIZE + at] != '\n')
                fail("the server did not say what it has received");
            at += QUESTION_SIZE + 1;
            answer = (Answer){ count, sum, room + at, (size_t)(n - at) };
            return answer;
        }
    }
    errno = 0;
    fail("the server does not answer");
    exit(1);
}

static void send_next(void)
{
    size_t i;
    for (i = 0; i < segments; i++)
        fill(train + i * size, sent++);
    send_datagrams(flood_fd, train, segments * size);
}

static void make_backlog(pid_t pid)
{
    uint64_t end = sent + BACKLOG;
    if (kill(pid, SIGSTOP) < 0)
        fail("cannot stop the server");
    while (sent < end)
        send_next();
    if (kill(pid, SIGCONT) < 0)
        fail("cannot continue the server");
}

static void flood(uint64_t end)
{
    size_t i;
    while (now_ns() < end)
        for (i = 0; i < (kind == TRAINS ? 1 : SENDS_A_TURN); i++)
            send_next();
}

static void pace(uint64_t end)
{
    uint64_t due = now_ns();
    for (; due < end; due += PACE_NS) {
        while (now_ns() < due)
            ;
        send_next();
    }
}

static void request(Flow *f, uint64_t index)
{
    f->index = index;
    f->sent_at = now_ns();
    f->waiting = 1;
    fill(train, index);
    send_datagrams(f->fd, train, size);
}

/* Whether the answer has come. */
static int answered(Flow *f)
{
    ssize_t n = recv(f->fd, room, sizeof room, MSG_DONTWAIT);
    uint64_t index;
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n < 0)
        fail("the server's socket is closed");
    errno = 0;
    if (!is_whole(room, (size_t)n, sent, &index))
        fail("an answer is not what was sent");
    if (index == f->index && f->waiting)
        return 1;
    if (!f->resent)
        fail("an answer belongs to another request");
    return 0;
}

static void resend_the_lost(void)
{
    uint64_t now = now_ns();
    int i;
    for (i = 0; i < flows; i++)
        if (flow[i].waiting && now > flow[i].sent_at + RESEND_NS) {
            flow[i].resent = 1;
            resent += 1;
            request(&flow[i], flow[i].index);
        }
}

/* Ends when it is time and every request has its answer. */
static void converse(uint64_t end)
{
    struct epoll_event events[256];
    uint64_t give_up = end + (uint64_t)(ASK_MS * 1e6), now;
    int i, n;
    for (i = 0; i < flows; i++, outstanding++)
        request(&flow[i], sent++);
    while (outstanding) {
        n = epoll_wait(epoll_fd, events, 256, 0);
        now = now_ns();
        for (i = 0; i < n; i++) {
            Flow *f = events[i].data.ptr;
            if (!answered(f))
                continue;
            f->waiting = 0;
            if (now < end)
                request(f, sent++);
            else
                outstanding--;
        }
        errno = 0;
        if (now > give_up)
            fail("the server does not answer");
        if (n == 0)
            resend_the_lost();
    }
}

static void open_sockets(void)
{
    struct rlimit files;
    int i, segment = (int)size;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    question_fd = connected();
    if (kind != FLOWS) {
        flood_fd = connected();
        if (kind == TRAINS && setsockopt(flood_fd, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment) < 0)
            fail("this kernel has no UDP_SEGMENT");
        return;
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    flow = calloc((size_t)flows, sizeof *flow);
    if (epoll_fd < 0 || !flow)
        fail("no memory for the flows");
    for (i = 0; i < flows; i++) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = &flow[i] };
        flow[i].fd = connected();
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, flow[i].fd, &event) < 0)
            fail("epoll_ctl");
    }
}

static void check(const Answer *answer, uint64_t drops)
{
    uint64_t all = sent + resent, lost = all - answer->count, rest = sent % NUMBERS, index;
    errno = 0;
    if (answer->count > all)
        fail("the server has received more datagrams than were sent");
    if (lost > drops * segments || lost + (uint64_t)asked_again < drops)
        fail("what the server has not received is not what its kernel has dropped");
    if (!lost && !resent && answer->sum != sent / NUMBERS * (NUMBERS * (NUMBERS - 1) / 2) + rest * (rest - 1) / 2)
        fail("the first bytes of what the server has received are not those that were sent");
    if (!is_whole(answer->last, answer->last_size, sent, &index))
        fail("the last datagram that the server has received is none that was sent");
    if (kind != FLOWS && !lost && index != sent - 1)
        fail("the last datagram that the server has received is not the last one sent");
}

static void run_window(uint64_t length, pid_t pid)
{
    uint64_t end = now_ns() + length;
    if (kind == FLOWS)
        converse(end);
    else if (kind == PACED)
        pace(end);
    else
        do {
            make_backlog(pid);
            if (kind == TRAINS)
                flood(end);
            wait_until_drained();
        } while (now_ns() < end);
}

static void measure(double seconds, pid_t pid, double window_ms)
{
    static uint64_t window_count[MAX_WINDOWS], window_cpu[MAX_WINDOWS];
    uint64_t window, drops = drops_so_far(), end, cpu, last_cpu, first_count, last_count;
    int perf_fd = open_task_clock(pid), count = 0, i;
    Answer answer = ask();
    if (answer.count)
        fail("the server has received something before");
    suit_the_clock(perf_fd, &seconds, &window_ms);
    window = (uint64_t)(window_ms * 1e6);
    for (end = now_ns() + (uint64_t)(WARM_UP * 1e9); now_ns() < end; answer = ask())
        run_window(window, pid);
    last_cpu = cpu_ns(perf_fd, pid);
    first_count = last_count = answer.count;
    end = now_ns() + (uint64_t)(seconds * 1e9);
    while ((now_ns() < end || last_count == first_count) && count < MAX_WINDOWS) {
        run_window(window, pid);
        answer = ask();
        cpu = cpu_ns(perf_fd, pid);
        window_count[count] = answer.count - last_count;
        window_cpu[count++] = cpu - last_cpu;
        last_cpu = cpu;
        last_count = answer.count;
    }
    check(&answer, drops_so_far() - drops);
    printf("{\"clock\": \"%s\", \"sent\": %lu, \"received\": %lu, \"resent\": %lu, \"segments\": %zu, \"windows\": [",
           clock_name(perf_fd), sent, answer.count, resent, segments);
    for (i = 0; i < count; i++)
        printf("%s[%lu, %lu]", i ? ", " : "", window_count[i], window_cpu[i]);
    printf("]}\n");
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "usage: flood PORT KIND FLOWS SECONDS SERVER_PID WINDOW_MS\n");
        return 2;
    }
    server_port = atoi(argv[1]);
    choose(argv[2]);
    flows = atoi(argv[3]);
    if (flows < 1)
        fail("FLOWS is 1 or more");
    signal(SIGALRM, out_of_time);
    alarm((unsigned)(2 * GRACE + atof(argv[4])));
    pin_to_last_core();
    open_sockets();
    measure(atof(argv[4]), (pid_t)atoi(argv[5]), atof(argv[6]));
    return 0;
}
