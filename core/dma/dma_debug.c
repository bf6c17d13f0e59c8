/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dma_debug.c - how it works: the caller's entries, one for each live mapping and for the last few (FAILED_MOST) whose
 * map failed, stand at the front of the table, unsorted; one that ends is replaced by the last. An entry is found by
 * the address of its mapping. It keeps what the mapping, its buffers and its segments were (a hash), and a checksum of
 * what the device may read.
 *
 * Cost: a map, unmap, sync or hand-over looks at each live mapping once, a comparison each. A map compares its buffers
 * with those of another only if one of both is written by the device and the spans from first to last byte meet. Each
 * map, sync and hand-over of something the device reads runs over all its bytes, eight at a time; for requests of some
 * kilobytes that is most of it.
 *
 * Limits: the checksum is of a whole mapping, so that a sync of part of it also forgives what was changed elsewhere. A
 * BIDIRECTIONAL mapping that the device has written, and that is handed over again without any sync, is reported: whose
 * change it was cannot be told. Once the table was full, a mapping that is not found may be a live one, and passes.
 */
#include <viodma/port.h>

#include "dma.h"

#define FAILED_MOST 16u
#define MULTIPLIER 0x9e3779b97f4a7c15u

void viodma_debug_init(struct viodma_debug *debug, struct viodma_debug_entry *entries, uint32_t entry_count,
		       void (*report)(void *context, const struct viodma_debug_report *report), void *context)
{
	memset(debug, 0, sizeof(*debug));
	debug->entries = entries;
	debug->entry_count = entry_count;
	debug->report = report;
	debug->context = context;
}

const char *viodma_debug_kind_name(enum viodma_debug_kind kind)
{
	switch (kind) {
	case VIODMA_DEBUG_LEAK:
		return "leak";
	case VIODMA_DEBUG_DOUBLE_MAP:
		return "double map";
	case VIODMA_DEBUG_NOT_MAPPED:
		return "not mapped";
	case VIODMA_DEBUG_UNCHECKED_MAP:
		return "unchecked map";
	case VIODMA_DEBUG_DIRECTION:
		return "direction";
	case VIODMA_DEBUG_LENGTH:
		return "length";
	case VIODMA_DEBUG_CHANGED:
		return "changed";
	case VIODMA_DEBUG_OVERLAP:
		return "overlap";
	case VIODMA_DEBUG_WITHOUT_SYNC:
		return "without sync";
	case VIODMA_DEBUG_FULL:
		return "full";
	}
	return "unknown";
}

/* ---- reports ---- */

static void tell(struct viodma_debug *debug, const struct viodma_debug_report *report)
{
	debug->reports++;
	debug->counts[report->kind]++;
	if (debug->report)
		debug->report(debug->context, report);
}

static void tell_of(struct viodma_debug *debug, enum viodma_debug_kind kind, const struct viodma_debug_entry *entry)
{
	struct viodma_debug_report report = {
		.kind = kind,
		.mapping = entry->mapping,
		.phys = entry->phys,
		.len_bytes = entry->len_bytes,
		.direction = entry->direction,
		.number = entry->number,
	};

	tell(debug, &report);
}

/* ---- checksums ---- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * MULTIPLIER;
	return hash ^ hash >> 29;
}

static uint64_t hash_bytes(uint64_t hash, const unsigned char *bytes, uint64_t len_bytes)
{
	uint64_t word;

	for (; len_bytes >= sizeof(word); bytes += sizeof(word), len_bytes -= sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		hash = mix(hash, word);
	}
	word = len_bytes;
	while (len_bytes--)
		word = word << 8 | *bytes++;
	return mix(hash, word);
}

/* Of buffers and segments as they are now. */
static uint64_t hash_lists(const struct viodma_debug_entry *entry)
{
	uint64_t hash = 1;
	uint32_t i;

	for (i = 0; i < entry->buffer_count; i++)
		hash = mix(mix(hash, entry->buffers[i].phys.v), entry->buffers[i].len_bytes);
	for (i = 0; i < entry->segment_count; i++) {
		hash = mix(mix(hash, entry->segments[i].bus.v), entry->segments[i].len_bytes);
		hash = mix(hash, (uint64_t)entry->segments[i].permission);
	}
	return hash;
}

/* Of what the device may read. 0: nothing, or memory that cannot be looked at. */
static uint64_t hash_data(const struct viodma_domain *domain, const struct viodma_debug_entry *entry)
{
	uint64_t hash = 1;
	uint32_t i;

	if (!(entry->direction & VIODMA_TO_DEVICE) || !domain->config.memory)
		return 0;
	for (i = 0; i < entry->buffer_count; i++) {
		viodma_phys phys = entry->buffers[i].phys;
		uint64_t left = entry->buffers[i].len_bytes, part;

		for (; left; left -= part, phys.v += part) {
			const unsigned char *bytes;

			part = left;
			bytes = viodma_memory_part(domain->config.memory, phys, &part);
			if (!bytes)
				return 0;
			hash = hash_bytes(hash, bytes, part);
		}
	}
	return hash;
}

