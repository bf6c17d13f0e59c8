/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * demo_table.c - how it works: a cell is text made of what was seen, and text for what must be seen there; it is right
 * if a check of its own says so. Numbers of the driver half are checked against those of the device half: what is
 * handed over is what the kernel says that the device's process has mapped; what is reachable and translated is what
 * the device counted.
 */
#include "tools/demo_table.h"
#include "hosted/base/text_out.h"

#include "tools/log.h"
#include "tools/statistics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum cell { RING, BIT_33, IDENTICAL, HANDED, REACHABLE, MOVED, STRAY, ENFORCED };
#define CELLS 8u
#define CELL_BYTES 48u

const struct demo_wanted demo_kinds[DEMO_KINDS] = {
	{ DRIVE_DIRECT, false, true, true, DEMO_ALL, DEMO_NOBODY },
	{ DRIVE_DIRECT, true, true, true, DEMO_ALL, DEMO_NOBODY },
	{ DRIVE_OFFSET, true, false, true, DEMO_ALL, DEMO_NOBODY },
	{ DRIVE_BOUNCE, true, false, true, DEMO_POOL, DEMO_OWN_CODE },
	{ DRIVE_IOMMU, true, false, true, DEMO_LIVE, DEMO_OWN_CODE },
	{ DRIVE_BOUNCE_IOMMU, true, false, false, DEMO_LIVE, DEMO_NEVER_HANDED },
	{ DRIVE_RESTRICTED, true, false, false, DEMO_POOL, DEMO_NEVER_HANDED },
};

static const char *const names[CELLS] = {
	"ring", "bit 33", "bus = physical", "handed over", "reachable at peak", "moved", "stray access", "enforced by",
};
static const char *const keys[CELLS] = {
	"ring", "bit_33", "bus_is_physical", "handed_over", "reachable_at_peak", "moved", "stray_access", "enforced_by",
};
static const char *const enforcers[] = { "nobody", "the device's own code", "never handed over" };

struct cell_text {
	bool right;
	char seen[CELL_BYTES], wanted[CELL_BYTES];
};

/* ---- what was seen ---- */

static void put_size(char *text, uint64_t bytes)
{
	if (bytes >= UINT64_C(1) << 20 && bytes & ((UINT64_C(1) << 20) - 1))
		snprintf(text, CELL_BYTES, "%" PRIu64 ".%" PRIu64 " MiB", bytes >> 20,
			 (bytes & ((UINT64_C(1) << 20) - 1)) * 10 >> 20);
	else if (bytes >= UINT64_C(1) << 20)
		snprintf(text, CELL_BYTES, "%" PRIu64 " MiB", bytes >> 20);
	else if (bytes >= 1024)
		snprintf(text, CELL_BYTES, "%" PRIu64 " KiB", bytes >> 10);
	else
		snprintf(text, CELL_BYTES, "%" PRIu64, bytes);
}

static const struct viodma_fault *newest_fault(const struct demo_row *row)
{
	return row->device.faults_kept ? &row->device.faults[row->device.faults_kept - 1] : NULL;
}

static const char *refused_by(const struct demo_row *row)
{
	const struct viodma_fault *fault = newest_fault(row);

	return row->stray.reached || !fault ? "" : viodma_result_requirement(fault->reason);
}

static enum demo_enforcer enforcer(const struct demo_row *row)
{
	if (row->stray.reached)
		return DEMO_NOBODY;
	return row->maps.memfd_bytes > row->maps.pool_bytes ? DEMO_OWN_CODE : DEMO_NEVER_HANDED;
}

static uint64_t handed_wanted(const struct demo_row *row)
{
	return row->pool_bytes + (row->wanted->all_handed ? row->private_bytes : 0);
}

static const char *layout(bool packed)
{
	return packed ? "packed" : "split";
}

/* ---- cells ---- */

static void ring(const struct demo_row *row, struct cell_text *cell)
{
	const bool packed = row->device.session_count && row->device.sessions[0].setup.packed;

	cell->right = packed == row->packed && row->drove_packed == row->packed;
	snprintf(cell->seen, CELL_BYTES, "%s", layout(packed));
	snprintf(cell->wanted, CELL_BYTES, "%s, in both halves", layout(row->packed));
}

static void bit_33(const struct demo_row *row, struct cell_text *cell)
{
	const bool accepted = row->device.session_count && row->device.sessions[0].bit33;

	cell->right = accepted == row->wanted->bit33 && row->accepted == row->wanted->bit33;
	snprintf(cell->seen, CELL_BYTES, "%s", accepted ? "set" : "clear");
	snprintf(cell->wanted, CELL_BYTES, "%s, in both halves", row->wanted->bit33 ? "set" : "clear");
}

