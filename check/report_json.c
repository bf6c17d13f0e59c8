/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * report_json.c - everything: each outcome with its evidence and timeline, each requirement's verdict. Addresses are strings,
 * in hexadecimal: JSON's numbers end at 2^53.
 */
#include "check/case.h"
#include "hosted/base/text_out.h"

#include <inttypes.h>
#include <string.h>

static void put_event(FILE *to, const struct check_event *event)
{
	fprintf(to, "{\"ns\": %" PRIu64 ", \"by\": \"%s\", \"text\": ", event->ns, event->side == CHECK_US ? "check" : "peer");
	viodma_text_json(to, event->text);
	if (event->bytes || event->bus)
		fprintf(to, ", \"address\": \"0x%" PRIx64 "\", \"bytes\": %" PRIu64, event->bus, event->bytes);
	fputs("}", to);
}

static void put_outcome(FILE *to, const struct check_outcome *outcome)
{
	fprintf(to, "    {\"case\": \"%s\", \"requirement\": \"%s\", \"ring\": ", outcome->played->id, outcome->played->requirement);
	if (outcome->ring[0])
		viodma_text_json(to, outcome->ring);
	else
		fputs("null", to);
	fprintf(to, ", \"verdict\": \"%s\", \"ms\": %.3f, \"title\": ", check_verdict_name(outcome->verdict),
		(double)outcome->ns / 1e6);
	viodma_text_json(to, outcome->played->title);
	fputs(", \"why\": ", to);
	viodma_text_json(to, outcome->why);
	fprintf(to, ",\n     \"events_left_out\": %" PRIu32 ", \"events\": [", outcome->events_lost);
	for (uint32_t i = 0; i < outcome->event_count; i++) {
		fputs(i ? ",\n      " : "\n      ", to);
		put_event(to, &outcome->events[i]);
	}
	fputs("]}", to);
}

bool check_report_json(const struct check_report *report, const char *path)
{
	FILE *to = fopen(path, "we");
	bool whole;

	if (!to)
		return false;
	fprintf(to, "{\n  \"version\": 1, \"type\": \"%s\", \"features\": \"0x%" PRIx64 "\", \"protocol_features\": \"0x%" PRIx64
		    "\",\n  \"requirements\": {",
		report->type, report->features, report->protocol_features);
	for (uint32_t i = 0; i < report->outcome_count; i++) {
		const char *requirement = report->outcomes[i].played->requirement;

		if (check_report_first(report, i))
			fprintf(to, "%s\"%s\": \"%s\"", i ? ", " : "", requirement,
				check_verdict_name(check_report_requirement(report, requirement)));
	}
	fputs("},\n  \"outcomes\": [\n", to);
	for (uint32_t i = 0; i < report->outcome_count; i++) {
		put_outcome(to, &report->outcomes[i]);
		fputs(i + 1 < report->outcome_count ? ",\n" : "\n", to);
	}
	fputs("  ]\n}\n", to);
	whole = !ferror(to);
	return fclose(to) == 0 && whole;
}
