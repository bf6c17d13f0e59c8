/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_queue_record.c - the record of what is in flight: told of every chain that is taken, returned or given back, and
 * asked after each start for what is in flight still, which then is popped first (PLT-12).
 *
 * How it works: a record that writes down what it is told, and lists what the test put there. Where both layouts can, both
 * are tried.
 */
#include "tests/support/queue_rig.h"

#define W VIRTQ_DESC_F_WRITE
#define N VIRTQ_DESC_F_NEXT
#define I VIRTQ_DESC_F_INDIRECT
#define BUFFER(n) (TEST_BUFFERS + (n) * TEST_PAGE)
#define MOST 32u

static struct {
	/* What it answers. */
	struct viodma_queue_chain chains[MOST];
	struct virtq_packed_desc descriptors[MOST];
	uint32_t count, base;
	bool base_set, peeks;
	enum viodma_result result;
	/* What it was told. */
	char told[256];
	uint32_t resumed;
	uint16_t index;
	bool used;
	struct virtq_packed_desc taken[8];
	uint32_t next;
} record;

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *format, ...)
{
	size_t used = strlen(record.told);
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(record.told + used, sizeof(record.told) - used, format, arguments);
	va_end(arguments);
}

static enum viodma_result resume(void *context, struct viodma_queue *queue, struct viodma_queue_chain *chains,
				 uint32_t *count, uint32_t *base)
{
	enum viodma_result result = VIODMA_OK;

	(void)context;
	record.resumed++;
	if (record.peeks)
		result = queue->setup.packed ? viodma_queue_peek_used(queue, 1, true, &record.used)
					     : viodma_queue_peek_index(queue, &record.index);
	if (result != VIODMA_OK)
		return result;
	memcpy(chains, record.chains, record.count * sizeof(*chains));
	*count = record.count;
	if (record.base_set)
		*base = record.base;
	return record.result;
}

static void taken(void *context, const struct viodma_queue_chain *chain)
{
	(void)context;
	tell("t%u.%u ", chain->id, chain->count);
	if (chain->descriptors)
		memcpy(record.taken, chain->descriptors, chain->count * sizeof(record.taken[0]));
}

static void returning(void *context, uint16_t id)
{
	(void)context;
	tell("r%u ", id);
}

static void returned(void *context, uint16_t id, uint32_t base)
{
	(void)context;
	tell("R%u ", id);
	record.next = base;
}

static void given_back(void *context, uint16_t id)
{
	(void)context;
	tell("g%u ", id);
}

static const struct viodma_queue_record_ops ops = {
	.resume = resume, .taken = taken, .returning = returning, .returned = returned, .given_back = given_back};

static struct test_driver *recorded(bool packed, bool platform)
{
	const struct test_options options = {.size = 8, .packed = packed, .split = !packed, .platform = platform,
					     .scatter = true, .record = &ops};

	memset(&record, 0, sizeof(record));
	fresh(&options);
	if (platform)
		test_grant_rings(current);
	return current;
}

/* A chain for the record to list: one writable descriptor, or a table's. */
static void in_flight(struct test_driver *d, uint16_t id, uint16_t flags, size_t buffer, uint32_t len)
{
	struct virtq_packed_desc *wire = &record.descriptors[record.count];

	wire->addr = viodma_le64_of(test_bus(d, buffer).v);
	wire->len = viodma_le32_of(len);
	wire->id = viodma_le16_of(id);
	wire->flags = viodma_le16_of(flags);
	if (!d->setup.packed)
		test_desc(d, id, test_bus(d, buffer), len, flags, 0);
	d->counts[id] = 1;
	record.chains[record.count].id = id;
	record.chains[record.count].count = 1;
	record.chains[record.count].descriptors = wire;
	record.count++;
}

/* The ring has been used up to `used`, and fetched so much further. */
static void goes_on_at(struct test_driver *d, uint16_t used, uint16_t fetched)
{
	record.base_set = true;
	record.base = d->setup.packed ? test_base_at(d, fetched, used) : fetched;
	d->next = test_behind(d, d->next, fetched);
	d->used = test_behind(d, d->used, used);
	d->avail_idx = fetched;
	d->used_seen = d->setup.packed ? 0 : used;
	if (!d->setup.packed)
		test_put16(d, TEST_AVAIL + VIRTQ_AVAIL_IDX, fetched);
}

