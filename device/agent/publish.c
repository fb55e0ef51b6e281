#include "device/agent/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "device/agent/handover.h"
#include "device/agent/inlet.h"

#define ANSWER_MAX 512

static int complain(const char *what, const char *why)
{
    (void)fprintf(stderr, "holdfast-agent: %s: %s\n", what, why);
    return 1;
}

/* All of it, up to a byte more than a payload may have. */
static enum err read_all(int fd, uint8_t *buffer, size_t max, size_t *ret_len)
{
    size_t len = 0;
    while (len < max) {
        ssize_t n = read(fd, buffer + len, max - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERR_IO;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    *ret_len = len;
    return ERR_NONE;
}

static enum err read_payload(const char *file, uint8_t *buffer, size_t max, size_t *ret_len)
{
    if (file == NULL || strcmp(file, "-") == 0)
        return read_all(STDIN_FILENO, buffer, max, ret_len);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    enum err err = read_all(fd, buffer, max, ret_len);
    int why = errno;
    (void)close(fd);
    errno = why;
    return err;
}

static const char *why_no_answer(enum err err)
{
    switch (err) {
    case ERR_NOT_FOUND:
        return "no agent listens there; is it running, with this 'telemetry-socket'?";
    case ERR_REFUSED:
        return "its file mode does not let you; see 'telemetry-socket-mode' and the agent's group";
    case ERR_TIMEOUT:
        return "the agent does not answer";
    case ERR_LIMIT:
        return "the path is too long for a socket";
    default:
        return strerror(errno);
    }
}

int publish(const struct publish_request *q)
{
    static uint8_t payload[PUBLISHER_PAYLOAD_MAX + 1], datagram[HANDOVER_MAX + 1];
    uint8_t answer[ANSWER_MAX];
    size_t len = 0;
    struct message m = {
        .topic = slice_of_text(q->topic), .quality = (uint8_t)q->quality, .retain = q->retain};
    if (memchr(q->topic, '\n', m.topic.len) != NULL || m.topic.len > PUBLISHER_TOPIC_MAX)
        return complain("the topic", "it has a line feed or more than 512 bytes");
    if (read_payload(q->file, payload, sizeof payload, &len) != ERR_NONE)
        return complain(q->file == NULL ? "standard input" : q->file, strerror(errno));
    if (len > PUBLISHER_PAYLOAD_MAX)
        return complain("the payload", "it has more than 16384 bytes");
    m.payload = slice_of(payload, len);
    struct writer w = writer_over(datagram, sizeof datagram);
    handover_write(&w, &m, q->wait_s > 0);
    enum err err =
        inlet_ask(q->socket, writer_bytes(&w), q->wait_s, answer, sizeof answer - 1, &len);
    if (err != ERR_NONE)
        return complain(q->socket, err == ERR_TIMEOUT && q->wait_s > 0
                                       ? "the broker has not taken it yet; it waits with the agent"
                                       : why_no_answer(err));
    answer[len] = '\0';
    return len > 0 && answer[0] == '+' ? 0 : complain(q->topic, (const char *)answer + (len > 0));
}

enum err publish_ask_status(const char *socket, bool json, uint8_t *buffer, size_t max,
                            struct slice *ret_status)
{
    size_t len = 0;
    enum err err =
        inlet_ask(socket, json ? SLICE_LITERAL("status json\n") : SLICE_LITERAL("status\n"), 0,
                  buffer, max, &len);
    if (err != ERR_NONE)
        return err;
    if (len < 2 || buffer[0] != '+')
        return ERR_SYNTAX;
    *ret_status = slice_of(buffer + 1, len - 1);
    return ERR_NONE;
}
