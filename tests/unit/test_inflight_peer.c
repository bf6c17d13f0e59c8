/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_inflight_peer.c - records that contradict themselves or the ring: refused by name (PLT-12), and none leads anywhere
 * outside its own memory.
 *
 * How it works: a record in which three requests are in flight is spoilt in one place each time; then in random ones.
 */
#include "hosted/vhost_user/inflight.h"
#include "tests/support/check.h"

#define SIZE 8u
#define REGION_BYTES 1024u

static struct {
	_Alignas(64) unsigned char region[REGION_BYTES];
	unsigned char behind[64];
	uint64_t order[SIZE];
	struct viodma_inflight_entry entries[SIZE];
	struct virtq_packed_desc descriptors[SIZE];
	uint16_t heads[SIZE];
	struct viodma_queue_chain chains[SIZE + 1];
	uint32_t count, base;
	struct viodma_inflight_split split;
	struct viodma_inflight_packed packed;
	enum viodma_result peeked;
	bool used;
} rig;

static struct vhost_user_inflight_split *split_header(void)
{
	return (void *)rig.region;
}

static struct vhost_user_inflight_split_state *split_state(unsigned i)
{
	return (struct vhost_user_inflight_split_state *)(void *)(rig.region + sizeof(struct vhost_user_inflight_split)) + i;
}

static struct vhost_user_inflight_packed *packed_header(void)
{
	return (void *)rig.region;
}

static struct vhost_user_inflight_packed_state *packed_state(unsigned i)
{
	return (struct vhost_user_inflight_packed_state *)(void *)(rig.region + sizeof(struct vhost_user_inflight_packed)) + i;
}

static enum viodma_result peek(void *context, uint16_t position, bool wrap, bool *used)
{
	(void)context;
	(void)position;
	(void)wrap;
	*used = rig.used;
	return rig.peeked;
}

static void attach(void)
{
	rig.split = (struct viodma_inflight_split){.header = (void *)rig.region, .states = split_state(0), .desc_num = SIZE,
						   .order = rig.order};
	rig.packed = (struct viodma_inflight_packed){.header = (void *)rig.region, .states = packed_state(0), .desc_num = SIZE,
						     .entries = rig.entries, .descriptors = rig.descriptors,
						     .heads = rig.heads};
}

static enum viodma_result resume_split(uint32_t ring_size, uint16_t used_index)
{
	attach();
	return viodma_inflight_split_resume(&rig.split, ring_size, used_index, rig.chains, &rig.count, &rig.base);
}

static enum viodma_result resume_packed(uint32_t ring_size)
{
	const struct viodma_inflight_peek with = {peek, NULL};

	attach();
	return viodma_inflight_packed_resume(&rig.packed, ring_size, &with, rig.chains, &rig.count, &rig.base);
}

/* Heads 2, 5 and 1 are in flight, 7 was used: the used index is 1. */
static bool split_record(void)
{
	memset(&rig, 0, sizeof(rig));
	CHECK_RESULT(resume_split(SIZE, 0), VIODMA_OK);
	viodma_inflight_split_taken(&rig.split, 2);
	viodma_inflight_split_taken(&rig.split, 7);
	viodma_inflight_split_taken(&rig.split, 5);
	viodma_inflight_split_taken(&rig.split, 1);
	viodma_inflight_split_returning(&rig.split, 7);
	viodma_inflight_split_returned(&rig.split, 7);
	CHECK_RESULT(resume_split(SIZE, 1), VIODMA_OK);
	CHECK_EQUAL(rig.count, 3);
	CHECK_EQUAL(rig.base, 4);
	CHECK(rig.chains[0].id == 2 && rig.chains[1].id == 5 && rig.chains[2].id == 1);
	return true;
}

/* Buffer 2 of two descriptors, 5 of one, 1 of three; 7 of one was used: the used position is 1. */
static bool packed_record(void)
{
	static const struct {
		uint16_t id, count;
	} all[] = {{7, 1}, {2, 2}, {5, 1}, {1, 3}};

	memset(&rig, 0, sizeof(rig));
	rig.base = VIODMA_QUEUE_PACKED_BASE;
	CHECK_RESULT(resume_packed(SIZE), VIODMA_OK);
	for (unsigned i = 0; i < 4; i++) {
		struct virtq_packed_desc descriptors[3] = {{.id = viodma_le16_of(all[i].id)},
							   {.id = viodma_le16_of(all[i].id)},
							   {.id = viodma_le16_of(all[i].id)}};
		const struct viodma_queue_chain chain = {all[i].id, all[i].count, descriptors};

		viodma_inflight_packed_taken(&rig.packed, &chain);
	}
	viodma_inflight_packed_returning(&rig.packed, 7);
	viodma_inflight_packed_returned(&rig.packed, 7);
	CHECK_RESULT(resume_packed(SIZE), VIODMA_OK);
	CHECK_EQUAL(rig.count, 3);
	CHECK_EQUAL(rig.base, 0x80018007u);
	CHECK(rig.chains[0].id == 2 && rig.chains[1].id == 5 && rig.chains[2].id == 1 && rig.chains[2].count == 3);
	return true;
}

