/*
 * core/prometheus.c
 *		Metrics as Prometheus reads them: the text format, version 0.0.4.
 */
#include "core/metrics.h"

#include <math.h>

#include "common/shortest_dec.h"

/* In a label's value the quote is escaped too. */
static void
append_escaped(StringInfo out, const char *s, bool label)
{
	for (; *s; s++)
	{
		if (*s == '\n')
			appendStringInfoString(out, "\\n");
		else if (*s == '\\' || (label && *s == '"'))
		{
			appendStringInfoChar(out, '\\');
			appendStringInfoChar(out, *s);
		}
		else
			appendStringInfoChar(out, *s);
	}
}

static void
append_value(StringInfo out, double value)
{
	char		digits[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (isnan(value))
		appendStringInfoString(out, "NaN");
	else if (isinf(value))
		appendStringInfoString(out, value > 0 ? "+Inf" : "-Inf");
	else
	{
		double_to_shortest_decimal_buf(value, digits);
		appendStringInfoString(out, digits);
	}
}

static void
print_family(void *state, const char *name, const char *type, const char *help)
{
	appendStringInfo(state, "# HELP %s ", name);
	append_escaped(state, help, false);
	appendStringInfo(state, "\n# TYPE %s %s\n", name, type);
}

static void
print_sample(void *state, const Sample *sample)
{
	appendStringInfoString(state, sample->name);
	for (int i = 0; i < sample->label_count; i++)
	{
		appendStringInfo(state, "%c%s=\"", i == 0 ? '{' : ',', sample->labels[i].name);
		append_escaped(state, sample->labels[i].value, true);
		appendStringInfoChar(state, '"');
	}
	appendStringInfoString(state, sample->label_count > 0 ? "} " : " ");
	append_value(state, sample->value);
	appendStringInfoChar(state, '\n');
}

void
metrics_print(Call *call, StringInfo out)
{
	MetricSink	sink = {print_family, print_sample, out};

	metrics_walk(call, &sink);
}
