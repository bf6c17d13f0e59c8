/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_blk_faults.c - virtio-blk, driver half, when things fail, one after the other until nothing fails any
 * more; and with a device that lies about its disk. No leak, no hang, each request ends once, data is right or said not
 * to be.
 *
 * How it works: see tests/support/test_device.h. Lies are played by hand: the chain is taken off the ring, and
 * answered.
 */
#include "tests/support/check.h"
#include "tests/support/test_device.h"

static struct test_device *current;

static struct test_device *fresh(const struct test_device_options *options)
{
	test_device_free(current);
	current = test_device_new(options);
	return current;
}

struct asked {
	struct viodma_driver_blk_request request;
	struct viodma_buffer buffer;
	unsigned ended;
	enum viodma_result result;
};

#define MANY 12u
static struct asked asked[MANY];

static void on_done(void *context, struct viodma_driver_blk_request *request, enum viodma_result result)
{
	struct asked *one = context;

	(void)request;
	one->ended++;
	one->result = result;
}

static bool submit(unsigned i, enum viodma_driver_blk_operation operation, uint64_t sector, size_t at, uint32_t len)
{
	struct asked *one = &asked[i];

	memset(one, 0xee, sizeof(*one));
	one->buffer = test_buffer(at, len ? len : 1);
	one->request.operation = operation;
	one->request.sector = sector;
	one->request.buffers = &one->buffer;
	one->request.buffer_count = len ? 1 : 0;
	one->request.deadline_ns = 1000;
	one->request.done = on_done;
	one->request.context = one;
	one->ended = 0;
	CHECK_RESULT(viodma_driver_blk_submit(&current->blk, &one->request), VIODMA_OK);
	return true;
}

static enum viodma_result settle(void)
{
	enum viodma_result result;
	unsigned turns = 0;

	for (;;) {
		do {
			result = viodma_driver_blk_poll(&current->blk, current->now_ns);
			if (++turns > 5000)
				return VIODMA_E_TIMEOUT;
		} while (result == VIODMA_OK);
		if (result != VIODMA_EMPTY || (!test_device_serve(current) && !current->pending_count))
			return result;
		test_device_finish(current);
	}
}

static bool as_on_disk(size_t at, uint64_t offset, size_t len)
{
	CHECK(!memcmp(current->private_memory + at, current->disk + offset, len));
	return true;
}

/* Six requests; each ends well with its data, or as `failure`. *good: how many ended well. */
static bool transfer(enum viodma_result failure, unsigned *good)
{
	size_t n;
	unsigned i;

	for (n = 0; n < 3 * 24 * 512; n++)
		current->private_memory[0x40007 + n] = (unsigned char)(n * 29 + (n >> 9));
	for (i = 0; i < 3; i++) {
		CHECK(submit(i, VIODMA_DRIVER_BLK_READ, 100 * i, 0x6001 * (i + 1), 24 * 512));
		CHECK(submit(3 + i, VIODMA_DRIVER_BLK_WRITE, 1000 + 24 * i, 0x40007 + 24 * 512 * i, 24 * 512));
	}
	CHECK_RESULT(settle(), VIODMA_EMPTY);
	*good = 0;
	for (i = 0; i < 6; i++) {
		CHECK_EQUAL(asked[i].ended, 1);
		if (asked[i].result != VIODMA_OK) {
			CHECK_RESULT(asked[i].result, failure);
			continue;
		}
		++*good;
		if (i < 3)
			CHECK(as_on_disk(0x6001 * (i + 1), 100u * i * 512u, 24 * 512));
		else
			CHECK(as_on_disk(0x40007 + 24 * 512 * (i - 3), (1000u + 24u * (i - 3)) * 512u, 24 * 512));
	}
	return true;
}

/* ---- what fails, once, at every place ---- */

