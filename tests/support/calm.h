/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * calm.h - a queue in which nothing is out of the ordinary, for the tests of the straight way through it.
 *
 * How it works: requests go through until the queue is calm; then comes the one that the test is about. With an event
 * index a queue is calm from its first request on.
 */
#ifndef VIODMA_TESTS_SUPPORT_CALM_H
#define VIODMA_TESTS_SUPPORT_CALM_H

#include "tests/support/check.h"
#include "tests/support/hooks.h"
#include "tests/support/test_driver.h"

#define BUFFER(n) (TEST_BUFFERS + (n) * TEST_PAGE)
#define W VIRTQ_DESC_F_WRITE

static struct test_driver *current;

static inline struct test_driver *fresh(const struct test_options *options)
{
	test_driver_free(current);
	current = test_driver_new(options);
	return current;
}

static inline bool is_calm(const struct test_driver *d)
{
	return d->queue.calm_epoch == d->space.epoch;
}

/* One request of one buffer at page n, taken and given back. */
static inline bool serve(struct test_driver *d, unsigned n, uint16_t flags)
{
	struct viodma_request *request;

	test_desc(d, 0, test_bus(d, BUFFER(n)), 16, flags, 0);
	test_make_available(d, 0);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_OK);
	CHECK_EQUAL(request->readable_bytes, flags & W ? 0 : 16);
	CHECK_EQUAL(request->writable_bytes, flags & W ? 16 : 0);
	viodma_queue_push(&d->queue, request, flags & W ? 16 : 0);
	return true;
}

/* Physical addresses, or pages 0 to 3 of an IOTLB: 0 to be read, 1 to be written, 2 and 3 both. */
static inline struct test_driver *calm(bool platform, bool event_idx)
{
	const struct test_options options = {.size = 8, .platform = platform, .scatter = true, .event_idx = event_idx};
	struct test_driver *d = fresh(&options);

	if (platform) {
		test_grant_rings(d);
		test_grant(d, BUFFER(0), TEST_PAGE, VIODMA_READ);
		test_grant(d, BUFFER(1), TEST_PAGE, VIODMA_WRITE);
		test_grant(d, BUFFER(2), 2 * TEST_PAGE, VIODMA_READ_WRITE);
	}
	return serve(d, 0, 0) && serve(d, 1, W) && is_calm(d) ? d : NULL;
}

static inline bool breaks(struct test_driver *d, enum viodma_result wanted)
{
	struct viodma_request *request = NULL;

	CHECK(is_calm(d));
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), wanted);
	CHECK(request == NULL);
	CHECK_RESULT(d->queue.broken, wanted);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), wanted);
	CHECK(!is_calm(d));
	return true;
}

/* Everything is one mapping, so that no buffer is too long for it. */
static inline enum viodma_result everything(void *context, viodma_bus bus, enum viodma_permission wanted, struct viodma_extent *extent)
{
	const struct test_driver *d = context;

	(void)bus;
	(void)wanted;
	*extent = (struct viodma_extent){{0}, {UINT64_MAX}, {1}, NULL, VIODMA_READ_WRITE};
	extent->memory = (struct viodma_shared *)((uintptr_t)d->memory - (uintptr_t)test_bus(d, 0).v);
	return VIODMA_OK;
}

/* Every byte of descriptors is read once, on whichever way; then it is gone. */
static unsigned char *spoilt_from;

static inline void spoil(const void *at, size_t bytes)
{
	const size_t offset = (size_t)((const unsigned char *)at - spoilt_from);

	if ((offset < TEST_DESC + TEST_PAGE && offset >= TEST_DESC) ||
	    (offset < TEST_TABLES + TEST_PAGE && offset >= TEST_TABLES))
		memset(spoilt_from + offset, 0xff, bytes);
}

/* The buffer's request is parked for `permission`, and goes on when that is granted. */
static inline bool waits_for(struct test_driver *d, unsigned n, uint32_t bytes, uint16_t flags, unsigned page,
		      enum viodma_permission permission)
{
	struct viodma_request *request;

	test_desc(d, 1, test_bus(d, BUFFER(n)), bytes, flags, 0);
	test_make_available(d, 1);
	CHECK(is_calm(d));
	CHECK(viodma_queue_pop(&d->queue, &request) != VIODMA_OK);
	CHECK_EQUAL(d->queue.parked, 1);
	CHECK(!is_calm(d));
	CHECK(test_asked(d, BUFFER(page), permission));
	test_answer(d, true);
	CHECK_RESULT(viodma_queue_pop(&d->queue, &request), VIODMA_OK);
	CHECK_RESULT(request->result, VIODMA_OK);
	viodma_queue_push(&d->queue, request, 0);
	return true;
}

static inline int calm_after(void **state)
{
	(void)state;
	test_driver_free(current);
	current = NULL;
	return 0;
}

#endif
