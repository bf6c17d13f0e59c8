/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * report.c - how it works: text is for eyes, one line for each cell under a line for its group; JSON is for programs,
 * and has everything. Neither has anything that is not the measurement's: no path, no host name.
 */
#include "bench/bench.h"

#include <inttypes.h>
#include <string.h>

static bool same_group(const struct bench_cell *one, const struct bench_cell *other)
{
	return one->mode == other->mode && one->packed == other->packed && one->descriptors == other->descriptors &&
	       one->bytes == other->bytes && one->from_device == other->from_device && one->batch == other->batch;
}

/* ---- text ---- */

static void put_ratio(FILE *to, const struct bench_spread *spread)
{
	char quartiles[32];

	if (spread->median == 0) {
		fprintf(to, " %22s", "-");
		return;
	}
	snprintf(quartiles, sizeof(quartiles), "(%.2f-%.2f)", spread->low, spread->high);
	fprintf(to, " %8.3f %-13s", spread->median, quartiles);
}

static void put_row(FILE *to, const struct bench_row *row)
{
	fprintf(to, "  %-15s %-9s ", bench_domain_name(row->cell.domain), bench_build_name(row->cell.build));
	if (row->fault[0]) {
		fprintf(to, "does not count: %s\n", row->fault);
		return;
	}
	fprintf(to, "%9.1f %9.2f", row->ns.median, 1000 / row->ns.median);
	put_ratio(to, &row->to_raw);
	fprintf(to, " %8.2f %8.0f %5.2f %6.3f %6.3f\n", row->to_memcpy.median, row->copied_bytes, row->maps, row->kicks,
		row->calls);
}

void bench_report_text(const struct bench_results *results, FILE *to)
{
	for (uint32_t i = 0; i < results->count; i++) {
		const struct bench_row *row = &results->rows[i];
		char name[BENCH_GROUP_NAME_BYTES];

		if (!i || !same_group(&row[-1].cell, &row->cell)) {
			bench_group_name(&row->cell, name);
			fprintf(to, "%s%s", i ? "\n" : "", name);
			if (row->ping_pong_ns > 0)
				fprintf(to, "  (a cache line to and fro: %.0f ns)", row->ping_pong_ns);
			fprintf(to, "\n  %-15s %-9s %9s %9s  %-21s %8s %8s %5s %6s %6s\n", "domain", "build", "ns/req",
				"Mreq/s", "to raw (quartiles)", "/memcpy", "copied", "maps", "kicks", "calls");
		}
		put_row(to, row);
	}
	if (results->ping_pong_ns > 0)
		fprintf(to, "\na cache line to the other processor and back: %.0f ns\n", results->ping_pong_ns);
	fprintf(to, "%" PRIu32 " cells, %" PRIu32 " that do not count, %.0f s\n", results->count, results->faults,
		(double)results->took_ns / 1e9);
}

/* ---- JSON ---- */

static void json_spread(FILE *to, const char *name, const struct bench_spread *spread)
{
	fprintf(to, ", \"%s\": ", name);
	if (spread->median == 0 && spread->high == 0)
		fputs("null", to);
	else
		fprintf(to, "{\"low\": %.4f, \"median\": %.4f, \"high\": %.4f}", spread->low, spread->median,
			spread->high);
}

static void json_row(FILE *to, const struct bench_row *row)
{
	const struct bench_cell *cell = &row->cell;

	fprintf(to,
		"    {\"mode\": \"%s\", \"ring\": \"%s\", \"descriptors\": \"%s\", \"bytes\": %" PRIu32
		", \"direction\": \"%s\", \"batch\": %" PRIu32 ", \"domain\": \"%s\", \"build\": \"%s\"",
		bench_mode_name(cell->mode), cell->packed ? "packed" : "split", bench_descriptors_name(cell->descriptors),
		cell->bytes, cell->from_device ? "from-device" : "to-device", cell->batch,
		bench_domain_name(cell->domain), bench_build_name(cell->build));
	if (row->fault[0]) {
		fprintf(to, ", \"fault\": \"%s\"}", row->fault); /* this program's own words, without quotes */
		return;
	}
	fprintf(to, ", \"fault\": null, \"requests\": %" PRIu64, row->requests);
	json_spread(to, "ns", &row->ns);
	fprintf(to, ", \"requests_per_second\": %.0f", 1e9 / row->ns.median);
	json_spread(to, "to_raw", &row->to_raw);
	json_spread(to, "to_direct", &row->to_direct);
	json_spread(to, "to_memcpy", &row->to_memcpy);
	json_spread(to, "added_to_memcpy", &row->added_to_memcpy);
	fprintf(to,
		", \"memcpy_ns\": %.2f, \"ping_pong_ns\": %.1f, \"copied_bytes\": %.1f, \"maps\": %.3f, \"segments\": %.3f, "
		"\"kicks\": %.4f, \"calls\": %.4f}",
		row->memcpy_ns, row->ping_pong_ns, row->copied_bytes, row->maps, row->segments, row->kicks, row->calls);
}

bool bench_report_json(const struct bench_results *results, const struct bench_choice *choice, const char *path)
{
	FILE *to = fopen(path, "we");
	bool whole;

	if (!to)
		return false;
	fprintf(to, "{\n  \"version\": 1, \"quick\": %s, \"rounds\": %" PRIu32 ", \"round_ns\": %" PRIu64
		    ", \"touched\": %s,\n  \"ping_pong_ns\": %.1f, \"seconds\": %.1f, \"faults\": %" PRIu32
		    ",\n  \"rows\": [\n",
		choice->quick ? "true" : "false", choice->rounds, choice->round_ns, choice->untouched ? "false" : "true",
		results->ping_pong_ns, (double)results->took_ns / 1e9, results->faults);
	for (uint32_t i = 0; i < results->count; i++) {
		json_row(to, &results->rows[i]);
		fputs(i + 1 < results->count ? ",\n" : "\n", to);
	}
	fputs("  ]\n}\n", to);
	whole = !ferror(to);
	return fclose(to) == 0 && whole;
}
