/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * report_text.c - a line for each case, what was wrong under it. What was not exercised comes after that, by reason; then
 * each requirement's verdict, and how many of each.
 */
#include "check/case.h"

#include <string.h>

#define COLUMNS 100

/* Over each layout the same, and for the same reason: one line. */
static bool same_as_last(const struct check_report *report, uint32_t i)
{
	const struct check_outcome *outcome = &report->outcomes[i], *last = outcome - 1;

	return i && last->played == outcome->played && last->verdict == outcome->verdict && !strcmp(last->why, outcome->why);
}

static void put_cases(const struct check_report *report, FILE *to)
{
	for (uint32_t i = 0; i < report->outcome_count; i++) {
		const struct check_outcome *outcome = &report->outcomes[i];
		const bool next_same = i + 1 < report->outcome_count && same_as_last(report, i + 1);

		if (outcome->verdict == CHECK_NOT_EXERCISED || same_as_last(report, i))
			continue;
		fprintf(to, "%-11s  %-7s  %-36s  %s\n", check_verdict_name(outcome->verdict), outcome->played->requirement,
			outcome->played->id, next_same ? "split, packed" : outcome->ring);
		if (outcome->verdict == CHECK_FAILED)
			fprintf(to, "             a sound device %s\n", outcome->played->title);
		if (outcome->why[0])
			fprintf(to, "             %s\n", outcome->why);
	}
}

/* ---- words in lines ---- */

static int put_word(FILE *to, int column, int indent, const char *word)
{
	const int length = (int)strlen(word);

	if (column + 1 + length > COLUMNS) {
		fprintf(to, "\n%*s%s", indent, "", word);
		return indent + length;
	}
	fprintf(to, "%s%s", column > indent ? " " : "", word);
	return column + length + (column > indent);
}

static bool reason_is_new(const struct check_report *report, uint32_t at)
{
	for (uint32_t i = 0; i < at; i++)
		if (report->outcomes[i].verdict == CHECK_NOT_EXERCISED && !strcmp(report->outcomes[i].why, report->outcomes[at].why))
			return false;
	return report->outcomes[at].verdict == CHECK_NOT_EXERCISED;
}

static void put_not_exercised(const struct check_report *report, FILE *to)
{
	for (uint32_t i = 0; i < report->outcome_count; i++) {
		const char *why = report->outcomes[i].why;
		int column = 4;

		if (!reason_is_new(report, i))
			continue;
		fprintf(to, "not exercised, because %s:\n%*s", why, column, "");
		for (uint32_t j = i; j < report->outcome_count; j++)
			if (report->outcomes[j].verdict == CHECK_NOT_EXERCISED && !strcmp(report->outcomes[j].why, why) &&
			    !same_as_last(report, j))
				column = put_word(to, column, 4, report->outcomes[j].played->id);
		fputs("\n", to);
	}
}

/* ---- requirements ---- */

static void put_requirements(const struct check_report *report, FILE *to)
{
	for (int verdict = CHECK_VERDICTS - 1; verdict >= 0; verdict--) {
		int column = 0;

		for (uint32_t i = 0; i < report->outcome_count; i++) {
			const char *requirement = report->outcomes[i].played->requirement;

			if (!check_report_first(report, i) || (int)check_report_requirement(report, requirement) != verdict)
				continue;
			if (!column)
				column = fprintf(to, "%-15s", check_verdict_name((enum check_verdict)verdict));
			column = put_word(to, column, 15, requirement);
		}
		if (column)
			fputs("\n", to);
	}
}

void check_report_text(const struct check_report *report, FILE *to)
{
	uint32_t counts[CHECK_VERDICTS] = {0};

	for (uint32_t i = 0; i < report->outcome_count; i++)
		counts[report->outcomes[i].verdict]++;
	put_cases(report, to);
	put_not_exercised(report, to);
	fputs("\nrequirements\n", to);
	put_requirements(report, to);
	fprintf(to, "\n%u passed, %u failed, %u observations, %u not exercised\n", counts[CHECK_PASSED], counts[CHECK_FAILED],
		counts[CHECK_OBSERVED], counts[CHECK_NOT_EXERCISED]);
}