/* The Nth entry into the IOMMU fails: exhaustion is waited out, an error ends what it belongs to. */
static bool iommu_failures(enum test_kind kind, bool deferred, enum viodma_result failure)
{
	bool failed = true;
	unsigned n, good;

	for (n = 1; failed; n++) {
		const struct test_device_options options = {.kind = kind,
							    .deferred = deferred,
							    .seg_max = 3,
							    .size_max = 8192,
							    .tables = 2,
							    .table_descriptors = 5};
		struct test_device *device = fresh(&options);
		enum viodma_result result;

		CHECK(n < 200);
		device->iommu_fail_at = n;
		device->iommu_failure = failure;
		result = test_device_start(device, 4, 14);
		if (result == VIODMA_OK) {
			CHECK(transfer(failure, &good));
			CHECK(failure == VIODMA_E_EXHAUSTED ? good == 6 : good >= 5);
		} else {
			CHECK_RESULT(result, failure);
		}
		failed = device->iommu_maps >= n;
		CHECK_RESULT(test_device_end(device), VIODMA_OK);
		CHECK(test_device_idle(device));
		CHECK_EQUAL(device->grant_count, 0);
		CHECK_EQUAL(device->faults, 0);
	}
	CHECK(n > 10);
	return true;
}

static bool every_failing_map_of_the_iommu_is_survived(void)
{
	int kind, mode;

	for (kind = TEST_IOMMU; kind <= TEST_BOUNCE_IOMMU; kind++)
		for (mode = 0; mode < 2; mode++) {
			CHECK(iommu_failures((enum test_kind)kind, mode != 0, VIODMA_E_EXHAUSTED));
			CHECK(iommu_failures((enum test_kind)kind, mode != 0, VIODMA_E_IO));
		}
	return true;
}
HOLDS(every_failing_map_of_the_iommu_is_survived)

/* Pools of every size: too small for the rings, for the headers, for a single part, for two ... for all. */
static bool every_size_of_pool_works_or_is_refused(void)
{
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		const uint32_t slot = kind >= TEST_IOMMU ? 4096 : 1024;
		unsigned slots, good, works = 0;

		for (slots = 1; slots < 80; slots += slots < 24 ? 1 : 9) {
			const struct test_device_options options = {.kind = (enum test_kind)kind,
								    .pool_bytes = slots * slot,
								    .slot_bytes = slot,
								    .run_bytes = slots < 4 ? slot : 4 * slot,
								    .seg_max = 6,
								    .tables = 2,
								    .table_descriptors = 8};
			struct test_device *device = fresh(&options);
			enum viodma_result result = test_device_start(device, 3, 14);

			if (result == VIODMA_OK) {
				works++;
				CHECK(transfer(VIODMA_E_EXHAUSTED, &good));
				/* One slot left: no room for a sector across two granules, and that is said. */
				CHECK(good == 6 || (kind == TEST_IOMMU && works == 1));
			} else {
				CHECK(result == VIODMA_E_EXHAUSTED || result == VIODMA_E_LIMIT);
				CHECK(!works);
			}
			CHECK_RESULT(test_device_end(device), VIODMA_OK);
			CHECK(test_device_idle(device));
		}
		CHECK(works > 10);
	}
	return true;
}
HOLDS(every_size_of_pool_works_or_is_refused)

static bool every_failing_call_of_the_transport_is_survived(void)
{
	enum viodma_result result = VIODMA_E_IO;
	unsigned n, good;

	for (n = 1; result != VIODMA_OK; n++) {
		const struct test_device_options options = {.kind = TEST_BOUNCE, .queues = 2};
		struct test_device *device = fresh(&options);

		CHECK(n < 50);
		device->fail_at = n;
		device->failure = VIODMA_E_TIMEOUT;
		result = test_device_start(device, 4, 14);
		CHECK(result == VIODMA_OK || result == VIODMA_E_TIMEOUT);
		if (result == VIODMA_OK) {
			CHECK(transfer(VIODMA_OK, &good));
			CHECK_EQUAL(good, 6);
		}
		CHECK_RESULT(test_device_end(device), VIODMA_OK);
		CHECK(test_device_idle(device));
	}
	CHECK(n > 15);
	return true;
}
HOLDS(every_failing_call_of_the_transport_is_survived)

