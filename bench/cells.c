/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cells.c - how it works: every combination there is can be named. Without --only, all of them run in one thread; in two
 * threads and in two processes, so many that each word stands beside each word of another kind somewhere:
 *
 *   two threads     plain: all; retpolines: one buffer, 32 at once
 *   two processes   one buffer: all; two, with either kind of descriptors: 4096 bytes
 *   quick           two sizes; two buffers, or from the device, in one thread and to the device alone
 *
 * There are none of raw or retpolines in two processes: the back end there is the library as it ships.
 *
 * --only: of each kind of word (mode, ring, descriptors, size, direction, batch, domain, build) those named; a kind of
 * which none is named is whole. The yardstick of what is chosen is measured with it.
 */
#include "bench/bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const modes[] = { "one-thread", "two-threads", "two-processes" };
static const char *const domains[] = { "raw",          "direct-clear",   "direct",          "offset",      "bounce",
				       "restricted", "iommu-strict", "iommu-deferred", "iommu-premapped", "bounce+iommu" };
static const char *const descriptors[] = { "one", "chain", "indirect" };
static const char *const builds[] = { "plain", "retpoline" };
static const char *const rings[] = { "split", "packed" };
static const char *const directions[] = { "to-device", "from-device" };
static const uint32_t sizes[] = { 64, 1500, 4096, 65536, 262145 };
static const uint32_t quick_sizes[] = { 64, 4096 };
static const char *const size_names[] = { "64", "1500", "4096", "65536", "262145" };
static const char *const batch_names[] = { "x1", "x32" };
static const uint32_t batches[] = { 1, 32 };
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

const char *bench_mode_name(enum bench_mode mode)
{
	return modes[mode];
}

const char *bench_domain_name(enum bench_domain domain)
{
	return domains[domain];
}

const char *bench_descriptors_name(enum bench_descriptors kind)
{
	return descriptors[kind];
}

const char *bench_build_name(enum bench_build build)
{
	return builds[build];
}

void bench_group_name(const struct bench_cell *cell, char *name)
{
	snprintf(name, BENCH_GROUP_NAME_BYTES, "%s %s %s %" PRIu32 " %s x%" PRIu32, modes[cell->mode], rings[cell->packed],
		 descriptors[cell->descriptors], cell->bytes, directions[cell->from_device], cell->batch);
}

const struct bench_engine *bench_engine(const struct bench_cell *cell)
{
	const bool raw = cell->domain == BENCH_RAW;

	if (cell->build == BENCH_PLAIN)
		return raw ? &bench_engine_raw : &bench_engine_plain;
#ifdef VIODMA_BENCH_RETPOLINE
	return raw ? &bench_engine_raw_retpoline : &bench_engine_retpoline;
#else
	return NULL;
#endif
}

/* ---- --only ---- */

static const struct {
	const char *const *words;
	size_t count;
} kinds[] = { { modes, LENGTH(modes) },           { rings, LENGTH(rings) },           { descriptors, LENGTH(descriptors) },
	      { size_names, LENGTH(size_names) }, { directions, LENGTH(directions) }, { batch_names, LENGTH(batch_names) },
	      { domains, LENGTH(domains) },       { builds, LENGTH(builds) } };

/* The next word of a list with commas or blanks between them. */
static bool next_word(const char **at, const char **word, size_t *length)
{
	*at += strspn(*at, ", ");
	*word = *at;
	*length = strcspn(*at, ", ");
	*at += *length;
	return *length != 0;
}

static bool is_word(const char *word, size_t length, const char *name)
{
	return strlen(name) == length && !memcmp(word, name, length);
}

static bool of_kind(size_t kind, const char *word, size_t length)
{
	for (size_t i = 0; i < kinds[kind].count; i++)
		if (is_word(word, length, kinds[kind].words[i]))
			return true;
	return false;
}

bool bench_only_known(const char *only, const char **unknown, size_t *length)
{
	while (next_word(&only, unknown, length)) {
		bool known = false;

		for (size_t kind = 0; kind < LENGTH(kinds); kind++)
			known |= of_kind(kind, *unknown, *length);
		if (!known)
			return false;
	}
	return true;
}

static bool wanted(const struct bench_choice *choice, size_t kind, const char *name)
{
	const char *at = choice->only ? choice->only : "", *word;
	bool any = false;
	size_t length;

	while (next_word(&at, &word, &length)) {
		if (is_word(word, length, name))
			return true;
		any |= of_kind(kind, word, length);
	}
	return !any;
}

/* ---- the cells ---- */

