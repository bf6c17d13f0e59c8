/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_inflight.c - the record of what is in flight: killed before or after any store, it says exactly what is in flight.
 *
 * How it works: a model keeps the truth, which is the ring: what was fetched, and up to where it was used. At every moment
 * (before and after each store) the region is copied as a kill would leave it, resumed from in private, and compared;
 * that resumption is itself killed at each of its stores, and has to lead to the same. Now and then the kill is real:
 * the work in hand is left as it is, and the test goes on from the record.
 */
#include "hosted/vhost_user/inflight.h"
#include "tests/support/check.h"
#include "tests/support/hooks.h"

#include <setjmp.h>

#define SIZE_MAX_HERE 16u
#define DESC_NUM_MAX (2 * SIZE_MAX_HERE)
#define REGION_BYTES 4096u

struct chain {
	uint16_t id, count;
	uint64_t name; /* addr of its first descriptor; the others follow */
};

struct rig {
	_Alignas(64) unsigned char region[REGION_BYTES];
	struct viodma_inflight_split split;
	struct viodma_inflight_packed packed;
	uint64_t order[DESC_NUM_MAX];
	struct viodma_inflight_entry entries[DESC_NUM_MAX];
	struct virtq_packed_desc descriptors[DESC_NUM_MAX];
	uint16_t heads[DESC_NUM_MAX];
	/* What resume answered. */
	struct viodma_queue_chain chains[SIZE_MAX_HERE];
	uint32_t count, base;
};

enum work { NOTHING, TAKING, RETURNING, GIVING_BACK };

/* The truth. */
static struct {
	bool packed;
	uint32_t size, desc_num;
	struct chain flying[SIZE_MAX_HERE]; /* oldest first */
	uint32_t count;
	uint32_t used;               /* split: index; packed: position, lap in bit 15 */
	uint8_t flags[SIZE_MAX_HERE]; /* packed: AVAIL in bit 0, USED in bit 1 */
	uint16_t avail;              /* packed: position and lap */
	uint64_t names;
	/* What is being done. */
	enum work work;
	struct chain subject;
	bool in_ring; /* its used element is */
	uint32_t used_then;
} truth;

static struct rig live, copy, again;
static struct check_random random_state;
static bool agrees = true;
static unsigned level;
static unsigned long moments;
static jmp_buf killed;
static bool may_kill, deep;

static void attach(struct rig *rig)
{
	rig->split = (struct viodma_inflight_split){.header = (void *)rig->region,
		.states = (void *)(rig->region + sizeof(struct vhost_user_inflight_split)),
		.desc_num = truth.desc_num, .order = rig->order};
	rig->packed = (struct viodma_inflight_packed){.header = (void *)rig->region,
		.states = (void *)(rig->region + sizeof(struct vhost_user_inflight_packed)),
		.desc_num = truth.desc_num, .entries = rig->entries, .descriptors = rig->descriptors, .heads = rig->heads};
}

static uint32_t moved(uint32_t place, uint32_t by)
{
	uint32_t position = (place & 0x7fff) + by, lap = place >> 15 & 1;

	return position >= truth.size ? (position - truth.size) | (lap ^ 1) << 15 : position | lap << 15;
}

static enum viodma_result peek(void *context, uint16_t position, bool wrap, bool *used)
{
	const uint8_t flags = truth.flags[position];

	(void)context;
	*used = !((flags & 1) == wrap && (flags >> 1 & 1) == !wrap);
	return VIODMA_OK;
}

static enum viodma_result resume(struct rig *rig)
{
	const struct viodma_inflight_peek with = {peek, NULL};

	attach(rig);
	if (truth.packed)
		return viodma_inflight_packed_resume(&rig->packed, truth.size, &with, rig->chains, &rig->count, &rig->base);
	return viodma_inflight_split_resume(&rig->split, truth.size, (uint16_t)truth.used, rig->chains, &rig->count,
					    &rig->base);
}

/* The used place as it is in the ring. */
static uint32_t base_of(uint32_t descriptors, uint32_t chains)
{
	if (!truth.packed)
		return (uint16_t)(truth.used + chains);
	return truth.used << 16 | moved(truth.used, descriptors);
}

static bool lists(const struct rig *rig, const struct chain *chains, uint32_t count)
{
	uint32_t descriptors = 0;

	if (rig->count != count)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		if (rig->chains[i].id != chains[i].id)
			return false;
		descriptors += chains[i].count;
		if (truth.packed && rig->chains[i].count != chains[i].count)
			return false;
		for (uint32_t n = 0; truth.packed && n < chains[i].count; n++)
			if (viodma_le64_get(rig->chains[i].descriptors[n].addr) != chains[i].name + n ||
			    viodma_le16_get(rig->chains[i].descriptors[n].id) != chains[i].id)
				return false;
	}
	return rig->base == base_of(descriptors, count);
}

