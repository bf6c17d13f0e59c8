/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_inflight.c - a ring's part of the in-flight region, split or packed, is the input's: front ends may write there
 * whatever they like, before a back end reads it and while it does.
 *
 * How it works: the input begins with the layout, the sizes and the region's first bytes; the rest is a sequence of
 * operations. Region and private memory are exactly as large as they have to be, so an access outside of them ends the
 * process. The record is resumed from. If it agrees with itself, what it lists must be chains that a ring of that size can
 * have; else it is begun anew. Then chains are taken, returned and given back, as a queue does it; a kill is a second
 * resumption, from the region alone, which must list exactly what is in flight then, oldest first.
 *
 * If the input says so, bytes of the region change at each store of ours. Then it may say anything, but is still in bounds.
 */
#include "fuzz/input.h"
#include "hosted/vhost_user/inflight.h"
#include "tests/support/hooks.h"

#include <viodma/queue.h>

#define SIZE_MOST 24u
#define DESCRIPTORS_MOST 40u

struct record {
	struct viodma_inflight_split split;
	struct viodma_inflight_packed packed;
	struct viodma_queue_chain *chains;
	uint32_t count, base;
	void *memory[4];
};

static bool packed;
static uint32_t size, desc_num; /* of the ring; of the region */
static unsigned char *region;
static size_t region_bytes;
static struct input *changes; /* NULL: the region is ours alone */

/* The truth: the ring. */
static uint16_t flying[SIZE_MOST], counts[SIZE_MOST]; /* ids, oldest first; descriptors, by id */
static uint32_t flying_count, flying_descriptors;
static uint32_t used; /* split: index; packed: position, and wrap counter in bit 15 */
static bool used_place[SIZE_MOST][2]; /* packed: by position and lap, as a hostile ring answers */

static void change(void)
{
	if (changes && changes->left)
		region[input_byte(changes) * region_bytes / 256] = input_byte(changes);
}

static enum viodma_result peek(void *context, uint16_t position, bool wrap, bool *answer)
{
	(void)context;
	MUST(position < size);
	*answer = used_place[position][wrap];
	return VIODMA_OK;
}

static void *exactly(size_t bytes)
{
	void *memory = malloc(bytes);

	MUST(memory != NULL);
	return memory;
}

static void attach(struct record *record)
{
	unsigned char *states = region + (packed ? sizeof(struct vhost_user_inflight_packed)
						 : sizeof(struct vhost_user_inflight_split));

	record->chains = exactly(size * sizeof(*record->chains));
	record->memory[0] = exactly(desc_num * sizeof(uint64_t));
	record->memory[1] = exactly(desc_num * sizeof(struct viodma_inflight_entry));
	record->memory[2] = exactly(desc_num * sizeof(uint16_t));
	record->memory[3] = exactly(desc_num * sizeof(struct virtq_packed_desc));
	record->split = (struct viodma_inflight_split){
		.header = (void *)region, .states = (void *)states, .desc_num = desc_num, .order = record->memory[0]};
	record->packed = (struct viodma_inflight_packed){
		.header = (void *)region, .states = (void *)states, .desc_num = desc_num,
		.entries = record->memory[1], .heads = record->memory[2], .descriptors = record->memory[3]};
}

static void detach(struct record *record)
{
	free(record->chains);
	for (unsigned i = 0; i < 4; i++)
		free(record->memory[i]);
}

static enum viodma_result resume(struct record *record)
{
	const struct viodma_inflight_peek with = {peek, NULL};

	record->base = packed ? used << 16 | used : used;
	return packed ? viodma_inflight_packed_resume(&record->packed, size, &with, record->chains, &record->count,
						      &record->base)
		      : viodma_inflight_split_resume(&record->split, size, (uint16_t)used, record->chains, &record->count,
						     &record->base);
}

static uint32_t moved(uint32_t position, uint32_t by)
{
	const uint32_t wrap = 1u << VIRTQ_PACKED_WRAP_BIT, place = (position & (wrap - 1)) + by;

	return place < size ? (position & wrap) | place : ((position & wrap) ^ wrap) | (place - size);
}

/* What is listed may be in flight in such a ring. */
static void check_list(const struct record *record)
{
	bool seen[SIZE_MOST] = {false};
	uint32_t descriptors = 0;

	MUST(record->count <= size);
	for (uint32_t i = 0; i < record->count; i++) {
		const struct viodma_queue_chain *chain = &record->chains[i];

		MUST(chain->id < size && !seen[chain->id]);
		seen[chain->id] = true;
		if (!packed)
			continue;
		MUST(chain->count >= 1 && chain->descriptors >= record->packed.descriptors &&
		     chain->descriptors + chain->count <= record->packed.descriptors + desc_num);
		MUST(viodma_le16_get(chain->descriptors[chain->count - 1].id) == chain->id);
		descriptors += chain->count;
	}
	MUST(descriptors <= size);
	if (packed)
		MUST((record->base >> 16 & 0x7fff) < size &&
		     (record->base & 0xffff) == moved(record->base >> 16, descriptors));
	else
		MUST(record->base == (uint16_t)(used + record->count));
}

/* From now on the ring is as the record says. */
static void believe(const struct record *record)
{
	flying_count = record->count;
	flying_descriptors = 0;
	for (uint32_t i = 0; i < record->count; i++) {
		flying[i] = record->chains[i].id;
		counts[flying[i]] = packed ? record->chains[i].count : 1;
		flying_descriptors += counts[flying[i]];
	}
	used = packed ? record->base >> 16 : (uint16_t)(record->base - record->count);
}

/* ---- as a queue does it ---- */

