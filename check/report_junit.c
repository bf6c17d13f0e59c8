/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * report_junit.c - for continuous integration: a test case for each outcome, in a class for each requirement. What was not
 * exercised is skipped; an observation has passed, and says what it is in its output.
 */
#include "check/case.h"
#include "hosted/base/text_out.h"

#include <inttypes.h>

static void put_events(FILE *to, const struct check_outcome *outcome)
{
	fputs("      <system-out>", to);
	for (uint32_t i = 0; i < outcome->event_count; i++) {
		const struct check_event *event = &outcome->events[i];

		fprintf(to, "%10.3f ms  %-5s  ", (double)event->ns / 1e6, event->side == CHECK_US ? "check" : "peer");
		viodma_text_xml(to, event->text);
		if (event->bytes || event->bus)
			fprintf(to, "  0x%" PRIx64 " (%" PRIu64 " bytes)", event->bus, event->bytes);
		fputs("\n", to);
	}
	fputs("</system-out>\n", to);
}

static void put_outcome(FILE *to, const struct check_outcome *outcome)
{
	fprintf(to, "    <testcase classname=\"%s\" name=\"%s%s%s\" time=\"%.6f\"", outcome->played->requirement, outcome->played->id,
		outcome->ring[0] ? " " : "", outcome->ring, (double)outcome->ns / 1e9);
	if (outcome->verdict == CHECK_PASSED) {
		fputs("/>\n", to);
		return;
	}
	fputs(">\n", to);
	if (outcome->verdict == CHECK_OBSERVED) {
		fputs("      <system-out>observation: ", to);
		viodma_text_xml(to, outcome->why);
		fputs("</system-out>\n", to);
	} else {
		fprintf(to, "      <%s message=\"", outcome->verdict == CHECK_FAILED ? "failure" : "skipped");
		viodma_text_xml(to, outcome->why);
		fputs("\"/>\n", to);
		if (outcome->verdict == CHECK_FAILED)
			put_events(to, outcome);
	}
	fputs("    </testcase>\n", to);
}

bool check_report_junit(const struct check_report *report, const char *path)
{
	FILE *to = fopen(path, "we");
	uint32_t failed = 0, skipped = 0;
	uint64_t ns = 0;
	bool whole;

	if (!to)
		return false;
	for (uint32_t i = 0; i < report->outcome_count; i++) {
		failed += report->outcomes[i].verdict == CHECK_FAILED;
		skipped += report->outcomes[i].verdict == CHECK_NOT_EXERCISED;
		ns += report->outcomes[i].ns;
	}
	fprintf(to, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"viodma check device %s\" tests=\"%" PRIu32
		    "\" failures=\"%" PRIu32 "\" errors=\"0\" skipped=\"%" PRIu32 "\" time=\"%.6f\">\n",
		report->type, report->outcome_count, failed, skipped, (double)ns / 1e9);
	for (uint32_t i = 0; i < report->outcome_count; i++)
		put_outcome(to, &report->outcomes[i]);
	fputs("  </testsuite>\n</testsuites>\n", to);
	whole = !ferror(to);
	return fclose(to) == 0 && whole;
}