/* Does what was resumed agree with the truth, which may not be decided yet where work is being done? */
static bool right(const struct rig *rig)
{
	struct chain with[SIZE_MAX_HERE + 1], without[SIZE_MAX_HERE];
	uint32_t n = 0, m = 0;

	for (uint32_t i = 0; i < truth.count; i++) {
		with[n++] = truth.flying[i];
		if (truth.work == NOTHING || truth.flying[i].name != truth.subject.name)
			without[m++] = truth.flying[i];
	}
	switch (truth.work) {
	case NOTHING:
		return lists(rig, with, n);
	case TAKING: /* it stands at the end of the list */
	case GIVING_BACK:
		return lists(rig, with, n) || lists(rig, without, m);
	default:
		return truth.in_ring ? lists(rig, without, m) : lists(rig, with, n);
	}
}

static void look(struct rig *rig, const struct rig *from)
{
	memcpy(rig->region, from->region, REGION_BYTES);
	rig->base = base_of(0, 0); /* a record that was never written keeps what the front end says */
	if (resume(rig) != VIODMA_OK || !right(rig))
		agrees = false;
}

static void moment(void)
{
	if (level == 2 || !agrees)
		return;
	level++;
	if (level == 1) {
		moments++;
		look(&copy, &live);
	} else if (deep) {
		look(&again, &copy);
	}
	level--;
	if (level == 0 && may_kill && check_below(&random_state, 40) == 0)
		longjmp(killed, 1);
}

/* ---- work ---- */

static bool id_is_free(uint16_t id)
{
	for (uint32_t i = 0; i < truth.count; i++)
		if (truth.flying[i].id == id)
			return false;
	return true;
}

static uint32_t descriptors_flying(void)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < truth.count; i++)
		sum += truth.flying[i].count;
	return sum;
}

static void remove_flying(uint64_t name)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < truth.count; i++)
		if (truth.flying[i].name != name)
			truth.flying[kept++] = truth.flying[i];
	truth.count = kept;
}

static void take(void)
{
	const uint32_t room = truth.size - (truth.packed ? descriptors_flying() : truth.count);
	struct virtq_packed_desc descriptors[SIZE_MAX_HERE];
	struct viodma_queue_chain chain = {.descriptors = truth.packed ? descriptors : NULL};
	struct chain taken = {.count = 1};

	if (!room)
		return;
	do
		taken.id = (uint16_t)check_below(&random_state, truth.size);
	while (!id_is_free(taken.id));
	if (truth.packed)
		taken.count = (uint16_t)(1 + check_below(&random_state, room < 4 || !check_below(&random_state, 8) ? room : 3));
	taken.name = truth.names += 100;
	chain.id = taken.id;
	chain.count = taken.count;
	for (uint32_t n = 0; truth.packed && n < taken.count; n++) {
		const uint32_t place = moved(truth.avail, n);

		/* The driver made it available. */
		truth.flags[place & 0x7fff] = place >> 15 ? 1 : 2;
		descriptors[n] = (struct virtq_packed_desc){viodma_le64_of(taken.name + n), viodma_le32_of(7),
							    viodma_le16_of(taken.id), viodma_le16_of(1)};
	}
	truth.subject = taken;
	truth.work = TAKING;
	truth.flying[truth.count++] = taken;
	if (truth.packed)
		viodma_inflight_packed_taken(&live.packed, &chain);
	else
		viodma_inflight_split_taken(&live.split, chain.id);
	truth.avail = (uint16_t)moved(truth.avail, taken.count);
	truth.work = NOTHING;
}

static void give(bool arrives)
{
	const struct chain chain = truth.flying[check_below(&random_state, truth.count)];
	const uint32_t place = truth.used;

	truth.subject = chain;
	truth.work = RETURNING;
	truth.in_ring = false;
	if (truth.packed)
		viodma_inflight_packed_returning(&live.packed, chain.id);
	else
		viodma_inflight_split_returning(&live.split, chain.id);
	if (!arrives) { /* the ring is out of reach: later */
		truth.work = NOTHING;
		return;
	}
	truth.in_ring = true;
	if (truth.packed) {
		truth.flags[place & 0x7fff] = place >> 15 ? 3 : 0;
		truth.used = moved(truth.used, chain.count);
		if (check_below(&random_state, 2)) /* the driver is quick: the place is available again, a lap later */
			truth.flags[place & 0x7fff] = place >> 15 ? 2 : 1;
		viodma_inflight_packed_returned(&live.packed, chain.id);
	} else {
		truth.used = (uint16_t)(truth.used + 1);
		viodma_inflight_split_returned(&live.split, chain.id);
	}
	remove_flying(chain.name);
	truth.work = NOTHING;
}