static void identical(const struct demo_row *row, struct cell_text *cell)
{
	const uint64_t all = row->device.space.translations, same = row->device.space.identity_translations;
	const uint64_t percent = all ? same * 100 / all : 0;

	cell->right = all && same == (row->wanted->identical ? all : 0);
	snprintf(cell->seen, CELL_BYTES, same && !percent ? "< 1 %%" : "%" PRIu64 " %%", percent);
	snprintf(cell->wanted, CELL_BYTES, "%s of them", row->wanted->identical ? "all" : "none");
}

static void handed(const struct demo_row *row, struct cell_text *cell)
{
	const struct demo_maps *maps = &row->maps;

	cell->right = maps->memfd_bytes == handed_wanted(row) && maps->pool_bytes == row->pool_bytes &&
		      maps->private_bytes == (row->wanted->all_handed ? row->private_bytes : 0);
	put_size(cell->seen, maps->memfd_bytes);
	put_size(cell->wanted, handed_wanted(row));
}

static void reachable(const struct demo_row *row, struct cell_text *cell)
{
	const uint64_t peak = row->device.reachable_bytes_peak;
	const uint64_t most = row->wanted->all_handed ? handed_wanted(row) / 8 : row->pool_bytes;
	char size[CELL_BYTES];

	put_size(cell->seen, peak);
	switch (row->wanted->reach) {
	case DEMO_ALL:
		cell->right = peak == handed_wanted(row);
		put_size(cell->wanted, handed_wanted(row));
		break;
	case DEMO_POOL:
		cell->right = peak == row->pool_bytes;
		put_size(cell->wanted, row->pool_bytes);
		break;
	default:
		cell->right = peak && peak <= row->granted_peak && row->granted_peak <= most;
		put_size(size, row->granted_peak < most ? row->granted_peak : most);
		snprintf(cell->wanted, CELL_BYTES, "at most %.24s", size);
	}
}

static void moved(const struct demo_row *row, struct cell_text *cell)
{
	cell->right = row->data_right && row->moved == row->moved_wanted;
	if (row->data_right)
		put_size(cell->seen, row->moved);
	else
		snprintf(cell->seen, CELL_BYTES, "differ");
	put_size(cell->wanted, row->moved_wanted);
}

static void stray(const struct demo_row *row, struct cell_text *cell)
{
	const bool reached = row->wanted->enforcer == DEMO_NOBODY;
	const char *rule = refused_by(row);

	cell->right = reached ? row->stray.reached && row->stray.bytes == DRIVE_STRAY_BYTES :
				!row->stray.reached && !strcmp(rule, "DEV-10"); /* = DEV-10 */
	snprintf(cell->seen, CELL_BYTES, "%s%s%s", row->stray.reached ? "reached" : "refused", *rule ? " " : "", rule);
	snprintf(cell->wanted, CELL_BYTES, "%s", reached ? "reached" : "refused DEV-10");
}

static void enforced(const struct demo_row *row, struct cell_text *cell)
{
	const enum demo_enforcer seen = enforcer(row);

	cell->right = seen == row->wanted->enforcer;
	snprintf(cell->seen, CELL_BYTES, "%s", enforcers[seen]);
	snprintf(cell->wanted, CELL_BYTES, "%s", enforcers[row->wanted->enforcer]);
}

static void look(const struct demo_row *row, enum cell number, struct cell_text *cell)
{
	static void (*const of[CELLS])(const struct demo_row *row, struct cell_text *cell) = {
		ring, bit_33, identical, handed, reachable, moved, stray, enforced,
	};

	if (row->ran) {
		of[number](row, cell);
		return;
	}
	cell->right = false;
	snprintf(cell->seen, CELL_BYTES, "not run");
	snprintf(cell->wanted, CELL_BYTES, "to run");
}

/* ---- the table ---- */

static void print_line(const char *domain, const char *const cells[CELLS])
{
	printf("%-12s  %-6s %-6s  %-8s  %-6s  %-7s  %-5s  %-14s  %s\n", domain, cells[RING], cells[BIT_33],
	       cells[IDENTICAL], cells[HANDED], cells[REACHABLE], cells[MOVED], cells[STRAY], cells[ENFORCED]);
}

void demo_table_begin(void)
{
	static const char *const second[CELLS] = { "ring",  "bit 33", "physical", "over",
						      "peak", "moved",  "access",   "enforced by" };

	puts("                             bus =     handed  reach,          stray");
	print_line("domain", second);
}

