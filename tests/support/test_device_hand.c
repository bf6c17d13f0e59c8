/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_device_hand.c - how it works: the device's side of a ring, word by word, split and packed: what it takes, what it
 * says that it used, whether it would call. It keeps to the standard unless it is asked not to; ids and lengths are
 * written as the test says.
 */
#include "tests/support/hooks.h"
#include "tests/support/test_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAP (VIRTQ_PACKED_DESC_F_AVAIL | VIRTQ_PACKED_DESC_F_USED)

static void must(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "test device: %s\n", what);
	abort();
}

static unsigned char *word(struct test_device_queue *queue, viodma_bus part, uint32_t offset,
			   enum viodma_permission permission)
{
	unsigned char *memory = test_device_at(queue->device, part.v + offset, 2, permission);

	must(memory != NULL, "the device does not reach its ring");
	return memory;
}

static uint16_t get16(struct test_device_queue *queue, viodma_bus part, uint32_t offset)
{
	uint16_t wire;

	memcpy(&wire, word(queue, part, offset, VIODMA_READ), sizeof(wire));
	return viodma_le16_get((viodma_le16){wire});
}

static void put16(struct test_device_queue *queue, viodma_bus part, uint32_t offset, uint32_t number)
{
	const viodma_le16 wire = viodma_le16_of((uint16_t)number);

	memcpy(word(queue, part, offset, VIODMA_WRITE), &wire, sizeof(wire));
}

void test_device_hand_begin(struct test_device_queue *queue, const struct viodma_queue_setup *setup)
{
	queue->setup = *setup;
	queue->taken = queue->used = (struct test_place){.lap = VIRTQ_PACKED_DESC_F_AVAIL};
	queue->called = 0;
	memset(queue->descriptors, 0, sizeof(queue->descriptors));
}

static void go_on(const struct test_device_queue *queue, struct test_place *place, uint32_t descriptors)
{
	place->at += descriptors;
	if (!queue->setup.packed || place->at < queue->where.size)
		return;
	place->at -= queue->where.size;
	place->lap ^= LAP;
}

/* ---- split: words ---- */

void test_device_set_used_index(struct test_device_queue *queue, uint16_t index)
{
	queue->used.at = index;
	put16(queue, queue->where.used, VIRTQ_USED_IDX, index);
}

static uint32_t avail_index(struct test_device_queue *queue)
{
	return get16(queue, queue->where.avail, VIRTQ_AVAIL_IDX);
}

/* ---- packed: words ---- */

static struct virtq_packed_desc packed_desc(struct test_device_queue *queue, uint32_t at)
{
	struct virtq_packed_desc desc;

	must(at < queue->where.size, "a place beyond the ring");
	memcpy(&desc, word(queue, queue->where.desc, at * 16, VIODMA_READ), sizeof(desc));
	return desc;
}

static bool is_available(struct test_device_queue *queue, const struct test_place *place)
{
	const struct virtq_packed_desc desc = packed_desc(queue, place->at);

	return (viodma_le16_get(desc.flags) & LAP) == place->lap;
}

void test_device_put_flags(struct test_device_queue *queue, uint32_t at, uint32_t flags)
{
	put16(queue, queue->where.desc, at * 16 + 14, flags);
}

static void put_packed(struct test_device_queue *queue, uint32_t id, uint32_t len_bytes)
{
	const viodma_le32 len = viodma_le32_of(len_bytes);
	const uint32_t at = queue->used.at;

	memcpy(word(queue, queue->where.desc, at * 16 + 8, VIODMA_WRITE), &len, sizeof(len));
	put16(queue, queue->where.desc, at * 16 + 12, id);
	test_device_put_flags(queue, at, queue->used.lap == VIRTQ_PACKED_DESC_F_AVAIL ? LAP : 0);
}

/* ---- notifications ---- */

void test_device_want_kicks(struct test_device_queue *queue, bool want)
{
	if (queue->setup.packed) {
		put16(queue, queue->where.used, 0, 0);
		put16(queue, queue->where.used, 2, want ? VIRTQ_PACKED_EVENT_ENABLE : VIRTQ_PACKED_EVENT_DISABLE);
	} else {
		put16(queue, queue->where.used, VIRTQ_USED_FLAGS, want ? 0 : VIRTQ_USED_F_NO_NOTIFY);
	}
}

void test_device_want_kick_at(struct test_device_queue *queue, uint32_t chain)
{
	struct test_place place = {.lap = VIRTQ_PACKED_DESC_F_AVAIL};

	if (!queue->setup.packed) {
		put16(queue, queue->where.used, VIRTQ_USED_AVAIL_EVENT(queue->where.size), chain);
		return;
	}
	for (; chain; chain--)
		go_on(queue, &place, 2);
	test_device_set_event(queue, place.at | (place.lap == VIRTQ_PACKED_DESC_F_AVAIL ? 0x8000u : 0u),
			      VIRTQ_PACKED_EVENT_DESC);
}