static bool used_is(struct test_driver *d, uint32_t wanted, uint32_t wanted_len)
{
	uint32_t id, len;

	CHECK(test_take_used(d, &id, &len));
	CHECK_EQUAL(id, wanted);
	CHECK_EQUAL(len, wanted_len);
	return true;
}

static bool what_is_taken_and_returned(bool packed)
{
	struct test_driver *d = recorded(packed, false);
	struct viodma_request *one, *other;

	test_request(d, 2, BUFFER(0), 16, BUFFER(1), 16);
	test_desc(d, 5, test_bus(d, BUFFER(2)), 8, W, 0);
	test_make_available(d, 2);
	test_make_available(d, 5);
	CHECK_RESULT(test_pop(d, &one), VIODMA_OK);
	CHECK(!strcmp(record.told, packed ? "t2.2 " : "t2.1 "));
	if (packed) {
		CHECK_EQUAL(viodma_le64_get(record.taken[0].addr), test_bus(d, BUFFER(0)).v);
		CHECK_EQUAL(viodma_le64_get(record.taken[1].addr), test_bus(d, BUFFER(1)).v);
		CHECK_EQUAL(viodma_le16_get(record.taken[1].flags) & W, W);
		CHECK_EQUAL(viodma_le16_get(record.taken[1].id), 2);
	}
	CHECK_RESULT(test_pop(d, &other), VIODMA_OK);
	viodma_queue_push(&d->queue, other, 8);
	CHECK_EQUAL(record.next, packed ? 0x8001 : 1);
	viodma_queue_push(&d->queue, one, 0);
	CHECK_EQUAL(record.next, packed ? 0x8003 : 2);
	CHECK(!strcmp(record.told, packed ? "t2.2 t5.1 r5 R5 r2 R2 " : "t2.1 t5.1 r5 R5 r2 R2 "));
	CHECK_EQUAL(record.resumed, 1);
	return true;
}

static bool a_record_is_told_what_is_taken_and_returned(void)
{
	return what_is_taken_and_returned(false) && what_is_taken_and_returned(true);
}
HOLDS(a_record_is_told_what_is_taken_and_returned)

static bool what_is_in_flight_is_popped_first(bool packed)
{
	struct test_driver *d = recorded(packed, false);
	struct viodma_request *request;

	in_flight(d, 3, W, BUFFER(3), 30);
	in_flight(d, 1, W, BUFFER(1), 10);
	goes_on_at(d, 2, 4);
	test_desc(d, 6, test_bus(d, BUFFER(6)), 60, W, 0);
	test_make_available(d, 6);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 3);
	CHECK_EQUAL(request->writable_bytes, 30);
	CHECK_RESULT(viodma_request_write(request, 0, "here", 4), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 4);
	CHECK(!memcmp(d->memory + BUFFER(3), "here", 4));
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 1);
	CHECK(!strcmp(record.told, "r3 R3 ")); /* they were in flight already */
	CHECK_EQUAL(record.next, packed ? 0x8003 : 3);
	viodma_queue_push(&d->queue, request, 1);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 6);
	viodma_queue_push(&d->queue, request, 2);
	CHECK(used_is(d, 3, 4) && used_is(d, 1, 1) && used_is(d, 6, 2));
	CHECK(!strcmp(record.told, "r3 R3 r1 R1 t6.1 r6 R6 "));
	CHECK_RESULT(test_pop(d, &request), VIODMA_EMPTY);
	CHECK_EQUAL(d->queue.in_flight, 0);
	CHECK_EQUAL(record.resumed, 1);
	return true;
}

static bool what_a_record_lists_is_popped_before_anything_new(void)
{
	return what_is_in_flight_is_popped_first(false) && what_is_in_flight_is_popped_first(true);
}
HOLDS(what_a_record_lists_is_popped_before_anything_new)