static bool memory_that_cannot_be_taken_back_is_said(void)
{
	struct test_device *device;
	int reset;

	for (reset = 0; reset < 2; reset++) {
		const struct test_device_options options = {.kind = TEST_IOMMU};

		device = fresh(&options);
		CHECK_RESULT(test_device_start(device, 4, 14), VIODMA_OK);
		CHECK(submit(0, VIODMA_DRIVER_BLK_READ, 0, 4096, 4096));
		CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_EMPTY);
		device->iommu_stuck = true;
		if (reset) {
			CHECK_RESULT(viodma_driver_reset(&device->driver), VIODMA_OK);
			viodma_driver_blk_stop(&device->blk, VIODMA_E_RESET);
		} else {
			CHECK_RESULT(settle(), VIODMA_EMPTY);
			CHECK(as_on_disk(4096, 0, 4096)); /* the data came nevertheless */
		}
		CHECK_EQUAL(asked[0].ended, 1);
		CHECK_RESULT(asked[0].result, VIODMA_E_QUARANTINED);
		CHECK_RESULT(test_device_end(device), VIODMA_E_QUARANTINED);
	}
	return true;
}
HOLDS(memory_that_cannot_be_taken_back_is_said)

/* ---- a device that lies ---- */

/* A request is with the device: its chain. */
static bool sent(const struct test_device_options *options, enum viodma_driver_blk_operation operation,
		 struct test_chain *chain)
{
	struct test_device *device = fresh(options);

	CHECK_RESULT(test_device_start(device, 4, 14), VIODMA_OK);
	CHECK(submit(0, operation, 5, 0x3001, 1024));
	CHECK_RESULT(viodma_driver_blk_poll(&device->blk, 0), VIODMA_EMPTY);
	CHECK(test_device_take(&device->queues[0], chain));
	CHECK_EQUAL(chain->part[chain->count - 1].len_bytes, 1);
	CHECK(chain->part[chain->count - 1].writable);
	return true;
}

static unsigned char *status_of(const struct test_chain *chain)
{
	return chain->part[chain->count - 1].memory;
}

static bool answered(struct test_chain *chain, uint32_t used, enum viodma_result result)
{
	test_device_put_used(&current->queues[0], chain->head, used);
	CHECK_RESULT(viodma_driver_blk_poll(&current->blk, 0), VIODMA_OK);
	CHECK_EQUAL(asked[0].ended, 1);
	CHECK_RESULT(asked[0].result, result);
	/* The driver goes on. */
	CHECK(submit(1, VIODMA_DRIVER_BLK_FLUSH, 0, 0, 0));
	CHECK_RESULT(viodma_driver_blk_poll(&current->blk, 0), VIODMA_EMPTY);
	return true;
}

static bool a_status_nobody_answers_or_none_is_no_answer(void)
{
	static const int statuses[] = {-1, 3, 0x80, 0xfe, 0xff};
	size_t i;
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++)
		for (i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
			const struct test_device_options options = {.kind = (enum test_kind)kind};
			struct test_chain chain;

			CHECK(sent(&options, VIODMA_DRIVER_BLK_WRITE, &chain));
			CHECK(*status_of(&chain) > 2); /* filled in advance */
			if (statuses[i] >= 0)
				*status_of(&chain) = (unsigned char)statuses[i];
			CHECK(answered(&chain, 1, VIODMA_PEER_ANSWER));
		}
	return true;
}
BEHAVIOUR(a_status_nobody_answers_or_none_is_no_answer, "DEV-22")

static bool the_devices_errors_are_told_apart(void)
{
	static const struct {
		unsigned char status;
		enum viodma_result result;
	} cases[] = {{0, VIODMA_OK}, {1, VIODMA_E_IO}, {2, VIODMA_E_UNSUPPORTED}};
	size_t i;

	for (i = 0; i < 3; i++) {
		struct test_chain chain;

		CHECK(sent(NULL, VIODMA_DRIVER_BLK_WRITE, &chain));
		*status_of(&chain) = cases[i].status;
		CHECK(answered(&chain, 1, cases[i].result));
	}
	return true;
}
HOLDS(the_devices_errors_are_told_apart)

