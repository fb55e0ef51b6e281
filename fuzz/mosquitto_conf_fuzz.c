/* Mosquitto's configuration, as others wrote it: it is read to its end or refused at a line that is
 * there; comments and blanks change nothing; what a line is about does not depend on how it ends;
 * and it can be judged, whatever it says. */
#include "cli/mosquitto_conf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static enum err read_all(struct mosquitto_conf *conf, struct slice text, unsigned *ret_line)
{
    enum err err = ERR_NONE;
    mosquitto_conf_init(conf);
    *ret_line = 0;
    while (text.len > 0 && err == ERR_NONE) {
        char include[MOSQUITTO_VALUE_MAX];
        const uint8_t *before = text.data;
        memset(include, 'x', sizeof include);
        err = mosquitto_conf_take(conf, &text, include, ret_line);
        assert(text.data > before);
        assert(memchr(include, '\0', sizeof include) != NULL);
    }
    mosquitto_conf_end(conf);
    return err;
}

static void check_texts(const struct mosquitto_conf *conf)
{
    assert(conf->listeners_len <= MOSQUITTO_LISTENERS_MAX + 1 && conf->files_len == 0);
    assert(conf->bridges_plain <= conf->bridges);
    for (size_t i = 0; i < conf->listeners_len; i++) {
        const struct mosquitto_listener *l = &conf->listeners[i];
        assert(memchr(l->name, '\0', sizeof l->name) != NULL);
        assert(memchr(l->tls_version, '\0', sizeof l->tls_version) != NULL);
        assert(!l->access.ours || l->access.plugins > 0);
    }
}

static void check_judgement(const struct mosquitto_conf *conf)
{
    for (int passwords = 0; passwords < 2; passwords++) {
        struct mosquitto_finding findings[MOSQUITTO_CHECKS];
        mosquitto_conf_judge(conf, passwords != 0, findings);
        for (size_t i = 0; i < MOSQUITTO_CHECKS; i++) {
            assert(memchr(findings[i].saw, '\0', sizeof findings[i].saw) != NULL);
            assert(findings[i].verdict == MOSQUITTO_GOOD || findings[i].next != NULL);
        }
    }
}

/* The same lines with a comment before each, and Windows' ends. */
static size_t dress(struct slice text, uint8_t *to)
{
    static const char comment[] = "# allow_anonymous true\n";
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (i == 0 || text.data[i - 1] == '\n') {
            memcpy(to + n, comment, sizeof comment - 1);
            n += sizeof comment - 1;
        }
        if (text.data[i] == '\n')
            to[n++] = '\r';
        to[n++] = text.data[i];
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct mosquitto_conf conf, again;
    unsigned line = 0, other = 0, lines = 1;
    if (len > 4096)
        return 0;
    for (size_t i = 0; i < len; i++)
        lines += data[i] == '\n';
    enum err err = read_all(&conf, slice_of(data, len), &line);
    assert(err == ERR_NONE || err == ERR_LIMIT);
    assert(line <= lines && (err == ERR_NONE || line > 0));
    check_texts(&conf);
    check_judgement(&conf);
    uint8_t *dressed = malloc(len * 26 + 1);
    assert(dressed != NULL);
    enum err same =
        read_all(&again, slice_of(dressed, dress(slice_of(data, len), dressed)), &other);
    assert(same == err && memcmp(&conf, &again, sizeof conf) == 0);
    assert(err == ERR_NONE || other == 2 * line);
    free(dressed);
    return 0;
}
