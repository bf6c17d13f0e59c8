/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * html.c - how it works: one page without anything from elsewhere. A plot for each way to run a ring: payload bytes to the
 * right, nanoseconds of a request upwards, both logarithmic; a line for each domain, a bar at each point for its
 * quartiles. Under it the numbers. Colours are the page's, so that they are readable on light and on dark ground.
 */
#include "bench/bench.h"
#include "hosted/base/page.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define WIDTH 590.0
#define HEIGHT 330.0
#define LEFT 60.0
#define RIGHT 140.0
#define TOP 12.0
#define BOTTOM 36.0

static const char style[] =
	".plots{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0}figcaption{color:var(--faint);font-size:.9rem}\n"
	"th,td{text-align:right}th:first-child,td:first-child{text-align:left}\n";

/* A plot: cells that differ in domain and size alone. */
static bool same_plot(const struct bench_cell *one, const struct bench_cell *other)
{
	return one->mode == other->mode && one->packed == other->packed && one->descriptors == other->descriptors &&
	       one->from_device == other->from_device && one->batch == other->batch;
}

static bool shown(const struct bench_row *row)
{
	return !row->fault[0] && row->cell.build == BENCH_PLAIN;
}

struct scale {
	double low, high; /* logarithms */
};

static double to_x(double bytes)
{
	return LEFT + (log2(bytes) - 6) / 12 * (WIDTH - LEFT - RIGHT); /* 64 to 256 Ki */
}

static double to_y(const struct scale *scale, double ns)
{
	const double part = (log10(ns) - scale->low) / (scale->high - scale->low);

	return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM);
}

static struct scale scale_of(const struct bench_results *results, const struct bench_cell *cell)
{
	struct scale scale = { 9, 0 };

	for (uint32_t i = 0; i < results->count; i++) {
		const struct bench_row *row = &results->rows[i];

		if (!shown(row) || !same_plot(&row->cell, cell) || row->ns.median <= 0)
			continue;
		scale.low = fmin(scale.low, floor(log10(row->ns.median)));
		scale.high = fmax(scale.high, ceil(log10(row->ns.median)));
	}
	if (scale.high <= scale.low)
		scale.high = scale.low + 1;
	return scale;
}

