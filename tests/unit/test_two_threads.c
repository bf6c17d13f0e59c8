/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_two_threads.c - a driver and a device, each in a thread of its own, over one ring, with event indexes: every
 * request comes back once with the right bytes, and no notification is lost.
 *
 * How it works: both halves sleep when they have nothing to do, and are woken only when the ring says that they want to
 * be: the driver kicks by avail_event, the device calls by used_event. A notification lost leaves both asleep; an alarm
 * ends the program then. Under the thread sanitizer this is the test of the ring's memory order.
 */
#include "tests/support/check.h"
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(in_place_two_threads_over_one_ring_lose_nothing),
		TEST(copied_two_threads_over_one_ring_lose_nothing),
	};

	return cmocka_run_group_tests_name("two threads", tests, NULL, NULL);
}
