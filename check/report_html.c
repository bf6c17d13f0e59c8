/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * report_html.c - how it works: one page. First the matrix: a row for each requirement in the order of their numbers, a sign
 * for each of its cases over each layout, that leads to the evidence below; there, each case unfolds, those that failed by
 * themselves, with a picture. A sign is a shape, a colour and a word.
 */
#include "check/case.h"
#include "check/picture.h"
#include "hosted/base/page.h"
#include "hosted/base/text_out.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char style[] =
	"th,td{text-align:left;vertical-align:top}th{white-space:nowrap}h3{margin:1.6rem 0 .4rem;font-size:1rem}\n"
	".fail{color:var(--c6)}.pass{color:var(--c2)}.observation{color:var(--c4)}.not-exercised,.quiet{color:var(--faint)}\n"
	"td{border:0}tr.first>*{border-top:1px solid var(--line)}th{border:0}\n"
	".sign{font-weight:600;white-space:nowrap}a.sign{text-decoration:none;padding:0 .15rem}\n"
	"details{margin:.15rem 0;padding-left:.2rem}details[open]{border-left:2px solid var(--line);padding-left:.7rem}\n"
	"details:target{border-left:2px solid var(--c1);padding-left:.7rem}.why{margin:.3rem 0;max-width:60rem}\n"
	"code{font:.9em ui-monospace,monospace}svg{max-width:none}svg .axis{fill:none}svg .lane{font-weight:600}\n"
	"svg .us{fill:var(--c1)}svg .peer{fill:var(--c4)}svg .mapped{fill:var(--c2);opacity:.28}"
	"svg .failed{stroke:var(--c6);stroke-width:2.5;fill:none}\n"
	"pre{font:.8rem/1.45 ui-monospace,monospace}pre b{color:var(--c4);font-weight:inherit}\n";

static const struct {
	const char *class, *sign;
} looks[CHECK_VERDICTS] = {
	[CHECK_NOT_EXERCISED] = {"not-exercised", "\342\200\223"}, /* a dash */
	[CHECK_OBSERVED] = {"observation", "\342\227\213"},        /* a circle */
	[CHECK_PASSED] = {"pass", "\342\234\223"},                 /* a tick */
	[CHECK_FAILED] = {"fail", "\342\234\227"},                 /* a cross */
};

static void put_sign(enum check_verdict verdict, bool word, FILE *to)
{
	fprintf(to, "<span class=\"sign %s\">%s%s%s</span>", looks[verdict].class, looks[verdict].sign, word ? " " : "",
		word ? check_verdict_name(verdict) : "");
}

static void put_name(const struct check_outcome *outcome, FILE *to)
{
	fprintf(to, "%s%s%s", outcome->played->id, outcome->ring[0] ? "-" : "", outcome->ring);
}

/* ---- the matrix ---- */

static void put_cell(const struct check_outcome *outcome, FILE *to)
{
	fprintf(to, "<td%s><a class=\"sign %s\" href=\"#", outcome->ring[0] ? "" : " colspan=\"2\"", looks[outcome->verdict].class);
	put_name(outcome, to);
	fprintf(to, "\">%s %s</a></td>", looks[outcome->verdict].sign, check_verdict_name(outcome->verdict));
}

/* A row, of all that was played of this case. */
static void put_case(const struct check_report *report, const struct check_case *played, FILE *to)
{
	bool split_alone = true;

	fprintf(to, "<td>%s</td>", played->id);
	for (uint32_t i = 0; i < report->outcome_count; i++) {
		if (report->outcomes[i].played != played)
			continue;
		put_cell(&report->outcomes[i], to);
		split_alone = split_alone && !strcmp(report->outcomes[i].ring, "split");
	}
	fprintf(to, "%s</tr>\n", split_alone ? "<td></td>" : "");
}

static bool is_case(const struct check_report *report, uint32_t at, const char *requirement)
{
	return !strcmp(report->outcomes[at].played->requirement, requirement) &&
	       (!at || report->outcomes[at - 1].played != report->outcomes[at].played);
}

static void put_matrix(const struct check_report *report, const uint32_t *order, uint32_t count, FILE *to)
{
	fputs("<div class=\"wide\"><table><tr><th>requirement</th><th>verdict</th><th>case</th><th>split ring</th><th>packed ring</th>"
	      "</tr>\n", to);
	for (uint32_t i = 0; i < count; i++) {
		const char *requirement = report->outcomes[order[i]].played->requirement;
		uint32_t cases = 0;

		for (uint32_t j = order[i]; j < report->outcome_count; j++)
			cases += is_case(report, j, requirement);
		fprintf(to, "<tr class=\"first\"><th rowspan=\"%" PRIu32 "\">%s</th><td rowspan=\"%" PRIu32 "\">", cases, requirement, cases);
		put_sign(check_report_requirement(report, requirement), true, to);
		fputs("</td>", to);
		for (uint32_t j = order[i]; j < report->outcome_count; j++) {
			if (!is_case(report, j, requirement))
				continue;
			fputs(j == order[i] ? "" : "<tr>", to);
			put_case(report, report->outcomes[j].played, to);
		}
	}
	fputs("</table></div>\n", to);
}

/* ---- the evidence ---- */