void test_device_set_event(struct test_device_queue *queue, uint32_t off_wrap, uint32_t flags)
{
	put16(queue, queue->where.used, 0, off_wrap);
	put16(queue, queue->where.used, 2, flags);
}

/* Between two positions the device used something: does the driver want to hear of it? (Sections 2.7.7, 2.8.10.) */
static bool wants_call(struct test_device_queue *queue, struct test_place from, uint32_t descriptors)
{
	uint32_t off_wrap, flags, i;

	if (!queue->setup.packed && !queue->setup.event_idx)
		return !(get16(queue, queue->where.avail, VIRTQ_AVAIL_FLAGS) & VIRTQ_AVAIL_F_NO_INTERRUPT);
	if (!queue->setup.packed)
		return get16(queue, queue->where.avail, VIRTQ_AVAIL_USED_EVENT(queue->where.size)) ==
		       (uint16_t)from.at;
	off_wrap = get16(queue, queue->where.avail, 0);
	flags = get16(queue, queue->where.avail, 2);
	must(flags != 3 && (flags != VIRTQ_PACKED_EVENT_DESC || queue->setup.event_idx), "event flags of the driver");
	if (flags != VIRTQ_PACKED_EVENT_DESC)
		return flags == VIRTQ_PACKED_EVENT_ENABLE;
	for (i = 0; i < descriptors; i++, go_on(queue, &from, 1))
		if (off_wrap == (from.at | (from.lap == VIRTQ_PACKED_DESC_F_AVAIL ? 0x8000u : 0)))
			return true;
	return false;
}

/* ---- used ---- */

void test_device_put_used_of(struct test_device_queue *queue, uint32_t id, uint32_t len_bytes, uint32_t chains,
			     uint32_t descriptors)
{
	const struct virtq_used_elem element = {viodma_le32_of(id), viodma_le32_of(len_bytes)};
	struct test_place from = queue->used;

	if (queue->setup.packed) {
		put_packed(queue, id, len_bytes);
		go_on(queue, &queue->used, descriptors);
	} else {
		descriptors = 1;
		memcpy(word(queue, queue->where.used, VIRTQ_USED_RING(queue->used.at & (queue->where.size - 1)),
			    VIODMA_WRITE),
		       &element, sizeof(element));
		test_device_set_used_index(queue, (uint16_t)(queue->used.at + chains));
	}
	queue->called += wants_call(queue, from, descriptors);
}

void test_device_put_used(struct test_device_queue *queue, uint32_t id, uint32_t len_bytes)
{
	uint32_t descriptors = id < TEST_IDS ? queue->descriptors[id] : 0;

	test_device_put_used_of(queue, id, len_bytes, 1, descriptors ? descriptors : 1);
}

/* ---- available ---- */

static bool said(const char *what)
{
	fprintf(stderr, "# chain: %s\n", what);
	return false;
}

/* One buffer, at the end of the chain. */
static bool resolve_part(struct test_device_queue *queue, uint64_t bus, uint32_t len, bool writable,
			 struct test_chain *chain)
{
	if (chain->count == TEST_CHAIN)
		return said("too long for a test");
	chain->part[chain->count].bus = bus;
	chain->part[chain->count].len_bytes = len;
	chain->part[chain->count].writable = writable;
	chain->part[chain->count].memory =
		test_device_at(queue->device, bus, len, writable ? VIODMA_WRITE : VIODMA_READ);
	if (!len || !chain->part[chain->count].memory)
		return said("buffer out of reach");
	chain->count++;
	if (writable) {
		chain->writable++;
		chain->writable_bytes += len;
	} else if (chain->writable) {
		return said("readable after writable");
	} else {
		chain->readable++;
		chain->readable_bytes += len;
	}
	return true;
}

static bool resolve(struct test_device_queue *queue, uint64_t table, uint32_t size, uint32_t at,
		    struct test_chain *chain, bool inside)
{
	for (;;) {
		const unsigned char *from;
		struct virtq_desc desc;
		uint32_t flags, len;

		if (at >= size)
			return said("index beyond the table");
		from = test_device_at(queue->device, table + at * sizeof(desc), sizeof(desc), VIODMA_READ);
		if (!from)
			return said("table out of reach");
		memcpy(&desc, from, sizeof(desc));
		flags = viodma_le16_get(desc.flags);
		len = viodma_le32_get(desc.len);
		if (flags & VIRTQ_DESC_F_INDIRECT) {
			if (inside || chain->count || flags != VIRTQ_DESC_F_INDIRECT || !len || len % sizeof(desc))
				return said("indirect descriptor");
			return resolve(queue, viodma_le64_get(desc.addr), len / (uint32_t)sizeof(desc), 0, chain, true);
		}
		if (!resolve_part(queue, viodma_le64_get(desc.addr), len, flags & VIRTQ_DESC_F_WRITE, chain))
			return false;
		if (!(flags & VIRTQ_DESC_F_NEXT))
			return true;
		if (queue->setup.in_order && viodma_le16_get(desc.next) != (inside ? at + 1 : (at + 1) % size))
			return said("in order, and not the next descriptor");
		at = viodma_le16_get(desc.next);
	}
}