static bool a_packed_chain_is_resumed_from_what_the_record_has_of_it(void)
{
	struct test_driver *d = recorded(true, true);
	struct viodma_request *request;

	/* Two chains of three and one descriptors, one of which names a table that is not translated yet. */
	in_flight(d, 3, N, BUFFER(0), 10);
	in_flight(d, 3, N, BUFFER(1), 20);
	in_flight(d, 3, W, BUFFER(2), 30);
	record.count = 1;
	record.chains[0].count = 3;
	d->counts[3] = 3;
	test_table_desc(d, TEST_TABLES, 0, test_bus(d, BUFFER(4)), 40, 0, 0);
	test_table_desc(d, TEST_TABLES, 1, test_bus(d, BUFFER(5)), 50, W, 0);
	record.chains[1].id = 7;
	record.chains[1].count = 1;
	record.chains[1].descriptors = &record.descriptors[3];
	record.descriptors[3].addr = viodma_le64_of(test_bus(d, TEST_TABLES).v);
	record.descriptors[3].len = viodma_le32_of(32);
	record.descriptors[3].flags = viodma_le16_of(I);
	d->counts[7] = 1;
	record.count = 2;
	goes_on_at(d, 0, 4);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 3);
	CHECK_EQUAL(request->readable_bytes, 30);
	CHECK_EQUAL(request->writable_bytes, 30);
	viodma_queue_push(&d->queue, request, 30);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 7);
	CHECK_EQUAL(request->readable_bytes, 40);
	CHECK_EQUAL(request->writable_bytes, 50);
	viodma_queue_push(&d->queue, request, 50);
	CHECK(used_is(d, 3, 30) && used_is(d, 7, 50));
	return true;
}
HOLDS(a_packed_chain_is_resumed_from_what_the_record_has_of_it)

static bool resuming_waits(bool packed)
{
	struct test_driver *d = recorded(packed, true);
	struct viodma_request *request;

	test_revoke(d, packed ? TEST_DESC : TEST_USED, 3 * TEST_PAGE);
	record.peeks = true;
	test_put16(d, TEST_USED + VIRTQ_USED_IDX, 4);
	in_flight(d, 2, W, BUFFER(0), 16);
	goes_on_at(d, 4, 5);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_WAIT);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_WAIT);
	CHECK_EQUAL(record.resumed, 1);
	CHECK(test_asked(d, packed ? TEST_DESC : TEST_USED, VIODMA_READ));
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(record.resumed, 2);
	CHECK_EQUAL(request->head, 2);
	if (packed)
		CHECK(record.used); /* zeroes: it is not available in the lap of wrap 1 */
	else
		CHECK_EQUAL(record.index, 4);
	return true;
}

static bool a_record_that_looks_at_a_ring_out_of_reach_is_asked_again(void)
{
	return resuming_waits(false) && resuming_waits(true);
}
HOLDS(a_record_that_looks_at_a_ring_out_of_reach_is_asked_again)

static bool a_descriptor_counts_as_used_unless_it_is_available_in_that_lap(void)
{
	struct test_driver *d = recorded(true, false);
	bool used;

	for (unsigned wrap = 0; wrap < 2; wrap++) {
		const uint16_t position = (uint16_t)(wrap << VIRTQ_PACKED_WRAP_BIT | 5);

		test_packed_desc(d, 5, test_bus(d, BUFFER(0)), 1, 0, test_available_flags(position));
		CHECK_RESULT(viodma_queue_peek_used(&d->queue, 5, wrap, &used), VIODMA_OK);
		CHECK(!used);
		test_packed_desc(d, 5, test_bus(d, BUFFER(0)), 1, 0, test_used_flags(position));
		CHECK_RESULT(viodma_queue_peek_used(&d->queue, 5, wrap, &used), VIODMA_OK);
		CHECK(used);
		/* Seen as used, and available again already. */
		test_packed_desc(d, 5, test_bus(d, BUFFER(0)), 1, 0,
				 test_available_flags((uint16_t)(position ^ 1u << VIRTQ_PACKED_WRAP_BIT)));
		CHECK_RESULT(viodma_queue_peek_used(&d->queue, 5, wrap, &used), VIODMA_OK);
		CHECK(used);
	}
	return true;
}
HOLDS(a_descriptor_counts_as_used_unless_it_is_available_in_that_lap)

static bool a_place_beyond_the_ring_is_not_looked_at(void)
{
	struct test_driver *d = recorded(true, false);
	bool used;

	CHECK_RESULT(viodma_queue_peek_used(&d->queue, 8, true, &used), VIODMA_PEER_RECORD);
	CHECK_RESULT(viodma_queue_peek_used(&d->queue, UINT16_MAX, false, &used), VIODMA_PEER_RECORD);
	return true;
}
BEHAVIOUR(a_place_beyond_the_ring_is_not_looked_at, "PLT-12")