static void put_events(const struct check_outcome *outcome, FILE *to)
{
	fputs("<pre class=\"wide\">\n", to);
	for (uint32_t i = 0; i < outcome->event_count; i++) {
		const struct check_event *event = &outcome->events[i];

		if (outcome->events_lost && i == CHECK_EVENTS_MAX / 2)
			fprintf(to, "<i>%" PRIu32 " events left out</i>\n", outcome->events_lost);
		fprintf(to, "%9.3f ms  %s  ", (double)event->ns / 1e6, event->side == CHECK_US ? "check " : "<b>device</b>");
		viodma_text_xml(to, event->text);
		if (event->bus || event->bytes)
			fprintf(to, "  0x%" PRIx64, event->bus);
		if (event->bytes)
			fprintf(to, "  %" PRIu64 " bytes", event->bytes);
		fputs("\n", to);
	}
	fputs("</pre>\n", to);
}

static void put_outcome(const struct check_outcome *outcome, FILE *to)
{
	const bool failed = outcome->verdict == CHECK_FAILED;

	fputs("<details id=\"", to);
	put_name(outcome, to);
	fprintf(to, "\"%s><summary>", failed ? " open=\"\"" : "");
	put_sign(outcome->verdict, true, to);
	fprintf(to, " %s <span class=\"quiet\">%s%s%.1f ms</span></summary>\n<p class=\"why\">A sound device ", outcome->played->id,
		outcome->ring, outcome->ring[0] ? ", " : "", (double)outcome->ns / 1e6);
	viodma_text_xml(to, outcome->played->title);
	fputs(".</p>\n", to);
	if (outcome->why[0]) {
		fprintf(to, "<p class=\"why %s\">%s", looks[outcome->verdict].class,
			outcome->verdict == CHECK_NOT_EXERCISED ? "Not exercised, because " : failed ? "Here: " : "Seen: ");
		viodma_text_xml(to, outcome->why);
		fputs(".</p>\n", to);
	}
	if (failed)
		check_picture(outcome, to);
	if (outcome->event_count && outcome->verdict != CHECK_NOT_EXERCISED) {
		fprintf(to, "<details><summary>%" PRIu32 " events</summary>\n", outcome->event_count + outcome->events_lost);
		put_events(outcome, to);
		fputs("</details>\n", to);
	}
	fputs("</details>\n", to);
}

static void put_evidence(const struct check_report *report, const uint32_t *order, uint32_t count, FILE *to)
{
	fputs("<h2>Evidence</h2>\n", to);
	for (uint32_t i = 0; i < count; i++) {
		const char *requirement = report->outcomes[order[i]].played->requirement;

		fprintf(to, "<h3>%s ", requirement);
		put_sign(check_report_requirement(report, requirement), true, to);
		fputs("</h3>\n", to);
		for (uint32_t j = 0; j < report->outcome_count; j++)
			if (!strcmp(report->outcomes[j].played->requirement, requirement))
				put_outcome(&report->outcomes[j], to);
	}
}

/* ---- all of it ---- */

/* Where each requirement's first outcome is, in their order. */
static uint32_t sort(const struct check_report *report, uint32_t *order)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < report->outcome_count; i++) {
		uint32_t at = count;

		if (!check_report_first(report, i))
			continue;
		while (at && check_requirement_compare(report->outcomes[order[at - 1]].played->requirement, report->outcomes[i].played->requirement) > 0) {
			order[at] = order[at - 1];
			at--;
		}
		order[at] = i;
		count++;
	}
	return count;
}

static void put_head(const struct check_report *report, FILE *to)
{
	uint32_t counts[CHECK_VERDICTS] = {0};

	for (uint32_t i = 0; i < report->outcome_count; i++)
		counts[report->outcomes[i].verdict]++;
	fprintf(to, "<h1>Does this device keep the rules of platform DMA?</h1>\n<p>A %s device at <code>", report->type);
	viodma_text_xml(to, report->peer);
	fprintf(to, "</code>; features 0x%" PRIx64 ", of vhost-user 0x%" PRIx64 ".</p>\n<p>", report->features,
		report->protocol_features);
	for (int verdict = CHECK_VERDICTS - 1; verdict >= 0; verdict--) {
		fprintf(to, "%s%" PRIu32 " ", verdict < CHECK_VERDICTS - 1 ? ", " : "", counts[verdict]);
		put_sign((enum check_verdict)verdict, true, to);
	}
	fputs(".</p>\n", to);
}

bool check_report_html(const struct check_report *report, const char *path)
{
	uint32_t *order = calloc(report->outcome_count + 1, sizeof(*order));
	FILE *to = order ? fopen(path, "we") : NULL;
	uint32_t count;
	bool whole;

	if (!to) {
		free(order);
		return false;
	}
	count = sort(report, order);
	viodma_page_begin(to, "viodma check", style);
	put_head(report, to);
	put_matrix(report, order, count, to);
	fputs("<p class=\"quiet\">In the pictures time goes down, an event a row; the columns are bus addresses, filled while the device "
	      "has a mapping there.</p>\n", to);
	put_evidence(report, order, count, to);
	viodma_page_end(to);
	free(order);
	whole = !ferror(to);
	return fclose(to) == 0 && whole;
}