/* OK, and fewer bytes than were asked for. What was written beyond the used length does not come out of the pool. */
static bool a_read_that_says_ok_and_is_short_is_no_answer(void)
{
	static const uint32_t lengths[] = {0, 1, 512, 1023};
	int kind;
	size_t i, k;

	for (kind = 0; kind < TEST_KINDS; kind++)
		for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			const struct test_device_options options = {.kind = (enum test_kind)kind};
			struct test_chain chain;

			CHECK(sent(&options, VIODMA_DRIVER_BLK_READ, &chain));
			for (k = 1; k + 1 < chain.count; k++)
				memset(chain.part[k].memory, 'x', chain.part[k].len_bytes);
			*status_of(&chain) = 0;
			CHECK(answered(&chain, lengths[i], VIODMA_PEER_ANSWER));
			for (k = lengths[i];
			     k < 1024 && kind != TEST_DIRECT && kind != TEST_OFFSET && kind != TEST_IOMMU; k++)
				CHECK_EQUAL(current->private_memory[0x3001 + k], 0x5a);
		}
	return true;
}
BEHAVIOUR(a_read_that_says_ok_and_is_short_is_no_answer, "DEV-22")

static bool a_read_that_does_not_count_its_status_is_taken(void)
{
	struct test_chain chain;

	CHECK(sent(NULL, VIODMA_DRIVER_BLK_READ, &chain));
	*status_of(&chain) = 0;
	return answered(&chain, 1024, VIODMA_OK);
}
HOLDS(a_read_that_does_not_count_its_status_is_taken)

static bool lies_of_the_ring_come_through_and_a_reset_ends_everything(void)
{
	static const struct {
		uint32_t id, len;
		uint16_t index;
		enum viodma_result result;
	} lies[] = {{16, 1, 0, VIODMA_PEER_USED_ID},
		    {9, 1, 0, VIODMA_PEER_USED_TWICE},
		    {0, 1, 7, VIODMA_PEER_USED_INDEX},
		    {0, 5000, 0, VIODMA_PEER_USED_LENGTH}};
	size_t i;

	for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		const struct test_device_options options = {.kind = TEST_BOUNCE, .strict = true};
		struct test_chain chain;

		if (TEST_PACKED && lies[i].index) /* there is none */
			continue;
		CHECK(sent(&options, VIODMA_DRIVER_BLK_READ, &chain));
		test_device_put_used(&current->queues[0], lies[i].id, lies[i].len);
		if (lies[i].index)
			test_device_set_used_index(&current->queues[0], lies[i].index);
		CHECK_RESULT(viodma_driver_blk_poll(&current->blk, 0), lies[i].result);
		CHECK_RESULT(viodma_driver_blk_poll(&current->blk, 0), lies[i].result);
		CHECK(submit(1, VIODMA_DRIVER_BLK_READ, 0, 0, 512)); /* taken, and never sent */
		CHECK_RESULT(viodma_driver_blk_poll(&current->blk, 0), lies[i].result);
		CHECK_EQUAL(asked[0].ended, 0);
		CHECK_RESULT(viodma_driver_reset(&current->driver), VIODMA_OK);
		viodma_driver_blk_stop(&current->blk, VIODMA_E_RESET);
		CHECK_EQUAL(asked[0].ended, 1);
		CHECK_EQUAL(asked[1].ended, 1);
		CHECK_RESULT(asked[0].result, VIODMA_E_RESET);
		CHECK_RESULT(test_device_end(current), VIODMA_OK);
		CHECK(test_device_idle(current));
	}
	return true;
}
HOLDS(lies_of_the_ring_come_through_and_a_reset_ends_everything)

static bool a_silent_device_is_given_up_at_the_deadline(void)
{
	struct test_chain chain;

	CHECK(sent(NULL, VIODMA_DRIVER_BLK_READ, &chain));
	CHECK_RESULT(viodma_driver_blk_poll(&current->blk, 999), VIODMA_EMPTY);
	CHECK_RESULT(viodma_driver_blk_poll(&current->blk, 1000), VIODMA_PEER_SILENT);
	CHECK_RESULT(test_device_end(current), VIODMA_OK);
	CHECK_RESULT(asked[0].result, VIODMA_E_RESET);
	return true;
}
BEHAVIOUR(a_silent_device_is_given_up_at_the_deadline, "DEV-20")