static bool is_flying(uint32_t id)
{
	for (uint32_t i = 0; i < flying_count; i++)
		if (flying[i] == id)
			return true;
	return false;
}

static void take(struct record *record, uint8_t operand)
{
	struct virtq_packed_desc descriptors[SIZE_MOST];
	const uint16_t id = operand % size;
	struct viodma_queue_chain chain = {id, packed ? (uint16_t)(1 + operand / size % 4) : 1, descriptors};

	if (is_flying(id) || flying_descriptors + chain.count > size)
		return;
	for (uint32_t i = 0; i < chain.count; i++)
		descriptors[i] = (struct virtq_packed_desc){viodma_le64_of(operand), viodma_le32_of(i), viodma_le16_of(id),
							    viodma_le16_of(0)};
	if (packed)
		viodma_inflight_packed_taken(&record->packed, &chain);
	else
		viodma_inflight_split_taken(&record->split, id);
	flying[flying_count++] = id;
	counts[id] = chain.count;
	flying_descriptors += chain.count;
}

static void land(uint32_t at)
{
	flying_descriptors -= counts[flying[at]];
	memmove(&flying[at], &flying[at + 1], (--flying_count - at) * sizeof(flying[0]));
}

/* stage 0: the ring did not take it, and it is tried again later; 1: killed when it did; 2: all of it. */
static void give(struct record *record, uint8_t operand, unsigned stage)
{
	uint32_t at;
	uint16_t id;

	if (!flying_count)
		return;
	at = operand % flying_count;
	id = flying[at];
	if (packed)
		viodma_inflight_packed_returning(&record->packed, id);
	else
		viodma_inflight_split_returning(&record->split, id);
	if (!stage)
		return;
	if (packed) {
		used_place[used & 0x7fff][used >> 15] = true;
		used_place[used & 0x7fff][!(used >> 15)] = false; /* of the next lap */
		used = moved(used, counts[id]);
	} else {
		used = (uint16_t)(used + 1);
	}
	if (stage == 2 && packed)
		viodma_inflight_packed_returned(&record->packed, id);
	else if (stage == 2)
		viodma_inflight_split_returned(&record->split, id);
	land(at);
}

static void give_back(struct record *record)
{
	if (!flying_count)
		return;
	if (packed)
		viodma_inflight_packed_given_back(&record->packed, flying[flying_count - 1]);
	else
		viodma_inflight_split_given_back(&record->split, flying[flying_count - 1]);
	land(flying_count - 1);
}

/* Whoever comes after a kill knows the region, and the ring. */
static void kill_it(struct record *record)
{
	enum viodma_result result;

	detach(record);
	attach(record);
	if (packed) /* what is not used yet at the used position is available there */
		used_place[used & 0x7fff][used >> 15] = false;
	result = resume(record);
	if (changes) {
		if (result != VIODMA_OK) {
			changes = NULL;
			viodma_inflight_put16(&record->split.header->version, 0);
			result = resume(record);
		}
		MUST(result == VIODMA_OK);
		check_list(record);
		believe(record);
		return;
	}
	MUST(result == VIODMA_OK);
	check_list(record);
	MUST(record->count == flying_count);
	for (uint32_t i = 0; i < flying_count; i++)
		MUST(record->chains[i].id == flying[i] && (!packed || record->chains[i].count == counts[flying[i]]));
	MUST(packed ? record->base >> 16 == used : record->base == (uint16_t)(used + flying_count));
}

static void operation(struct record *record, struct input *input)
{
	const uint8_t code = input_byte(input), operand = input_byte(input);

	switch (code % 8) {
	case 0:
	case 1:
	case 2:
		take(record, operand);
		break;
	case 3:
	case 4:
		give(record, operand, 2);
		break;
	case 5:
		give(record, operand, 0);
		break;
	case 6:
		give_back(record);
		break;
	default:
		if (operand & 1)
			give(record, operand / 2, 1);
		kill_it(record);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input input = {data, bytes}, later;
	const uint8_t options = input_byte(&input);
	struct record record = {0};
	enum viodma_result result;
	unsigned i;

	packed = options & 1;
	desc_num = 1 + input_byte(&input) % DESCRIPTORS_MOST;
	size = 1 + input_byte(&input) % SIZE_MOST;
	if (!packed)
		while (size & (size - 1))
			size &= size - 1;
	used = input_u16(&input);
	if (packed)
		used = (used & 0x8000) | (used & 0x7fff) % size;
	for (i = 0; i < SIZE_MOST; i++)
		used_place[i][0] = used_place[i][1] = options >> (2 + i % 6) & 1;
	flying_count = flying_descriptors = 0;
	region_bytes = (size_t)viodma_inflight_bytes(packed, desc_num);
	region = exactly(region_bytes);
	memset(region, 0, region_bytes);
	input_bytes(&input, region, region_bytes);
	later = input;
	changes = options & 2 ? &later : NULL;
	viodma_inflight_store_hook_fn = change;
	attach(&record);
	result = resume(&record);
	if (result != VIODMA_OK) {
		MUST(result == VIODMA_PEER_RECORD);
		changes = NULL;
		viodma_inflight_put16(&record.split.header->version, 0);
		result = resume(&record);
	}
	if (size <= desc_num) {
		MUST(result == VIODMA_OK);
		check_list(&record);
		believe(&record);
		while (input.left)
			operation(&record, &input);
		kill_it(&record);
	} else {
		MUST(result == VIODMA_PEER_RECORD);
	}
	viodma_inflight_store_hook_fn = NULL;
	changes = NULL;
	detach(&record);
	free(region);
	return 0;
}