/* ---- the table ---- */

static struct viodma_debug_entry *find(struct viodma_debug *debug, const struct viodma_mapping *mapping)
{
	uint32_t i;

	for (i = 0; i < debug->used; i++)
		if (debug->entries[i].mapping == mapping)
			return &debug->entries[i];
	return NULL;
}

static void drop(struct viodma_debug *debug, struct viodma_debug_entry *entry)
{
	if (entry->live)
		debug->live--;
	*entry = debug->entries[--debug->used];
}

/* The failed map that is longest ago. */
static struct viodma_debug_entry *oldest_failed(struct viodma_debug *debug)
{
	struct viodma_debug_entry *oldest = NULL;
	uint32_t i;

	for (i = 0; i < debug->used; i++)
		if (debug->entries[i].failed && (!oldest || debug->entries[i].number < oldest->number))
			oldest = &debug->entries[i];
	return oldest;
}

static struct viodma_debug_entry *add(struct viodma_debug *debug, bool live)
{
	struct viodma_debug_entry *entry;

	if (debug->used == debug->entry_count || (!live && debug->used - debug->live >= FAILED_MOST)) {
		entry = oldest_failed(debug);
		if (!entry)
			return NULL;
		drop(debug, entry);
	}
	entry = &debug->entries[debug->used++];
	memset(entry, 0, sizeof(*entry));
	entry->live = live;
	entry->failed = !live;
	if (live)
		debug->live++;
	return entry;
}

/* The live entry of a mapping that is used; else reports. *goes_on: whether the use does. */
static struct viodma_debug_entry *live_entry(struct viodma_debug *debug, const struct viodma_mapping *mapping,
					     bool *goes_on)
{
	struct viodma_debug_entry *entry = find(debug, mapping);
	struct viodma_debug_report report = {
		.kind = VIODMA_DEBUG_NOT_MAPPED,
		.mapping = mapping,
		.direction = mapping->direction,
	};

	*goes_on = true;
	if (entry && entry->live)
		return entry;
	*goes_on = !entry && debug->full && mapping->domain;
	if (*goes_on)
		return NULL;
	if (entry)
		tell_of(debug, VIODMA_DEBUG_UNCHECKED_MAP, entry);
	else
		tell(debug, &report);
	return NULL;
}

/* ---- what is looked for ---- */

/* As it was when it was mapped? */
static bool unchanged(struct viodma_debug *debug, const struct viodma_debug_entry *entry,
		      const struct viodma_mapping *mapping)
{
	if (mapping->domain && mapping->buffers == entry->buffers && mapping->buffer_count == entry->buffer_count &&
	    mapping->segments == entry->segments && mapping->segment_count == entry->segment_count &&
	    mapping->len_bytes == entry->len_bytes && mapping->direction == entry->direction &&
	    entry->hash == hash_lists(entry))
		return true;
	tell_of(debug, VIODMA_DEBUG_CHANGED, entry);
	return false;
}

static bool meet(const struct viodma_buffer *one, const struct viodma_buffer *other)
{
	return one->phys.v <= other->phys.v + (other->len_bytes - 1) &&
	       other->phys.v <= one->phys.v + (one->len_bytes - 1);
}

/* Report the first bytes that two mappings share. */
static void compare(struct viodma_debug *debug, const struct viodma_debug_entry *entry,
		    const struct viodma_debug_entry *other)
{
	struct viodma_debug_report report = {
		.kind = VIODMA_DEBUG_OVERLAP,
		.mapping = entry->mapping,
		.direction = entry->direction,
		.number = entry->number,
	};
	uint32_t i, k;

	for (i = 0; i < entry->buffer_count; i++) {
		const struct viodma_buffer *one = &entry->buffers[i], *two;
		uint64_t last = one->phys.v + (one->len_bytes - 1);

		if (one->phys.v > other->last.v || last < other->first.v)
			continue;
		for (k = 0; k < other->buffer_count; k++) {
			two = &other->buffers[k];
			if (!meet(one, two))
				continue;
			report.phys = one->phys.v > two->phys.v ? one->phys : two->phys;
			if (last > two->phys.v + (two->len_bytes - 1))
				last = two->phys.v + (two->len_bytes - 1);
			report.len_bytes = last - report.phys.v + 1;
			tell(debug, &report);
			return;
		}
	}
}

static void look_for_overlap(struct viodma_debug *debug, const struct viodma_debug_entry *entry)
{
	uint32_t i;

	for (i = 0; i < debug->used; i++) {
		const struct viodma_debug_entry *other = &debug->entries[i];

		if (other != entry && other->live && ((entry->direction | other->direction) & VIODMA_FROM_DEVICE) &&
		    entry->first.v <= other->last.v && other->first.v <= entry->last.v)
			compare(debug, entry, other);
	}
}

/* ---- what domain.c and the rings call ---- */

