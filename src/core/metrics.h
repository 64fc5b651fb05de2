/*
 * core/metrics.h
 *		Metrics: families of samples, as Prometheus names them.
 */
#ifndef AINS_METRICS_H
#define AINS_METRICS_H

#include "ains.h"

#include "core/call.h"
#include "lib/stringinfo.h"

#define METRIC_MAX_LABELS	3

typedef struct MetricLabel
{
	const char *name;
	const char *value;
} MetricLabel;

/* One value. `name` is the family's or, in a histogram, that with a suffix. */
typedef struct Sample
{
	const char *name;
	MetricLabel labels[METRIC_MAX_LABELS];
	int			label_count;
	double		value;
} Sample;

/* Who receives a walk: each family once, and after it its samples. */
typedef struct MetricSink
{
	void		(*family) (void *state, const char *name, const char *type, const char *help);
	void		(*sample) (void *state, const Sample *sample);
	void	   *state;
} MetricSink;

/*
 * Hands all families and their samples to the sink, in an order that does not
 * change. Reads shared memory, the rows of schedules, and of tasks those of the
 * ready index that queue_stats() reads. On a standby there are no
 * samples of what only the primary's memory knows.
 */
extern void metrics_walk(Call *call, const MetricSink *sink);

/* The same as text, Prometheus' exposition format 0.0.4. */
extern void metrics_print(Call *call, StringInfo out);

#endif							/* AINS_METRICS_H */
