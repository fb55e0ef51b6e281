/* Counters, gauges and histograms in the Prometheus text format 0.0.4. Registered once at start,
 * counted without locks from any thread. */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include "core/cursor.h"

struct metric;

/* `name`, `help` and label names are constants and kept. A metric with labels is a family; the
 * number of its series is bounded (METRIC_SERIES_MAX), beyond it all count as "other". */
#define METRIC_SERIES_MAX 256

struct metric *metric_counter(const char *name, const char *help, const char *label);
struct metric *metric_gauge(const char *name, const char *help, const char *label);
/* Seconds, in buckets from 0.5 ms to 10 s. */
struct metric *metric_histogram(const char *name, const char *help, const char *label);

/* `value` of the label, or NULL for a metric without one. */
void metric_add(struct metric *m, const char *value, int64_t n);
/* Of a gauge; or of a counter that is kept elsewhere and taken over. */
void metric_set(struct metric *m, const char *value, int64_t n);
void metric_observe_us(struct metric *m, const char *value, int64_t us);
int64_t metric_get(const struct metric *m, const char *value);

void metrics_write(struct writer *w);

#endif