static bool a_status_written_after_the_reset_is_noticed(void)
{
	int kind;

	for (kind = 0; kind < TEST_KINDS; kind++) {
		const struct test_device_options options = {.kind = (enum test_kind)kind};
		struct test_chain chain;

		CHECK(sent(&options, VIODMA_DRIVER_BLK_READ, &chain));
		CHECK_RESULT(viodma_driver_reset(&current->driver), VIODMA_OK);
		viodma_driver_blk_stop(&current->blk, VIODMA_E_RESET);
		*status_of(&chain) = 0;
		CHECK_RESULT(test_device_end(current), VIODMA_PEER_LATE_WRITE);
		CHECK(test_device_idle(current));
	}
	return true;
}
BEHAVIOUR(a_status_written_after_the_reset_is_noticed, "DEV-14")

/* ---- anything at all ---- */

static bool hostile_round(struct check_random *random, enum test_kind kind)
{
	const struct test_device_options options = {
		.kind = kind, .event_idx = check_below(random, 2), .strict = check_below(random, 4) == 0, .size = 8};
	struct test_device *device = fresh(&options);
	struct test_device_queue *queue = &device->queues[0];
	enum viodma_result result = VIODMA_EMPTY;
	struct test_chain chain;
	unsigned i, turn;

	CHECK_RESULT(test_device_start(device, 4, 6), VIODMA_OK);
	for (i = 0; i < MANY; i++)
		CHECK(submit(i, i & 1 ? VIODMA_DRIVER_BLK_WRITE : VIODMA_DRIVER_BLK_READ, i, 0x2000 + i * 0x4000,
			     8192));
	for (turn = 0; turn < 200 && (result == VIODMA_OK || result == VIODMA_EMPTY); turn++) {
		result = viodma_driver_blk_poll(&device->blk, 0);
		while (test_device_take(queue, &chain)) {
			if (check_below(random, 8) == 0)
				continue; /* never answered */
			if (check_below(random, 4))
				*status_of(&chain) = (unsigned char)check_below(random, 4);
			test_device_put_used(queue,
					     check_below(random, 40) ? chain.head : (uint32_t)check_below(random, 9),
					     (uint32_t)check_below(random, 9000));
		}
	}
	CHECK(result == VIODMA_EMPTY || viodma_result_is_peer(result));
	CHECK_RESULT(viodma_driver_reset(&device->driver), VIODMA_OK);
	viodma_driver_blk_stop(&device->blk, VIODMA_E_RESET);
	for (i = 0; i < MANY; i++)
		CHECK_EQUAL(asked[i].ended, 1);
	for (i = 0; i + 1 < MANY; i++) /* between the buffers */
		CHECK_EQUAL(device->private_memory[0x2000 + i * 0x4000 + 8192], 0x5a);
	CHECK_RESULT(test_device_end(device), VIODMA_OK);
	CHECK(test_device_idle(device));
	return true;
}

static bool whatever_the_device_answers_each_request_ends_once(void)
{
	struct check_random random = {.state = 4711};
	unsigned i;

	for (i = 0; i < 300; i++)
		CHECK(hostile_round(&random, (enum test_kind)(i % TEST_KINDS)));
	return true;
}
HOLDS(whatever_the_device_answers_each_request_ends_once)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_failing_map_of_the_iommu_is_survived),
		TEST(every_size_of_pool_works_or_is_refused),
		TEST(every_failing_call_of_the_transport_is_survived),
		TEST(memory_that_cannot_be_taken_back_is_said),
		WITH_MUTANT(a_status_nobody_answers_or_none_is_no_answer),
		TEST(the_devices_errors_are_told_apart),
		WITH_MUTANT(a_read_that_says_ok_and_is_short_is_no_answer),
		TEST(a_read_that_does_not_count_its_status_is_taken),
		TEST(lies_of_the_ring_come_through_and_a_reset_ends_everything),
		WITH_MUTANT(a_silent_device_is_given_up_at_the_deadline),
		WITH_MUTANT(a_status_written_after_the_reset_is_noticed),
		TEST(whatever_the_device_answers_each_request_ends_once),
	};

	return cmocka_run_group_tests_name(TEST_PACKED ? "driver blk faults, packed" : "driver blk faults", tests, NULL, NULL);
}