bool demo_table_row(const struct demo_row *row)
{
	struct cell_text cells[CELLS];
	const char *texts[CELLS];
	bool right = true;

	for (unsigned i = 0; i < CELLS; i++) {
		look(row, (enum cell)i, &cells[i]);
		texts[i] = cells[i].seen;
		right = right && cells[i].right;
	}
	print_line(drive_domain_name(row->wanted->domain), texts);
	fflush(stdout);
	for (unsigned i = 0; i < CELLS && row->ran; i++)
		if (!cells[i].right)
			log_event("demo", "%s, %s ring, bit 33 %s: %s: %s, expected %s",
				  drive_domain_name(row->wanted->domain), layout(row->packed),
				  row->wanted->bit33 ? "set" : "clear", names[i], cells[i].seen, cells[i].wanted);
	if (!row->ran)
		log_event("demo", "%s, %s ring, bit 33 %s: not run", drive_domain_name(row->wanted->domain),
			  layout(row->packed), row->wanted->bit33 ? "set" : "clear");
	return right;
}

void demo_table_end(void)
{
	puts("\n"
	     "Bit 33 clear: the device reaches all it was handed. Set: what the platform grants, at its addresses.\n"
	     "What was never handed over is out of reach whatever the device does; else its own code is trusted.");
}

/* ---- JSON ---- */

struct everything {
	const struct demo_row *rows;
	unsigned count;
	int status;
	uint64_t elapsed_ns;
};

static void write_stray(FILE *file, const struct demo_row *row)
{
	const char *rule = refused_by(row);

	fprintf(file, "\"stray\": {\"address\": \"0x%" PRIx64 "\", \"reached\": %s, \"bytes\": %" PRIu32 ", \"requirement\": ",
		row->stray.bus.v, row->stray.reached ? "true" : "false", row->stray.bytes);
	if (*rule)
		viodma_text_json(file, rule);
	else
		fputs("null", file);
	fputs("}, ", file);
}

static void write_facts(FILE *file, const struct demo_row *row)
{
	fprintf(file,
		"\"private_bytes\": %" PRIu64 ", \"pool_bytes\": %" PRIu64 ", \"handed_over_bytes\": %" PRIu64
		", \"private_bytes_in_device\": %" PRIu64 ", \"reachable_bytes_peak\": %" PRIu64
		", \"granted_bytes_peak\": %" PRIu64 ",\n   \"translations\": %" PRIu64
		", \"identity_translations\": %" PRIu64 ", \"moved_bytes\": %" PRIu64 ", \"data_right\": %s,\n   ",
		row->private_bytes, row->pool_bytes, row->maps.memfd_bytes, row->maps.private_bytes,
		row->device.reachable_bytes_peak, row->granted_peak, row->device.space.translations,
		row->device.space.identity_translations, row->moved, row->data_right ? "true" : "false");
	write_stray(file, row);
	fprintf(file, "\"enforced_by\": \"%s\",\n   ", enforcers[enforcer(row)]);
}

static void write_row(FILE *file, const struct demo_row *row)
{
	const char *separator = "";

	fprintf(file, "{\"domain\": \"%s\", \"ring\": \"%s\", \"bit_33\": %s, \"ran\": %s,\n   ",
		drive_domain_name(row->wanted->domain), layout(row->packed), row->wanted->bit33 ? "true" : "false",
		row->ran ? "true" : "false");
	if (row->ran)
		write_facts(file, row);
	fputs("\"wrong\": [", file);
	for (unsigned i = 0; i < CELLS && row->ran; i++) {
		struct cell_text cell;

		look(row, (enum cell)i, &cell);
		if (cell.right)
			continue;
		fprintf(file, "%s\"%s\"", separator, keys[i]);
		separator = ", ";
	}
	fputs("]}", file);
}

static void write_all(FILE *file, const void *context)
{
	const struct everything *all = context;

	fputs("{\"version\": ", file);
	viodma_text_json(file, VIODMA_VERSION);
	fprintf(file, ", \"exit_status\": %d, \"elapsed_ns\": %" PRIu64 ", \"rows\": [", all->status, all->elapsed_ns);
	for (unsigned i = 0; i < all->count; i++) {
		fputs(i ? ",\n  " : "\n  ", file);
		write_row(file, &all->rows[i]);
	}
	fputs("]}\n", file);
}

bool demo_table_write(const char *path, const struct demo_row *rows, unsigned count, int status, uint64_t elapsed_ns)
{
	const struct everything all = { rows, count, status, elapsed_ns };

	return statistics_replace(path, write_all, &all);
}