bool viodma_debug_map_begin(struct viodma_debug *debug, const struct viodma_mapping *mapping)
{
	struct viodma_debug_entry *entry = find(debug, mapping);

	if (entry && entry->live) {
		tell_of(debug, VIODMA_DEBUG_DOUBLE_MAP, entry);
		return false;
	}
	if (entry)
		drop(debug, entry);
	return true;
}

static void remember(struct viodma_debug_entry *entry, const struct viodma_mapping *mapping)
{
	uint32_t i;

	entry->buffers = mapping->buffers;
	entry->buffer_count = mapping->buffer_count;
	entry->segments = mapping->segments;
	entry->segment_count = mapping->segment_count;
	entry->hash = hash_lists(entry);
	entry->data = hash_data(mapping->domain, entry);
	entry->first = entry->phys;
	entry->last = entry->phys;
	for (i = 0; i < entry->buffer_count; i++) {
		viodma_phys first = entry->buffers[i].phys, last = first;

		last.v += entry->buffers[i].len_bytes - 1;
		if (first.v < entry->first.v)
			entry->first = first;
		if (last.v > entry->last.v)
			entry->last = last;
	}
}

void viodma_debug_map_end(struct viodma_debug *debug, struct viodma_mapping *mapping, enum viodma_result result)
{
	struct viodma_debug_entry *entry = add(debug, result == VIODMA_OK);
	struct viodma_debug_entry unknown = {.mapping = mapping, .number = ++debug->maps};

	if (!entry && (result != VIODMA_OK || debug->full))
		return;
	if (!entry)
		entry = &unknown;
	entry->mapping = mapping;
	entry->number = debug->maps;
	entry->direction = mapping->direction;
	entry->len_bytes = mapping->len_bytes;
	if (mapping->buffer_count)
		entry->phys = mapping->buffers[0].phys;
	if (entry == &unknown) {
		debug->full = true;
		tell_of(debug, VIODMA_DEBUG_FULL, entry);
	} else if (entry->live) {
		remember(entry, mapping);
		look_for_overlap(debug, entry);
	}
}

bool viodma_debug_unmap(struct viodma_debug *debug, struct viodma_mapping *mapping, uint64_t written_bytes)
{
	struct viodma_debug_entry *entry;
	bool goes_on;

	entry = live_entry(debug, mapping, &goes_on);
	if (!entry)
		return goes_on;
	(void)unchanged(debug, entry, mapping);
	if (written_bytes > entry->len_bytes)
		tell_of(debug, VIODMA_DEBUG_LENGTH, entry);
	else if (written_bytes && !(entry->direction & VIODMA_FROM_DEVICE))
		tell_of(debug, VIODMA_DEBUG_DIRECTION, entry);
	if (mapping->domain) /* else it was overwritten, and stays mapped */
		drop(debug, entry);
	return true;
}

bool viodma_debug_sync(struct viodma_debug *debug, const struct viodma_mapping *mapping, uint64_t offset,
		       uint64_t len_bytes, bool for_device)
{
	struct viodma_debug_entry *entry;
	bool goes_on;

	entry = live_entry(debug, mapping, &goes_on);
	if (!entry)
		return goes_on;
	(void)unchanged(debug, entry, mapping);
	if (offset > entry->len_bytes || len_bytes > entry->len_bytes - offset)
		tell_of(debug, VIODMA_DEBUG_LENGTH, entry);
	if (!for_device && !(entry->direction & VIODMA_FROM_DEVICE))
		tell_of(debug, VIODMA_DEBUG_DIRECTION, entry);
	return true;
}

void viodma_debug_synced(struct viodma_debug *debug, const struct viodma_mapping *mapping)
{
	struct viodma_debug_entry *entry = find(debug, mapping);

	if (entry && entry->live && mapping->domain)
		entry->data = hash_data(mapping->domain, entry);
}

/* A segment whose permission the direction does not allow. */
static bool beyond_direction(const struct viodma_debug_entry *entry)
{
	uint32_t i;

	for (i = 0; i < entry->segment_count; i++)
		if ((unsigned)entry->segments[i].permission & ~(unsigned)entry->direction)
			return true;
	return false;
}

bool viodma_debug_hand_over(const struct viodma_mapping *mapping)
{
	struct viodma_debug *debug = mapping->checked_by;
	struct viodma_debug_entry *entry;
	bool goes_on;

	if (!debug)
		return true;
	entry = live_entry(debug, mapping, &goes_on);
	if (!entry)
		return goes_on;
	if (beyond_direction(entry)) {
		tell_of(debug, VIODMA_DEBUG_DIRECTION, entry);
		return false;
	}
	if (!unchanged(debug, entry, mapping))
		return false;
	if (entry->data != hash_data(mapping->domain, entry)) {
		tell_of(debug, VIODMA_DEBUG_WITHOUT_SYNC, entry);
		return false;
	}
	return true;
}

void viodma_debug_end(struct viodma_debug *debug)
{
	uint32_t i;

	for (i = 0; i < debug->used; i++)
		if (debug->entries[i].live)
			tell_of(debug, VIODMA_DEBUG_LEAK, &debug->entries[i]);
}