#define SPOILT_SPLIT(spoil, used_index)                                              \
	do {                                                                         \
		CHECK(split_record());                                               \
		spoil;                                                               \
		CHECK_RESULT(resume_split(SIZE, used_index), VIODMA_PEER_RECORD);    \
	} while (0)
#define SPOILT_PACKED(spoil)                                                \
	do {                                                                \
		CHECK(packed_record());                                     \
		spoil;                                                      \
		CHECK_RESULT(resume_packed(SIZE), VIODMA_PEER_RECORD);      \
	} while (0)

static bool a_split_record_of_another_kind_is_refused(void)
{
	SPOILT_SPLIT(split_header()->version = 2, 1);
	SPOILT_SPLIT(split_header()->features = 1, 1);
	SPOILT_SPLIT(split_header()->desc_num = SIZE / 2, 1);
	return true;
}
BEHAVIOUR(a_split_record_of_another_kind_is_refused, "PLT-12")

static bool a_used_index_further_ahead_than_there_are_heads_is_refused(void)
{
	SPOILT_SPLIT(split_state(7)->next = 7, 1 + SIZE + 1);
	SPOILT_SPLIT(split_header()->used_idx = 2, 1);
	return true;
}
BEHAVIOUR(a_used_index_further_ahead_than_there_are_heads_is_refused, "PLT-12")

static bool a_list_that_leads_out_of_the_table_is_refused(void)
{
	SPOILT_SPLIT(split_header()->last_batch_head = SIZE, 2);
	SPOILT_SPLIT(split_state(7)->next = 0xffff, 3);
	return true;
}
BEHAVIOUR(a_list_that_leads_out_of_the_table_is_refused, "PLT-12")

static bool a_head_that_is_neither_in_flight_nor_not_is_refused(void)
{
	SPOILT_SPLIT(split_state(0)->inflight = 2, 1);
	return true;
}
BEHAVIOUR(a_head_that_is_neither_in_flight_nor_not_is_refused, "PLT-12")

static bool a_ring_larger_than_its_record_is_refused(void)
{
	CHECK(split_record());
	CHECK_RESULT(resume_split(2 * SIZE, 1), VIODMA_PEER_RECORD);
	CHECK_RESULT(resume_split(SIZE / 2, 1), VIODMA_PEER_RECORD); /* head 5 is in flight */
	CHECK(packed_record());
	CHECK_RESULT(resume_packed(SIZE + 1), VIODMA_PEER_RECORD);
	CHECK_RESULT(resume_packed(5), VIODMA_PEER_RECORD); /* six descriptors are in flight */
	return true;
}
HOLDS(a_ring_larger_than_its_record_is_refused)

static bool a_packed_record_of_another_kind_is_refused(void)
{
	SPOILT_PACKED(packed_header()->version = 2);
	SPOILT_PACKED(packed_header()->features = 1);
	SPOILT_PACKED(packed_header()->desc_num = SIZE + 1);
	return true;
}
BEHAVIOUR(a_packed_record_of_another_kind_is_refused, "PLT-12")

static bool a_place_that_is_not_in_the_ring_is_refused(void)
{
	SPOILT_PACKED(packed_header()->used_idx = packed_header()->old_used_idx = SIZE);
	SPOILT_PACKED(packed_header()->used_wrap_counter = packed_header()->old_used_wrap_counter = 2);
	SPOILT_PACKED((packed_header()->used_idx = 0xffff, packed_header()->used_wrap_counter = 1));
	return true;
}
BEHAVIOUR(a_place_that_is_not_in_the_ring_is_refused, "PLT-12")

static bool an_entry_that_is_neither_in_flight_nor_not_is_refused(void)
{
	SPOILT_PACKED(packed_state(1)->inflight = 3);
	return true;
}
BEHAVIOUR(an_entry_that_is_neither_in_flight_nor_not_is_refused, "PLT-12")

static bool two_requests_of_one_buffer_id_are_refused(void)
{
	SPOILT_PACKED(packed_state(3)->id = 2);
	return true;
}
BEHAVIOUR(two_requests_of_one_buffer_id_are_refused, "PLT-12")

static bool an_entry_that_is_nobodys_is_refused(void)
{
	SPOILT_PACKED(packed_state(3)->inflight = 0);
	return true;
}
BEHAVIOUR(an_entry_that_is_nobodys_is_refused, "PLT-12")

static bool entries_that_lead_nowhere_are_refused(void)
{
	SPOILT_PACKED(packed_header()->free_head = packed_header()->old_free_head = SIZE + 1);
	SPOILT_PACKED(packed_state(0)->next = 0);          /* the free list loops */
	SPOILT_PACKED(packed_state(7)->next = SIZE + 1);   /* it ends behind the end */
	SPOILT_PACKED(packed_state(1)->num = 0);
	SPOILT_PACKED(packed_state(1)->num = SIZE + 1);
	SPOILT_PACKED(packed_state(1)->num = 3);           /* into the next chain */
	SPOILT_PACKED(packed_state(1)->next = 0xffff);
	SPOILT_PACKED(packed_state(1)->next = 1);
	SPOILT_PACKED(packed_state(1)->next = 7);          /* a free one */
	SPOILT_PACKED(packed_state(1)->last = 1);
	SPOILT_PACKED(packed_state(2)->id = SIZE);
	return true;
}
HOLDS(entries_that_lead_nowhere_are_refused)

