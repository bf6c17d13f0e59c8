/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_two_threads.c - a driver and a device, each in a thread of its own, over one ring, with event indexes: every
 * request comes back once with the right bytes, and no notification is lost. The driver is a test's own, or the library's.
 *
 * How it works: both halves sleep when they have nothing to do, and are woken only when the ring says that they want to
 * be: the driver kicks by avail_event, the device calls by used_event. A notification lost leaves both asleep; an alarm
 * ends the program then. Under the thread sanitizer this is the test of the ring's memory order.
 */
#include "tests/support/check.h"
#include "tests/support/test_device.h"
#include "tests/support/test_driver.h"

#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#define REQUESTS 100000u
#define SIZE 32u /* descriptors: two for each request */
#define MOST 16u
#define SECONDS 100

static struct test_driver *driver;
static sem_t kick, call;
static unsigned kicks, calls;

static size_t buffer(unsigned slot)
{
	return TEST_BUFFERS + slot * TEST_PAGE;
}

static uint16_t *word(size_t offset)
{
	return (uint16_t *)(void *)(driver->memory + offset);
}

static uint32_t answer_to(uint32_t question)
{
	return question * 2654435761u + 1;
}

static void *device_half(void *context)
{
	bool *failed = context;
	unsigned served = 0;

	while (served < REQUESTS) {
		struct viodma_request *request;
		enum viodma_result result = viodma_queue_pop(&driver->queue, &request);
		viodma_le32 wire;

		if (result == VIODMA_EMPTY) {
			if (viodma_queue_call_needed(&driver->queue)) {
				calls++;
				sem_post(&call);
			}
			sem_wait(&kick);
			continue;
		}
		if (result != VIODMA_OK || request->result != VIODMA_OK ||
		    viodma_request_read(request, 0, &wire, sizeof(wire)) != VIODMA_OK) {
			*failed = true;
			break;
		}
		wire = viodma_le32_of(answer_to(viodma_le32_get(wire)));
		if (viodma_request_write(request, 0, &wire, sizeof(wire)) != VIODMA_OK) {
			*failed = true;
			break;
		}
		viodma_queue_push(&driver->queue, request, sizeof(wire));
		served++;
		/* Now and then in the middle, too. */
		if (served % 7 == 0 && viodma_queue_call_needed(&driver->queue)) {
			calls++;
			sem_post(&call);
		}
	}
	if (*failed || viodma_queue_call_needed(&driver->queue))
		sem_post(&call);
	return NULL;
}

/* Did the index pass the event on its way from before to now? */
static bool passed(uint16_t event, uint16_t now, uint16_t before)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