enum { MODE, RING, DESCRIPTORS, SIZE, DIRECTION, BATCH, DOMAIN, BUILD };

/* Is it there although nobody named it? */
static bool group_by_itself(const struct bench_choice *choice, const struct bench_cell *cell)
{
	const bool two = cell->mode != BENCH_ONE_THREAD;

	if (choice->quick)
		return two ? cell->descriptors == BENCH_ONE && !cell->from_device :
			     cell->descriptors == BENCH_ONE || !cell->from_device;
	return cell->mode != BENCH_TWO_PROCESSES || cell->descriptors == BENCH_ONE || cell->bytes == 4096;
}

/* Likewise, retpolines of a group that is. */
static bool build_by_itself(const struct bench_choice *choice, const struct bench_cell *cell)
{
	return cell->mode == BENCH_ONE_THREAD ||
	       (!choice->quick && cell->descriptors == BENCH_ONE && cell->batch != 1);
}

static bool group_wanted(const struct bench_choice *choice, const struct bench_cell *cell)
{
	char size[16], batch[16];

	snprintf(size, sizeof(size), "%" PRIu32, cell->bytes);
	snprintf(batch, sizeof(batch), "x%" PRIu32, cell->batch);
	return (choice->only || group_by_itself(choice, cell)) && wanted(choice, MODE, modes[cell->mode]) && wanted(choice, RING, rings[cell->packed]) &&
	       wanted(choice, DESCRIPTORS, descriptors[cell->descriptors]) && wanted(choice, SIZE, size) &&
	       wanted(choice, DIRECTION, directions[cell->from_device]) && wanted(choice, BATCH, batch);
}

/* The cells of a group; raw first, and there whether it was asked for or not, unless `alone`. */
static uint32_t cells_of_group(const struct bench_choice *choice, const struct bench_cell *group, struct bench_cell *cells)
{
	uint32_t count = 0;

	for (unsigned build = 0; build < BENCH_BUILDS; build++) {
		const uint32_t first = count;

		if (!wanted(choice, BUILD, builds[build]) || (build && group->mode == BENCH_TWO_PROCESSES) ||
		    (build && !choice->only && !build_by_itself(choice, group)))
			continue;
		for (unsigned domain = 0; domain < BENCH_DOMAINS; domain++) {
			struct bench_cell cell = *group;

			cell.domain = (enum bench_domain)domain;
			cell.build = (enum bench_build)build;
			if (cell.mode == BENCH_TWO_PROCESSES && domain == BENCH_RAW)
				continue;
			if (!bench_engine(&cell) || (!wanted(choice, DOMAIN, domains[domain]) &&
						     (domain != BENCH_RAW || choice->alone)))
				continue;
			cells[count++] = cell;
		}
		if (count == first + 1 && cells[first].domain == BENCH_RAW && !wanted(choice, DOMAIN, domains[BENCH_RAW]))
			count = first; /* a yardstick, and nothing to measure */
	}
	return count;
}

static bool visit_group(const struct bench_choice *choice, const struct bench_cell *group,
			bool (*visit)(void *context, const struct bench_cell *cells, uint32_t count), void *context)
{
	struct bench_cell cells[BENCH_GROUP_MAX];
	const uint32_t count = group_wanted(choice, group) ? cells_of_group(choice, group, cells) : 0;

	return !count || visit(context, cells, count);
}

bool bench_each_group(const struct bench_choice *choice,
		      bool (*visit)(void *context, const struct bench_cell *cells, uint32_t count), void *context)
{
	const uint32_t *const bytes = choice->quick && !choice->only ? quick_sizes : sizes;
	const size_t bytes_count = choice->quick && !choice->only ? LENGTH(quick_sizes) : LENGTH(sizes);
	struct bench_cell cell = { 0 };

	for (unsigned mode = 0; mode < BENCH_MODES; mode++)
		for (unsigned at = 0; at < 2 * BENCH_DESCRIPTORS * 2 * LENGTH(batches) * bytes_count; at++) {
			unsigned rest = at;

			cell.mode = (enum bench_mode)mode;
			cell.batch = batches[LENGTH(batches) - 1 - rest % LENGTH(batches)];
			rest /= LENGTH(batches);
			cell.from_device = rest % 2;
			rest /= 2;
			cell.bytes = bytes[rest % bytes_count];
			rest /= (unsigned)bytes_count;
			cell.descriptors = (enum bench_descriptors)(rest % BENCH_DESCRIPTORS);
			cell.packed = rest / BENCH_DESCRIPTORS;
			if (!visit_group(choice, &cell, visit, context))
				return false;
		}
	return true;
}