static bool resolve_packed_table(struct test_device_queue *queue, uint64_t table, uint32_t len,
				 struct test_chain *chain)
{
	uint32_t at;

	if (!len || len % sizeof(struct virtq_packed_desc))
		return said("indirect descriptor");
	for (at = 0; at < len; at += sizeof(struct virtq_packed_desc)) {
		const unsigned char *from = test_device_at(queue->device, table + at, 16, VIODMA_READ);
		struct virtq_packed_desc desc;

		if (!from)
			return said("table out of reach");
		memcpy(&desc, from, sizeof(desc));
		if (viodma_le16_get(desc.flags) & ~VIRTQ_DESC_F_WRITE)
			return said("flags in a table");
		if (!resolve_part(queue, viodma_le64_get(desc.addr), viodma_le32_get(desc.len),
				  viodma_le16_get(desc.flags) & VIRTQ_DESC_F_WRITE, chain))
			return false;
	}
	return true;
}

static bool take_packed(struct test_device_queue *queue, struct test_chain *chain)
{
	uint32_t count = 0, flags;

	if (!is_available(queue, &queue->taken))
		return false;
	do {
		struct virtq_packed_desc desc = packed_desc(queue, queue->taken.at);

		if (!is_available(queue, &queue->taken) || ++count > queue->where.size)
			return said("not all of it is available"); /* = DRV-24 */
		flags = viodma_le16_get(desc.flags);
		chain->head = viodma_le16_get(desc.id);
		if (flags & VIRTQ_DESC_F_INDIRECT && (count > 1 || flags & (VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE)))
			return said("indirect descriptor");
		if (flags & VIRTQ_DESC_F_INDIRECT ?
			    !resolve_packed_table(queue, viodma_le64_get(desc.addr), viodma_le32_get(desc.len), chain) :
			    !resolve_part(queue, viodma_le64_get(desc.addr), viodma_le32_get(desc.len),
					  flags & VIRTQ_DESC_F_WRITE, chain))
			return false;
		go_on(queue, &queue->taken, 1);
	} while (flags & VIRTQ_DESC_F_NEXT);
	must(chain->head < queue->where.size && chain->head < TEST_IDS, "a buffer id out of range");
	queue->descriptors[chain->head] = (uint16_t)count;
	return true;
}

bool test_device_take(struct test_device_queue *queue, struct test_chain *chain)
{
	memset(chain, 0, sizeof(*chain));
	if (queue->setup.packed)
		return take_packed(queue, chain);
	if (avail_index(queue) == (uint16_t)queue->taken.at)
		return false;
	chain->head = get16(queue, queue->where.avail, VIRTQ_AVAIL_RING(queue->taken.at & (queue->where.size - 1)));
	queue->taken.at++;
	return resolve(queue, queue->where.desc.v, queue->where.size, chain->head, chain, false);
}

unsigned test_device_shown(struct test_device_queue *queue)
{
	struct test_place place = queue->taken;
	unsigned chains = 0;

	if (!queue->setup.packed)
		return (uint16_t)(avail_index(queue) - queue->taken.at);
	while (is_available(queue, &place)) {
		chains += !(viodma_le16_get(packed_desc(queue, place.at).flags) & VIRTQ_DESC_F_NEXT);
		go_on(queue, &place, 1);
	}
	return chains;
}

/* ---- what comes and goes ---- */

static struct test_device_queue *flickers;
static unsigned looks;

static void come_and_go(const void *at, size_t bytes)
{
	const bool packed = flickers->driver.packed;
	const void *word = packed ? viodma_shared_at(flickers->driver.desc, offsetof(struct virtq_packed_desc, flags))
				  : viodma_shared_at(flickers->driver.used, VIRTQ_USED_IDX);

	if (bytes != sizeof(uint16_t) || at != word)
		return;
	if (++looks > 1000) {
		viodma_shared_read_hook_fn = NULL; /* enough: whoever still looks does so for ever */
		return;
	}
	if (packed)
		test_device_put_flags(flickers, 0, looks & 1 ? LAP : VIRTQ_PACKED_DESC_F_AVAIL);
	else
		test_device_set_used_index(flickers, looks & 1);
}

void test_device_come_and_go(struct test_device_queue *queue)
{
	flickers = queue;
	looks = 0;
	viodma_shared_read_hook_fn = come_and_go;
}

unsigned test_device_looks(void)
{
	return looks;
}