static void give_back(void)
{
	const struct chain chain = truth.flying[truth.count - 1];

	truth.subject = chain;
	truth.work = GIVING_BACK;
	if (truth.packed)
		viodma_inflight_packed_given_back(&live.packed, chain.id);
	else
		viodma_inflight_split_given_back(&live.split, chain.id);
	remove_flying(chain.name);
	truth.work = NOTHING;
}

/* What the driver and the ring know after a kill; the record says whether the last one was taken. */
static void decide(void)
{
	uint32_t descriptors = 0;

	if (truth.work == RETURNING && truth.in_ring)
		remove_flying(truth.subject.name);
	if ((truth.work == TAKING || truth.work == GIVING_BACK) && live.count < truth.count)
		remove_flying(truth.subject.name);
	truth.work = NOTHING;
	for (uint32_t i = 0; i < truth.count; i++)
		descriptors += truth.flying[i].count;
	truth.avail = (uint16_t)moved(truth.used, descriptors);
}

/* A resumption of the live record, which may be killed itself. */
static bool begin_again(void)
{
	live.base = base_of(0, 0);
	if (setjmp(killed))
		return begin_again();
	CHECK_RESULT(resume(&live), VIODMA_OK);
	CHECK(right(&live));
	decide();
	return true;
}

static bool plays(bool packed, uint32_t size, uint32_t desc_num, bool kill, unsigned steps)
{
	memset(&truth, 0, sizeof(truth));
	memset(&live, 0, sizeof(live));
	truth.packed = packed;
	truth.size = size;
	truth.desc_num = desc_num;
	truth.used = packed ? 0x8000 : 65530;
	truth.avail = 0x8000;
	random_state.state = size * 1000 + desc_num + packed;
	agrees = true;
	level = 0;
	moments = 0;
	deep = size <= 4;
	may_kill = false;
	viodma_inflight_store_hook_fn = moment;
	CHECK(begin_again());
	may_kill = kill;
	for (volatile unsigned i = 0; i < steps; i++) {
		if (setjmp(killed)) {
			may_kill = kill && check_below(&random_state, 4);
			CHECK(begin_again());
			may_kill = kill;
			continue;
		}
		switch (check_below(&random_state, 12)) {
		case 0:
			if (truth.count)
				give_back();
			truth.avail = (uint16_t)moved(truth.used, descriptors_flying());
			break;
		case 1:
			if (truth.count)
				give(false);
			break;
		case 2: case 3: case 4: case 5:
			if (truth.count)
				give(true);
			break;
		default:
			take();
			break;
		}
		CHECK(agrees);
	}
	viodma_inflight_store_hook_fn = NULL;
	CHECK(moments > steps);
	return true;
}

static bool over_sizes(bool packed, bool kill)
{
	static const uint32_t sizes[] = {1, 2, 3, 4, 5, 8, 16};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (uint32_t times = 1; times <= 2; times++)
			if ((packed || !(sizes[i] & (sizes[i] - 1))) &&
			    !plays(packed, sizes[i], times * sizes[i], kill, 1500))
				return false;
	return true;
}

static bool a_split_record_is_right_before_and_after_each_store(void)
{
	return over_sizes(false, false);
}
HOLDS(a_split_record_is_right_before_and_after_each_store)

static bool a_packed_record_is_right_before_and_after_each_store(void)
{
	return over_sizes(true, false);
}
HOLDS(a_packed_record_is_right_before_and_after_each_store)

static bool work_goes_on_from_a_split_record_after_any_kill(void)
{
	return over_sizes(false, true);
}
HOLDS(work_goes_on_from_a_split_record_after_any_kill)

static bool work_goes_on_from_a_packed_record_after_any_kill(void)
{
	return over_sizes(true, true);
}
HOLDS(work_goes_on_from_a_packed_record_after_any_kill)

static bool a_region_has_the_size_the_document_says(void)
{
	CHECK_EQUAL(sizeof(struct vhost_user_inflight_split_state), 16);
	CHECK_EQUAL(sizeof(struct vhost_user_inflight_packed_state), 32);
	CHECK_EQUAL(viodma_inflight_bytes(false, 1), 64);
	CHECK_EQUAL(viodma_inflight_bytes(false, 3), 64);
	CHECK_EQUAL(viodma_inflight_bytes(false, 4), 128);
	CHECK_EQUAL(viodma_inflight_bytes(true, 1), 64);
	CHECK_EQUAL(viodma_inflight_bytes(true, 32768), 64 + 32 * 32768);
	return true;
}
HOLDS(a_region_has_the_size_the_document_says)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_split_record_is_right_before_and_after_each_store),
		TEST(a_packed_record_is_right_before_and_after_each_store),
		TEST(work_goes_on_from_a_split_record_after_any_kill),
		TEST(work_goes_on_from_a_packed_record_after_any_kill),
		TEST(a_region_has_the_size_the_document_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