static bool what_a_stop_gives_back(bool packed)
{
	struct test_driver *d = recorded(packed, true);
	struct viodma_request *request;
	uint32_t base;

	in_flight(d, 3, W, BUFFER(3), 30); /* its buffer is not translated */
	goes_on_at(d, 2, 3);
	test_desc(d, 6, test_bus(d, BUFFER(6)), 60, W, 0);
	test_desc(d, 4, test_bus(d, BUFFER(4)), 40, W, 0);
	test_make_available(d, 6);
	test_make_available(d, 4);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_EMPTY);
	CHECK_EQUAL(d->queue.parked, 3);
	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	CHECK(!strcmp(record.told, "t6.1 t4.1 g4 g6 ")); /* not 3: the ring may have another one there */
	CHECK_EQUAL(base, packed ? test_base_at(d, 3, 2) : 3);
	/* The record has what is held, and is asked again. */
	record.base = base;
	d->setup.base = base;
	CHECK_RESULT(viodma_queue_start(&d->queue, &d->setup, &base), VIODMA_OK);
	CHECK_EQUAL(base, 0);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 3);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 6);
	CHECK_EQUAL(record.resumed, 2);
	return true;
}

static bool a_stop_gives_back_what_was_fetched_and_not_what_was_resumed(void)
{
	return what_a_stop_gives_back(false) && what_a_stop_gives_back(true);
}
HOLDS(a_stop_gives_back_what_was_fetched_and_not_what_was_resumed)

static bool a_stop_in_the_middle_loses_nothing(void)
{
	struct test_driver *d = recorded(false, false);
	struct viodma_request *request;
	uint32_t base, dropped;

	in_flight(d, 3, W, BUFFER(3), 30);
	in_flight(d, 1, W, BUFFER(1), 10);
	goes_on_at(d, 2, 4);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	viodma_queue_push(&d->queue, request, 0);
	CHECK_RESULT(viodma_queue_stop(&d->queue, &base), VIODMA_OK);
	CHECK_EQUAL(base, 4);
	record.chains[0] = record.chains[1];
	record.count = 1;
	d->setup.base = base;
	CHECK_RESULT(viodma_queue_start(&d->queue, &d->setup, &dropped), VIODMA_OK);
	CHECK_RESULT(test_pop(d, &request), VIODMA_OK);
	CHECK_EQUAL(request->head, 1);
	return true;
}
HOLDS(a_stop_in_the_middle_loses_nothing)

static bool a_record_that_fails(bool packed)
{
	struct test_driver *d = recorded(packed, false);
	struct viodma_request *request;

	record.result = VIODMA_PEER_RECORD;
	CHECK_RESULT(test_pop(d, &request), VIODMA_PEER_RECORD);
	CHECK_RESULT(d->queue.broken, VIODMA_PEER_RECORD);
	return true;
}

static bool a_record_that_contradicts_the_ring_breaks_the_queue(void)
{
	return a_record_that_fails(false) && a_record_that_fails(true);
}
HOLDS(a_record_that_contradicts_the_ring_breaks_the_queue)

/* ---- records that lie ---- */

static bool breaks(struct test_driver *d, unsigned good)
{
	struct viodma_request *request = NULL;

	while (good--)
		CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_PEER_RECORD);
	CHECK_RESULT(d->queue.broken, VIODMA_PEER_RECORD);
	return true;
}

static bool an_id_beyond_the_ring_in_a_record_breaks_the_queue(void)
{
	struct test_driver *d = recorded(true, false);

	in_flight(d, 8, W, BUFFER(0), 16);
	CHECK(breaks(d, 0));
	d = recorded(false, false);
	in_flight(d, 8, W, BUFFER(0), 16);
	return breaks(d, 0);
}
BEHAVIOUR(an_id_beyond_the_ring_in_a_record_breaks_the_queue, "PLT-12")

static bool an_id_twice_in_a_record_breaks_the_queue(void)
{
	struct test_driver *d = recorded(true, false);

	in_flight(d, 2, W, BUFFER(0), 16);
	in_flight(d, 2, W, BUFFER(1), 16);
	return breaks(d, 1);
}
BEHAVIOUR(an_id_twice_in_a_record_breaks_the_queue, "PLT-12")

