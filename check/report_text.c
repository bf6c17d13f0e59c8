/* SPDX-License-Identifier: BSD-3-Clause */
/* report_text.c - a line for each case, what was wrong under it; then how many of each verdict. */
#include "check/case.h"

#include <string.h>

/* The verdict is the same over each layout, and for the same reason: one line. */
static bool same_as_last(const struct check_report *report, uint32_t i)
{
	const struct check_outcome *outcome = &report->outcomes[i], *last = outcome - 1;

	return i && last->played == outcome->played && last->verdict == outcome->verdict && !strcmp(last->why, outcome->why);
}

void check_report_text(const struct check_report *report, FILE *to)
{
	uint32_t counts[CHECK_VERDICTS] = {0};

	for (uint32_t i = 0; i < report->outcome_count; i++) {
		const struct check_outcome *outcome = &report->outcomes[i];
		const bool next_same = i + 1 < report->outcome_count && same_as_last(report, i + 1);

		counts[outcome->verdict]++;
		if (same_as_last(report, i))
			continue;
		fprintf(to, "%-13s  %-7s  %-36s  %s\n", check_verdict_name(outcome->verdict), outcome->played->requirement,
			outcome->played->id, next_same ? "split, packed" : outcome->ring);
		if (outcome->verdict == CHECK_FAILED)
			fprintf(to, "%15sa sound device %s\n", "", outcome->played->title);
		if (outcome->why[0])
			fprintf(to, "%15s%s\n", "", outcome->why);
	}
	fprintf(to, "%u passed, %u failed, %u observations, %u not exercised\n", counts[CHECK_PASSED], counts[CHECK_FAILED],
		counts[CHECK_OBSERVED], counts[CHECK_NOT_EXERCISED]);
}