static bool the_ring_is_waited_for(void)
{
	CHECK(packed_record());
	viodma_inflight_packed_returning(&rig.packed, 5);
	rig.peeked = VIODMA_WAIT;
	CHECK_RESULT(resume_packed(SIZE), VIODMA_WAIT);
	rig.peeked = VIODMA_FAULT_UNMAPPED;
	CHECK_RESULT(resume_packed(SIZE), VIODMA_FAULT_UNMAPPED);
	rig.peeked = VIODMA_OK;
	rig.used = true;
	CHECK_RESULT(resume_packed(SIZE), VIODMA_OK);
	CHECK_EQUAL(rig.count, 2);
	CHECK_EQUAL(rig.base, 0x80028007u);
	return true;
}
HOLDS(the_ring_is_waited_for)

static bool what_the_driver_cannot_have_offered_is_not_recorded(void)
{
	struct virtq_packed_desc descriptors[SIZE] = {{.id = viodma_le16_of(3)}};
	const struct viodma_queue_chain too_long = {3, 3, descriptors}, no_such_id = {SIZE, 1, descriptors};

	CHECK(packed_record());
	viodma_inflight_packed_taken(&rig.packed, &too_long);
	viodma_inflight_packed_taken(&rig.packed, &no_such_id);
	viodma_inflight_packed_returning(&rig.packed, 3);
	viodma_inflight_packed_returned(&rig.packed, 3);
	viodma_inflight_packed_given_back(&rig.packed, SIZE);
	CHECK_RESULT(resume_packed(SIZE), VIODMA_OK);
	CHECK_EQUAL(rig.count, 3);
	return true;
}
HOLDS(what_the_driver_cannot_have_offered_is_not_recorded)

static bool any_bytes_are_refused_or_lead_nowhere_outside(void)
{
	struct check_random random = {.state = 12};

	for (unsigned round = 0; round < 40000; round++) {
		const bool packed = round & 1;
		enum viodma_result result;

		CHECK(packed ? packed_record() : split_record());
		for (uint64_t n = 1 + check_below(&random, 4); n; n--) {
			const uint64_t at = check_below(&random, packed ? 32 + 32 * SIZE : 16 + 16 * SIZE);

			rig.region[at] = (unsigned char)(check_below(&random, 2) ? check_below(&random, 9)
										  : check_random(&random));
		}
		rig.used = check_below(&random, 2);
		memset(rig.behind, 0x5a, sizeof(rig.behind));
		result = packed ? resume_packed(SIZE) : resume_split(SIZE, (uint16_t)check_below(&random, 4));
		CHECK(result == VIODMA_OK || result == VIODMA_PEER_RECORD);
		CHECK(result != VIODMA_OK || rig.count <= SIZE);
		for (uint32_t i = 0; result == VIODMA_OK && i < rig.count; i++) {
			CHECK(rig.chains[i].id < SIZE);
			if (packed) {
				viodma_inflight_packed_returning(&rig.packed, rig.chains[i].id);
				viodma_inflight_packed_returned(&rig.packed, rig.chains[i].id);
			} else {
				viodma_inflight_split_returning(&rig.split, rig.chains[i].id);
				viodma_inflight_split_returned(&rig.split, rig.chains[i].id);
			}
		}
		for (size_t i = 0; i < sizeof(rig.behind); i++)
			CHECK_EQUAL(rig.behind[i], 0x5a);
	}
	return true;
}
HOLDS(any_bytes_are_refused_or_lead_nowhere_outside)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_MUTANT(a_split_record_of_another_kind_is_refused),
		WITH_MUTANT(a_used_index_further_ahead_than_there_are_heads_is_refused),
		WITH_MUTANT(a_list_that_leads_out_of_the_table_is_refused),
		WITH_MUTANT(a_head_that_is_neither_in_flight_nor_not_is_refused),
		TEST(a_ring_larger_than_its_record_is_refused),
		WITH_MUTANT(a_packed_record_of_another_kind_is_refused),
		WITH_MUTANT(a_place_that_is_not_in_the_ring_is_refused),
		WITH_MUTANT(an_entry_that_is_neither_in_flight_nor_not_is_refused),
		WITH_MUTANT(two_requests_of_one_buffer_id_are_refused),
		WITH_MUTANT(an_entry_that_is_nobodys_is_refused),
		TEST(entries_that_lead_nowhere_are_refused),
		TEST(the_ring_is_waited_for),
		TEST(what_the_driver_cannot_have_offered_is_not_recorded),
		TEST(any_bytes_are_refused_or_lead_nowhere_outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