static bool driver_half(const bool *failed)
{
	uint32_t question[MOST] = {0}, sent = 0, back = 0;
	unsigned free_slots[MOST], free_count = MOST, i;
	uint32_t id, len;

	for (i = 0; i < MOST; i++)
		free_slots[i] = i;
	while (back < REQUESTS) {
		uint16_t before = driver->avail_idx, event;
		bool progress = false;

		while (free_count && sent < REQUESTS) {
			unsigned slot = free_slots[--free_count];

			question[slot] = sent++;
			test_put32(driver, buffer(slot), question[slot]);
			test_request(driver, (uint16_t)(2 * slot), buffer(slot), 4, buffer(slot) + 64, 4);
			test_make_available(driver, (uint16_t)(2 * slot));
		}
		if (driver->avail_idx != before) {
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
			event = __atomic_load_n(word(TEST_USED + VIRTQ_USED_AVAIL_EVENT(SIZE)), __ATOMIC_RELAXED);
			if (passed(viodma_le16_get((viodma_le16){event}), driver->avail_idx, before)) {
				kicks++;
				sem_post(&kick);
			}
			progress = true;
		}
		while (test_take_used(driver, &id, &len)) {
			unsigned slot = id / 2;

			CHECK(id % 2 == 0 && slot < MOST);
			CHECK_EQUAL(len, 4);
			CHECK_EQUAL(test_get32(driver, buffer(slot) + 64), answer_to(question[slot]));
			free_slots[free_count++] = slot;
			CHECK(free_count <= MOST);
			back++;
			progress = true;
		}
		if (progress)
			continue;
		CHECK(!__atomic_load_n(failed, __ATOMIC_RELAXED));
		/* Call me at the next one; then look once more, behind a fence. */
		__atomic_store_n(word(TEST_AVAIL + VIRTQ_AVAIL_USED_EVENT(SIZE)),
				 viodma_le16_of(driver->used_seen).wire, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (test_used_idx(driver) == driver->used_seen)
			sem_wait(&call);
	}
	return true;
}

static bool two_threads_over_one_ring_lose_nothing(const struct test_options *options)
{
	bool failed = false, good;
	pthread_t thread;

	driver = test_driver_new(options);
	sem_init(&kick, 0, 0);
	sem_init(&call, 0, 0);
	kicks = calls = 0;
	alarm(SECONDS);
	CHECK(pthread_create(&thread, NULL, device_half, &failed) == 0);
	good = driver_half(&failed);
	if (!good)
		return false; /* the note says why; the other thread may sleep for ever */
	CHECK(pthread_join(thread, NULL) == 0);
	alarm(0);
	CHECK(!failed);
	CHECK_EQUAL(driver->queue.statistics.pushed, REQUESTS);
	CHECK(kicks <= REQUESTS && calls <= REQUESTS);
	test_driver_free(driver);
	return true;
}

static bool in_place_two_threads_over_one_ring_lose_nothing(void)
{
	static const struct test_options options = {
		.size = SIZE, .event_idx = true, .platform = true, .granted = true, .scatter = true};

	return two_threads_over_one_ring_lose_nothing(&options);
}
HOLDS(in_place_two_threads_over_one_ring_lose_nothing)

static bool copied_two_threads_over_one_ring_lose_nothing(void)
{
	static const struct test_options options = {.size = SIZE, .event_idx = true, .copy = true};

	return two_threads_over_one_ring_lose_nothing(&options);
}
HOLDS(copied_two_threads_over_one_ring_lose_nothing)

/* ---- both halves of the library ---- */

#define LIBRARY_REQUESTS 60000u
#define IN_FLIGHT 24u

static struct test_device *device;
static bool device_stops;

static void on_kick(struct test_device_queue *queue)
{
	(void)queue;
	kicks++;
	sem_post(&kick);
}

static void give_up(bool *failed)
{
	__atomic_store_n(failed, true, __ATOMIC_RELAXED);
	sem_post(&call);
}

/* Answers each number with another, until told to stop. */
static void *library_device_half(void *context)
{
	struct viodma_queue *queue = &device->queues[0].queue;
	bool *failed = context;

	for (;;) {
		struct viodma_request *request;
		enum viodma_result result = viodma_queue_pop(queue, &request);
		viodma_le32 wire;

		if (result != VIODMA_OK) {
			if (viodma_queue_call_needed(queue)) {
				calls++;
				sem_post(&call);
			}
			if (result != VIODMA_EMPTY)
				give_up(failed);
			if (*failed || __atomic_load_n(&device_stops, __ATOMIC_ACQUIRE))
				return NULL;
			sem_wait(&kick);
			continue;
		}
		if (viodma_request_read(request, 0, &wire, sizeof(wire)) != VIODMA_OK)
			give_up(failed);
		wire = viodma_le32_of(answer_to(viodma_le32_get(wire)));
		if (viodma_request_write(request, 0, &wire, sizeof(wire)) != VIODMA_OK)
			give_up(failed);
		viodma_queue_push(queue, request, sizeof(wire));
		if (queue->statistics.pushed % 5 == 0 && viodma_queue_call_needed(queue)) {
			calls++;
			sem_post(&call);
		}
	}
}

struct trip {
	struct viodma_mapping to, from;
	struct viodma_buffer question_at, answer_at;
	struct viodma_segment segments[4];
	uint32_t question;
};

static bool send_question(struct trip *trip, unsigned slot, uint32_t question)
{
	const viodma_le32 wire = viodma_le32_of(question);

	trip->question = question;
	trip->question_at = test_buffer(slot * 256, 4);
	trip->answer_at = test_buffer(0x10000 + slot * 256, 4);
	memcpy(device->private_memory + slot * 256, &wire, sizeof(wire));
	CHECK_RESULT(viodma_driver_queue_map_and_add(&device->queues[0].driver, &trip->to, &trip->question_at, 1, &trip->from,
						     &trip->answer_at, 1, trip->segments, 4, trip),
		     VIODMA_OK);
	return true;
}

static bool take_answer(struct trip *trip, unsigned slot, uint64_t written)
{
	viodma_le32 wire;

	CHECK_EQUAL(written, 4);
	CHECK_RESULT(viodma_domain_unmap(&trip->to, 0), VIODMA_OK);
	CHECK_RESULT(viodma_domain_unmap(&trip->from, written), VIODMA_OK);
	memcpy(&wire, device->private_memory + 0x10000 + slot * 256, sizeof(wire));
	CHECK_EQUAL(viodma_le32_get(wire), answer_to(trip->question));
	return true;
}

static bool library_driver_half(const bool *failed)
{
	static struct trip trips[IN_FLIGHT];
	struct viodma_driver_queue *queue = &device->queues[0].driver;
	unsigned free_slots[IN_FLIGHT], free_count = IN_FLIGHT, i;
	uint32_t sent = 0, back = 0;

	for (i = 0; i < IN_FLIGHT; i++)
		free_slots[i] = i;
	while (back < LIBRARY_REQUESTS) {
		struct viodma_driver_completion completions[7];
		uint32_t count;

		while (free_count && sent < LIBRARY_REQUESTS && viodma_driver_queue_has_room(queue, 2)) {
			unsigned slot = free_slots[--free_count];

			CHECK(send_question(&trips[slot], slot, sent++));
		}
		viodma_driver_queue_publish(queue);
		viodma_driver_queue_kick(queue, &device->transport);
		viodma_driver_queue_want_no_call(queue);
		while (viodma_driver_queue_get_batch(queue, completions, 7, &count) == VIODMA_OK)
			for (i = 0; i < count; i++) {
				unsigned slot = (unsigned)((struct trip *)completions[i].token - trips);

				CHECK(take_answer(&trips[slot], slot, completions[i].written_bytes));
				free_slots[free_count++] = slot;
				back++;
			}
		CHECK_RESULT(queue->broken, VIODMA_OK);
		CHECK(!__atomic_load_n(failed, __ATOMIC_RELAXED));
		if (back < LIBRARY_REQUESTS && !free_count && !viodma_driver_queue_want_call(queue))
			sem_wait(&call);
	}
	return true;
}

/* A disk: what is written is read back. */
static void *disk_half(void *context)
{
	bool *failed = context;

	for (;;) {
		unsigned served = test_device_serve(device);

		if (viodma_queue_call_needed(&device->queues[0].queue)) {
			calls++;
			sem_post(&call);
		}
		if (served)
			continue;
		if (device->queues[0].queue.broken != VIODMA_OK)
			give_up(failed);
		if (*failed || __atomic_load_n(&device_stops, __ATOMIC_ACQUIRE))
			return NULL;
		sem_wait(&kick);
	}
}

static unsigned ended, ended_badly;

static void on_done(void *context, struct viodma_driver_blk_request *request, enum viodma_result result)
{
	(void)context;
	(void)request;
	ended++;
	ended_badly += result != VIODMA_OK;
}

static bool disk_round(const bool *failed, enum viodma_driver_blk_operation operation, size_t at)
{
	static struct viodma_driver_blk_request requests[8];
	static struct viodma_buffer buffers[8];
	enum viodma_result result;
	unsigned i;

	ended = ended_badly = 0;
	for (i = 0; i < 8; i++) {
		buffers[i] = test_buffer(at + i * 0x4000, 0x4000);
		requests[i] = (struct viodma_driver_blk_request){.operation = operation,
								 .sector = i * 0x20,
								 .buffers = &buffers[i],
								 .buffer_count = 1,
								 .deadline_ns = UINT64_MAX,
								 .done = on_done};
		CHECK_RESULT(viodma_driver_blk_submit(&device->blk, &requests[i]), VIODMA_OK);
	}
	while (ended < 8) {
		result = viodma_driver_blk_poll(&device->blk, 0);
		CHECK(result == VIODMA_OK || result == VIODMA_EMPTY);
		CHECK(!__atomic_load_n(failed, __ATOMIC_RELAXED));
		if (result == VIODMA_EMPTY && ended < 8)
			sem_wait(&call);
	}
	CHECK_EQUAL(ended_badly, 0);
	return true;
}

static bool disk_driver_half(const bool *failed)
{
	unsigned round, i;

	for (round = 0; round < 150; round++) {
		for (i = 0; i < 0x20000; i += 64)
			device->private_memory[i] = (unsigned char)(round + i / 64);
		CHECK(disk_round(failed, VIODMA_DRIVER_BLK_WRITE, 0));
		CHECK(disk_round(failed, VIODMA_DRIVER_BLK_READ, 0x40000));
		CHECK(!memcmp(device->private_memory, device->private_memory + 0x40000, 0x20000));
	}
	return true;
}

static bool both_halves(const struct test_device_options *options, void *(*device_side)(void *), bool (*driver_side)(const bool *))
{
	bool failed = false, good;
	pthread_t thread;

	test_device_free(device);
	device = test_device_new(options);
	device->on_kick = on_kick;
	device_stops = false;
	sem_init(&kick, 0, 0);
	sem_init(&call, 0, 0);
	CHECK_RESULT(test_device_start(device, 12, 14), VIODMA_OK);
	alarm(SECONDS);
	CHECK(pthread_create(&thread, NULL, device_side, &failed) == 0);
	good = driver_side(&failed);
	if (!good)
		return false;
	__atomic_store_n(&device_stops, true, __ATOMIC_RELEASE);
	sem_post(&kick);
	CHECK(pthread_join(thread, NULL) == 0);
	alarm(0);
	CHECK(!failed);
	CHECK_EQUAL(device->faults, 0);
	CHECK_RESULT(test_device_end(device), VIODMA_OK);
	CHECK(test_device_idle(device));
	return true;
}

static bool both_halves_of_the_library_over_one_ring_lose_nothing(void)
{
	static const struct test_device_options cases[] = {
		{.kind = TEST_OFFSET, .size = 32, .event_idx = true, .tables = 6, .table_descriptors = 4},
		{.kind = TEST_BOUNCE, .size = 32, .event_idx = true},
		{.kind = TEST_DIRECT, .size = 16, .order_platform = true},
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CHECK(both_halves(&cases[i], library_device_half, library_driver_half));
	return true;
}
HOLDS(both_halves_of_the_library_over_one_ring_lose_nothing)

static bool a_disk_in_another_thread_keeps_what_is_written(void)
{
	static const struct test_device_options cases[] = {
		{.kind = TEST_BOUNCE, .size = 64, .event_idx = true, .seg_max = 2, .size_max = 4096},
		{.kind = TEST_OFFSET, .size = 16, .tables = 16, .table_descriptors = 16, .size_max = 8192},
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CHECK(both_halves(&cases[i], disk_half, disk_driver_half));
	return true;
}
HOLDS(a_disk_in_another_thread_keeps_what_is_written)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(in_place_two_threads_over_one_ring_lose_nothing),
		TEST(copied_two_threads_over_one_ring_lose_nothing),
		TEST(both_halves_of_the_library_over_one_ring_lose_nothing),
		TEST(a_disk_in_another_thread_keeps_what_is_written),
	};

	return cmocka_run_group_tests_name("two threads", tests, NULL, NULL);
}