static bool more_descriptors_than_the_ring_has_in_a_record_break_the_queue(void)
{
	struct test_driver *d = recorded(true, false);

	for (uint16_t i = 0; i < 8; i++)
		in_flight(d, 0, i < 7 ? N : W, BUFFER(i), 16);
	in_flight(d, 1, W, BUFFER(8), 16);
	record.chains[0].count = 8;
	record.chains[1] = record.chains[8];
	record.count = 2;
	return breaks(d, 1);
}
BEHAVIOUR(more_descriptors_than_the_ring_has_in_a_record_break_the_queue, "PLT-12")

static bool a_count_that_its_descriptors_contradict(uint16_t said, unsigned nexts)
{
	struct test_driver *d = recorded(true, false);

	for (unsigned i = 0; i < 4; i++)
		in_flight(d, 0, i < nexts ? N : W, BUFFER(i), 16);
	record.chains[0].count = said;
	record.count = 1;
	/* What stands behind is not looked at. */
	for (unsigned i = said; i < 4; i++)
		record.descriptors[i].len = viodma_le32_of(0);
	return breaks(d, 0);
}

static bool a_chain_longer_than_the_record_says_breaks_the_queue(void)
{
	return a_count_that_its_descriptors_contradict(2, 2);
}
BEHAVIOUR(a_chain_longer_than_the_record_says_breaks_the_queue, "PLT-12")

static bool a_chain_shorter_than_the_record_says_breaks_the_queue(void)
{
	return a_count_that_its_descriptors_contradict(3, 1) && a_count_that_its_descriptors_contradict(0, 0);
}
BEHAVIOUR(a_chain_shorter_than_the_record_says_breaks_the_queue, "PLT-12")

static bool more_chains_than_the_ring_holds_break_the_queue(void)
{
	struct test_driver *d = recorded(false, false);

	for (uint16_t i = 0; i < 9; i++)
		in_flight(d, i % 8, W, BUFFER(i), 16);
	return breaks(d, 0);
}
BEHAVIOUR(more_chains_than_the_ring_holds_break_the_queue, "PLT-12")

static bool a_position_beyond_the_ring_in_a_record_breaks_the_queue(void)
{
	static const uint32_t bases[] = {0x80008008u, 0x80088000u, 0xffff8000u, 0x8000ffffu};

	for (unsigned i = 0; i < 4; i++) {
		struct test_driver *d = recorded(true, false);

		record.base_set = true;
		record.base = bases[i];
		CHECK(breaks(d, 0));
	}
	return true;
}
BEHAVIOUR(a_position_beyond_the_ring_in_a_record_breaks_the_queue, "PLT-12")

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_record_is_told_what_is_taken_and_returned),
		TEST(what_a_record_lists_is_popped_before_anything_new),
		TEST(a_packed_chain_is_resumed_from_what_the_record_has_of_it),
		TEST(a_record_that_looks_at_a_ring_out_of_reach_is_asked_again),
		TEST(a_descriptor_counts_as_used_unless_it_is_available_in_that_lap),
		WITH_MUTANT(a_place_beyond_the_ring_is_not_looked_at),
		TEST(a_stop_gives_back_what_was_fetched_and_not_what_was_resumed),
		TEST(a_stop_in_the_middle_loses_nothing),
		TEST(a_record_that_contradicts_the_ring_breaks_the_queue),
		WITH_MUTANT(an_id_beyond_the_ring_in_a_record_breaks_the_queue),
		WITH_MUTANT(an_id_twice_in_a_record_breaks_the_queue),
		WITH_MUTANT(more_descriptors_than_the_ring_has_in_a_record_break_the_queue),
		WITH_MUTANT(a_chain_longer_than_the_record_says_breaks_the_queue),
		WITH_MUTANT(a_chain_shorter_than_the_record_says_breaks_the_queue),
		WITH_MUTANT(more_chains_than_the_ring_holds_break_the_queue),
		WITH_MUTANT(a_position_beyond_the_ring_in_a_record_breaks_the_queue),
	};

	return cmocka_run_group_tests_name("queue record", tests, NULL, no_driver);
}