static void put_axes(FILE *to, const struct scale *scale)
{
	static const struct {
		double bytes;
		const char *name;
	} ticks[] = { { 64, "64" }, { 1500, "1500" }, { 4096, "4 K" }, { 65536, "64 K" }, { 262145, "256 K" } };

	for (double power = scale->low; power <= scale->high; power++) {
		static const char *const units[] = { "ns", "\302\265s", "ms", "s" };
		const unsigned thousands = (unsigned)power / 3;
		const double y = to_y(scale, pow(10, power));

		fprintf(to, "<path class=\"axis\" d=\"M%.0f %.1fH%.0f\"/><text class=\"faint\" x=\"%.0f\" y=\"%.1f\" "
			    "text-anchor=\"end\">%.0f %s</text>\n",
			LEFT, y, WIDTH - RIGHT, LEFT - 5, y + 4, pow(10, power - 3 * thousands), units[thousands % 4]);
	}
	for (size_t i = 0; i < sizeof(ticks) / sizeof(ticks[0]); i++)
		fprintf(to, "<text class=\"faint\" x=\"%.0f\" y=\"%.0f\" text-anchor=\"middle\">%s</text>\n",
			to_x(ticks[i].bytes), HEIGHT - BOTTOM + 16, ticks[i].name);
	fprintf(to, "<text class=\"faint\" x=\"%.0f\" y=\"%.0f\" text-anchor=\"middle\">payload, bytes</text>\n",
		(LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4);
}

static void put_line(FILE *to, const struct bench_results *results, const struct bench_cell *cell, unsigned domain,
		     const struct scale *scale, double *label_y)
{
	double last_x = 0, last_y = 0;
	uint32_t points = 0;

	for (uint32_t i = 0; i < results->count; i++) {
		const struct bench_row *row = &results->rows[i];

		if (!shown(row) || !same_plot(&row->cell, cell) || row->cell.domain != domain)
			continue;
		if (!points++)
			fprintf(to, "<g fill=\"var(--c%u)\" stroke=\"var(--c%u)\"><path fill=\"none\" d=\"M", domain, domain);
		else
			fputc('L', to);
		last_x = to_x(row->cell.bytes);
		last_y = to_y(scale, row->ns.median);
		fprintf(to, "%.1f %.1f", last_x, last_y);
	}
	if (!points)
		return;
	fputs("\"/>", to);
	for (uint32_t i = 0; i < results->count; i++) {
		const struct bench_row *row = &results->rows[i];

		if (!shown(row) || !same_plot(&row->cell, cell) || row->cell.domain != domain)
			continue;
		fprintf(to, "<path d=\"M%.1f %.1fV%.1f\"/><circle r=\"2.5\" cx=\"%.1f\" cy=\"%.1f\"><title>%s, %" PRIu32
			    " bytes: %.1f ns</title></circle>",
			to_x(row->cell.bytes), to_y(scale, row->ns.low), to_y(scale, row->ns.high),
			to_x(row->cell.bytes), to_y(scale, row->ns.median), bench_domain_name(row->cell.domain),
			row->cell.bytes, row->ns.median);
	}
	fprintf(to, "</g>\n<path stroke=\"var(--c%u)\" opacity=\".4\" d=\"M%.1f %.1fL%.0f %.1f\"/>"
		    "<text x=\"%.0f\" y=\"%.1f\">%s</text>\n",
		domain, last_x + 3, last_y, WIDTH - RIGHT + 22, *label_y - 4, WIDTH - RIGHT + 25, *label_y,
		bench_domain_name((enum bench_domain)domain));
	*label_y += 15;
}

/* Labels stand in the order of the lines' right ends, slowest first. */
static void put_plot(FILE *to, const struct bench_results *results, const struct bench_cell *cell)
{
	const struct scale scale = scale_of(results, cell);
	bool done[BENCH_DOMAINS] = { false };
	double label_y = TOP + 12;
	char name[BENCH_GROUP_NAME_BYTES];

	snprintf(name, sizeof(name), "%s, %s, %s, %" PRIu32 " at once",
		 cell->packed ? "packed" : "split", cell->descriptors == BENCH_ONE ? "one buffer" :
		 bench_descriptors_name(cell->descriptors), cell->from_device ? "from the device" : "to the device", cell->batch);
	fprintf(to, "<figure><svg role=\"img\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\"><title>%s</title>\n",
		WIDTH, HEIGHT, WIDTH, HEIGHT, name);
	put_axes(to, &scale);
	for (unsigned drawn = 0; drawn < BENCH_DOMAINS; drawn++) {
		double most = -1;
		unsigned next = BENCH_DOMAINS;

		for (uint32_t i = 0; i < results->count; i++) {
			const struct bench_row *row = &results->rows[i];
			const double weight = row->cell.bytes * 1e9 + row->ns.median;

			if (shown(row) && same_plot(&row->cell, cell) && !done[row->cell.domain] && weight > most) {
				most = weight;
				next = row->cell.domain;
			}
		}
		if (next == BENCH_DOMAINS)
			break;
		done[next] = true;
		put_line(to, results, cell, next, &scale, &label_y);
	}
	fprintf(to, "</svg><figcaption>%s</figcaption></figure>\n", name);
}

/* ---- tables ---- */

static void put_table_row(FILE *to, const struct bench_row *row)
{
	fprintf(to, "<tr><td>%s</td><td>%s</td>", bench_domain_name(row->cell.domain), bench_build_name(row->cell.build));
	if (row->fault[0]) {
		fprintf(to, "<td colspan=\"7\">does not count: %s</td></tr>\n", row->fault);
		return;
	}
	fprintf(to, "<td>%.1f</td><td>%.2f</td>", row->ns.median, 1000 / row->ns.median);
	if (row->to_raw.median > 0)
		fprintf(to, "<td>%.3f (%.2f-%.2f)</td>", row->to_raw.median, row->to_raw.low, row->to_raw.high);
	else
		fputs("<td>-</td>", to);
	fprintf(to, "<td>%.2f</td><td>%.0f</td><td>%.3f</td><td>%.3f</td></tr>\n", row->to_memcpy.median,
		row->copied_bytes, row->kicks, row->calls);
}

static void put_tables(FILE *to, const struct bench_results *results, enum bench_mode mode)
{
	char name[BENCH_GROUP_NAME_BYTES], before[BENCH_GROUP_NAME_BYTES] = "";

	fputs("<details><summary>the numbers</summary>\n<div class=\"wide\">\n", to);
	for (uint32_t i = 0; i < results->count; i++) {
		const struct bench_row *row = &results->rows[i];

		if (row->cell.mode != mode)
			continue;
		bench_group_name(&row->cell, name);
		if (strcmp(name, before))
			fprintf(to,
				"%s<h3>%s</h3>\n<table><tr><th>domain</th><th>build</th><th>ns a request</th><th>M a second"
				"</th><th>to raw (quartiles)</th><th>to memcpy</th><th>bytes copied</th><th>kicks</th>"
				"<th>calls</th></tr>\n",
				before[0] ? "</table>\n" : "", name);
		strcpy(before, name);
		put_table_row(to, row);
	}
	fprintf(to, "%s</div>\n</details>\n", before[0] ? "</table>\n" : "");
}

/* Does no row before this one belong to the same plot? */
static bool first_of_plot(const struct bench_results *results, uint32_t at)
{
	for (uint32_t i = 0; i < at; i++)
		if (same_plot(&results->rows[i].cell, &results->rows[at].cell))
			return false;
	return true;
}

bool bench_report_html(const struct bench_results *results, const char *path)
{
	static const char *const titles[] = { "Both halves in one thread", "A thread for each half",
					      "A process for each half, over vhost-user" };
	FILE *to = fopen(path, "we");
	bool whole;

	if (!to)
		return false;
	viodma_page_begin(to, "viodma bench", style);
	fputs("<h1>What the DMA layer costs</h1>\n<p>Nanoseconds of a request, both halves, payload touched on both "
	      "sides; medians over interleaved rounds, bars from quartile to quartile. <i>raw</i> is the same ring code without a "
	      "DMA layer.", to);
	if (results->ping_pong_ns > 0)
		fprintf(to, " A cache line to the other processor and back: %.0f ns.", results->ping_pong_ns);
	fprintf(to, " %" PRIu32 " rows, %" PRIu32 " of which do not count.</p>\n", results->count, results->faults);
	for (unsigned mode = 0; mode < BENCH_MODES; mode++) {
		bool any = false;

		for (uint32_t i = 0; i < results->count; i++) {
			if (results->rows[i].cell.mode != mode || !first_of_plot(results, i))
				continue;
			if (!any)
				fprintf(to, "<h2>%s</h2>\n<div class=\"plots\">\n", titles[mode]);
			any = true;
			put_plot(to, results, &results->rows[i].cell);
		}
		if (!any)
			continue;
		fputs("</div>\n", to);
		put_tables(to, results, (enum bench_mode)mode);
	}
	viodma_page_end(to);
	whole = !ferror(to);
	return fclose(to) == 0 && whole;
}
