/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_front_driver.c - the driver half over the front end, on every kind of platform, to the library's own back end.
 *
 * How it works: memory is two objects, private memory and a pool, at physical addresses that differ from pointers; the
 * platform decides which are handed over and what is granted, as a program would. Requests of many sizes go out from random
 * places of the private memory, and come back; the image is the judge. Where a platform is restricted the private memory is
 * no file at all, so nothing could hand it over.
 */
#include "hosted/front/front.h"

#include "tests/support/check.h"
#include "tests/support/front_back_end.h"
#include "tests/support/front_peer.h"

#include <viodma/dma_debug.h>
#include <viodma/driver_blk.h>

#include <sys/mman.h>

#define IMAGE_BYTES (4u << 20)
#define PRIVATE_BYTES (1u << 20)
#define POOL_BYTES (1u << 20)
#define PRIVATE_PHYS UINT64_C(0x200000000)
#define POOL_PHYS UINT64_C(0x140000000)
#define RING_SIZE 32u
#define PARTS 16u
#define SEGMENTS 20u
#define GRANULES 1024u
#define CANARY 0xc5

/* A platform, and what a program does about it. */
struct kind {
	const char *text;
	bool bounces;      /* the pool only is handed over */
	bool physical;     /* bit 33 is not accepted */
	unsigned windows;  /* granted in advance */
	enum viodma_iommu_mode mode;
};

static const struct kind kinds[] = {
	{"kind=direct pass-through", .windows = 2},
	{"kind=direct pass-through", .physical = true},
	{"kind=offset window=0x200000000+1M@0x31000000 window=0x140000000+1M@0x57000000 pass-through", .windows = 2},
	{"kind=offset window=0x140000000+1M@0x57000000 restricted pool=0x140000000+1M", .bounces = true, .windows = 1},
	{"kind=iommu granule=4096 window=0x100000000+1G pass-through"},
	{"kind=iommu granule=4096 window=0x100000000+1G pass-through", .mode = VIODMA_IOMMU_DEFERRED},
	{"kind=iommu granule=4096 window=0x100000000+1G restricted pool=0x140000000+1M/4096", .bounces = true},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct rig {
	struct back_end back;
	struct viodma_front *front;
	struct viodma_front_memory private, pool_memory;
	unsigned char *data; /* of the private memory */
	struct viodma_object objects[2];
	struct viodma_memory memory;
	const struct kind *kind;
	struct viodma_platform platform;
	struct viodma_pool pool;
	struct viodma_domain domain;
	struct viodma_driver driver;
	struct viodma_driver_queue queue;
	struct viodma_driver_blk blk;
	void *slots, *iova, *queue_storage, *blk_storage;
	struct viodma_iommu_waiting waiting[16];
	unsigned done, failed;
	unsigned descriptors;
};

static char logged[512];

static void keep_line(void *context, const char *line)
{
	(void)context;
	snprintf(logged, sizeof(logged), "%s", line);
}

static void done(void *context, struct viodma_driver_blk_request *request, enum viodma_result result)
{
	struct rig *rig = context;

	(void)request;
	rig->done++;
	rig->failed += result != VIODMA_OK;
}

/* ---- set up, as a program would ---- */

static bool make_memory(struct rig *rig)
{
	CHECK_RESULT(viodma_front_memory_new(POOL_BYTES, (viodma_phys){POOL_PHYS}, &rig->pool_memory), VIODMA_OK);
	if (rig->kind->bounces) {
		rig->data = mmap(NULL, PRIVATE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(rig->data != MAP_FAILED);
	} else {
		CHECK_RESULT(viodma_front_memory_new(PRIVATE_BYTES, (viodma_phys){PRIVATE_PHYS}, &rig->private), VIODMA_OK);
		rig->data = rig->private.object.memory;
	}
	rig->objects[0] = rig->pool_memory.object;
	rig->objects[1] = (struct viodma_object){rig->data, {PRIVATE_PHYS}, PRIVATE_BYTES};
	rig->memory = (struct viodma_memory){rig->objects, 2};
	return true;
}

static bool connect_front(struct rig *rig)
{
	struct viodma_front_options options = {.name = "blk0", .log = keep_line};

	rig->descriptors = front_peer_descriptors();
	options.socket_fd = back_end_start(&rig->back, IMAGE_BYTES, VIODMA_PLATFORM_DMA_OFFER);
	CHECK(options.socket_fd >= 0);
	CHECK(make_memory(rig));
	CHECK_RESULT(viodma_front_connect(&options, &rig->front), VIODMA_OK);
	return true;
}

static bool make_pool(struct rig *rig)
{
	const struct viodma_pool_config config = {.slot_bytes = rig->platform.kind == VIODMA_PLATFORM_IOMMU ? 4096 : 2048};
	const size_t bytes = VIODMA_POOL_STORAGE_BYTES(POOL_BYTES, 2048);

	rig->slots = malloc(bytes);
	CHECK(rig->slots);
	CHECK_RESULT(viodma_pool_init(&rig->pool, &config), VIODMA_OK);
	CHECK_RESULT(viodma_pool_add(&rig->pool, &rig->pool_memory.object, rig->slots, bytes), VIODMA_OK);
	return true;
}

static bool share(struct rig *rig)
{
	CHECK_RESULT(viodma_front_share(rig->front, &rig->pool_memory), VIODMA_OK);
	if (!rig->kind->bounces)
		CHECK_RESULT(viodma_front_share(rig->front, &rig->private), VIODMA_OK);
	return true;
}

static bool negotiate(struct rig *rig)
{
	const struct viodma_driver_policy policy = {.decline_platform_dma = rig->kind->physical};

	CHECK_RESULT(viodma_platform_parse(rig->kind->text, &rig->platform, NULL, NULL), VIODMA_OK);
	CHECK_RESULT(viodma_platform_check(&rig->platform, NULL), VIODMA_OK);
	CHECK_RESULT(viodma_driver_negotiate(&rig->driver, viodma_front_transport(rig->front), &rig->platform, &policy,
					     viodma_driver_blk_wanted()),
		     VIODMA_OK);
	CHECK_EQUAL(rig->driver.decision.addressing,
		    rig->kind->physical ? VIODMA_ADDRESSING_PHYSICAL : VIODMA_ADDRESSING_PLATFORM);
	return true;
}

static bool grant_windows(struct rig *rig)
{
	const struct viodma_window identity[2] = {{{PRIVATE_PHYS}, {PRIVATE_PHYS}, PRIVATE_BYTES},
						  {{POOL_PHYS}, {POOL_PHYS}, POOL_BYTES}};
	const struct viodma_window *windows = rig->platform.window_count ? rig->platform.windows : identity;

	for (unsigned i = 0; i < rig->kind->windows; i++)
		CHECK_RESULT(viodma_front_grant(rig->front, windows[i].bus, windows[i].phys, windows[i].len_bytes,
						VIODMA_READ_WRITE, true),
			     VIODMA_OK);
	return true;
}

static bool make_domain(struct rig *rig)
{
	const struct viodma_iommu_config iommu = {
		.ops = viodma_front_iommu_ops(),
		.context = rig->front,
		.mode = rig->kind->mode,
		.storage = rig->iova = malloc(VIODMA_IOMMU_STORAGE_BYTES(GRANULES)),
		.storage_bytes = VIODMA_IOMMU_STORAGE_BYTES(GRANULES),
		.granules = GRANULES,
		.waiting = rig->waiting,
		.deferred_max = 16,
		.deferred_ns = 1000000,
		.now_ns = viodma_front_now_ns,
	};
	const struct viodma_domain_config config = {
		.platform = &rig->platform,
		.addressing = rig->driver.decision.addressing,
		.memory = &rig->memory,
		.pool = &rig->pool,
		.iommu = rig->platform.kind == VIODMA_PLATFORM_IOMMU ? &iommu : NULL,
	};

	CHECK_RESULT(viodma_domain_init(&rig->domain, &config), VIODMA_OK);
	return true;
}

static bool make_driver(struct rig *rig)
{
	const size_t queue_bytes = VIODMA_DRIVER_QUEUE_STORAGE_BYTES(RING_SIZE);
	const size_t blk_bytes = VIODMA_DRIVER_BLK_STORAGE_BYTES(PARTS, SEGMENTS);
	struct viodma_driver_queue_config queue = {
		.domain = &rig->domain,
		.storage = rig->queue_storage = malloc(queue_bytes),
		.storage_bytes = queue_bytes,
		.size = RING_SIZE,
		.tables = PARTS,
		.table_descriptors = SEGMENTS + 2,
	};
	const struct viodma_driver_blk_config blk = {
		.driver = &rig->driver,
		.domain = &rig->domain,
		.queues = {&rig->queue},
		.queue_count = 1,
		.parts = PARTS,
		.segments_max = SEGMENTS,
		.storage = rig->blk_storage = malloc(blk_bytes),
		.storage_bytes = blk_bytes,
	};

	viodma_driver_queue_features(&queue, &rig->driver);
	CHECK_RESULT(viodma_driver_queue_init(&rig->queue, &queue), VIODMA_OK);
	CHECK_RESULT(viodma_driver_queue_enable(&rig->queue, &rig->driver.transport), VIODMA_OK);
	CHECK_RESULT(viodma_driver_blk_init(&rig->blk, &blk), VIODMA_OK);
	CHECK_RESULT(viodma_driver_ready(&rig->driver), VIODMA_OK);
	return true;
}

static bool begin(struct rig *rig)
{
	return negotiate(rig) && make_pool(rig) && share(rig) && grant_windows(rig) && make_domain(rig) && make_driver(rig);
}

static bool finish(struct rig *rig)
{
	CHECK_RESULT(viodma_driver_reset(&rig->driver), VIODMA_OK);
	viodma_driver_blk_stop(&rig->blk, VIODMA_E_RESET);
	CHECK_RESULT(viodma_driver_blk_free(&rig->blk), VIODMA_OK);
	CHECK_RESULT(viodma_driver_queue_free(&rig->queue), VIODMA_OK);
	CHECK_RESULT(viodma_domain_free(&rig->domain), VIODMA_OK);
	CHECK_RESULT(viodma_front_withdraw_all(rig->front), VIODMA_OK);
	CHECK_RESULT(viodma_pool_free(&rig->pool), VIODMA_OK);
	free(rig->slots);
	free(rig->iova);
	free(rig->queue_storage);
	free(rig->blk_storage);
	return true;
}

static bool disconnect(struct rig *rig)
{
	viodma_front_free(rig->front);
	if (rig->kind->bounces)
		munmap(rig->data, PRIVATE_BYTES);
	viodma_front_memory_free(&rig->private);
	viodma_front_memory_free(&rig->pool_memory);
	CHECK(back_end_end(&rig->back));
	CHECK_EQUAL(front_peer_descriptors(), rig->descriptors);
	return true;
}

/* ---- data ---- */

static bool wait_for(struct rig *rig, unsigned wanted)
{
	const uint64_t deadline_ns = viodma_loop_now_ns() + UINT64_C(20000000000);

	while (rig->done < wanted) {
		enum viodma_result result = viodma_driver_blk_poll(&rig->blk, viodma_loop_now_ns());

		CHECK(result == VIODMA_OK || result == VIODMA_EMPTY);
		if (result == VIODMA_EMPTY && rig->done < wanted)
			CHECK_RESULT(viodma_front_wait(rig->front, deadline_ns), VIODMA_OK);
	}
	CHECK_EQUAL(rig->failed, 0);
	return true;
}

#define BATCH 12u
#define PLACE_BYTES (PRIVATE_BYTES / BATCH / 4096u * 4096u)

/* A batch of requests in flight at once: each its own stretch of memory, and of the disk. */
static bool batch(struct rig *rig, enum viodma_driver_blk_operation operation, const uint32_t *offset,
		  const uint32_t *len_bytes)
{
	struct viodma_driver_blk_request requests[BATCH];
	struct viodma_buffer buffers[BATCH];

	rig->done = rig->failed = 0;
	for (unsigned i = 0; i < BATCH; i++) {
		buffers[i] = (struct viodma_buffer){{PRIVATE_PHYS + offset[i]}, len_bytes[i]};
		requests[i] = (struct viodma_driver_blk_request){
			.operation = operation,
			.sector = i * (IMAGE_BYTES / BATCH / 512),
			.buffers = &buffers[i],
			.buffer_count = 1,
			.deadline_ns = UINT64_MAX,
			.done = done,
			.context = rig,
		};
		CHECK_RESULT(viodma_driver_blk_submit(&rig->blk, &requests[i]), VIODMA_OK);
	}
	return wait_for(rig, BATCH);
}

static bool data_moves(struct rig *rig, uint64_t seed)
{
	static unsigned char written[PRIVATE_BYTES], image[PRIVATE_BYTES];
	struct check_random random = {seed};
	uint32_t offset[BATCH], len_bytes[BATCH];

	for (unsigned i = 0; i < PRIVATE_BYTES; i++)
		rig->data[i] = (unsigned char)check_random(&random);
	for (unsigned i = 0; i < BATCH; i++) {
		len_bytes[i] = 512 * (1 + (uint32_t)check_below(&random, PLACE_BYTES / 512 - 2));
		offset[i] = i * PLACE_BYTES + (uint32_t)check_below(&random, PLACE_BYTES - len_bytes[i]);
	}
	memcpy(written, rig->data, PRIVATE_BYTES);
	CHECK(batch(rig, VIODMA_DRIVER_BLK_WRITE, offset, len_bytes));
	for (unsigned i = 0; i < BATCH; i++) {
		const off_t at = (off_t)i * (IMAGE_BYTES / BATCH / 512) * 512;

		CHECK(pread(rig->back.image_fd, image, len_bytes[i], at) == (ssize_t)len_bytes[i]);
		CHECK(!memcmp(image, written + offset[i], len_bytes[i]));
	}
	memset(rig->data, CANARY, PRIVATE_BYTES);
	CHECK(batch(rig, VIODMA_DRIVER_BLK_READ, offset, len_bytes));
	for (unsigned i = 0; i < BATCH; i++) {
		CHECK(!memcmp(rig->data + offset[i], written + offset[i], len_bytes[i]));
		memset(rig->data + offset[i], CANARY, len_bytes[i]);
	}
	for (unsigned i = 0; i < PRIVATE_BYTES; i++) /* nothing beside it was touched */
		CHECK_EQUAL(rig->data[i], CANARY);
	return true;
}

static bool data_moves_on_every_kind_of_platform(void)
{
	for (unsigned i = 0; i < KINDS; i++) {
		struct viodma_front_statistics statistics;
		struct rig rig = {.kind = &kinds[i]};

		CHECK(connect_front(&rig));
		CHECK(begin(&rig));
		for (unsigned round = 1; round < 6; round++)
			CHECK(data_moves(&rig, 4711 * round + i));
		CHECK_RESULT(viodma_domain_settle(&rig.domain, true), VIODMA_OK);
		viodma_front_statistics(rig.front, &statistics);
		CHECK_EQUAL(statistics.refused, 0);
		CHECK_EQUAL(statistics.shared_bytes, POOL_BYTES + (rig.kind->bounces ? 0 : PRIVATE_BYTES));
		if (rig.platform.kind == VIODMA_PLATFORM_IOMMU) {
			CHECK(statistics.granted > 50 && statistics.invalidations > 10);
			CHECK(statistics.granted_bytes < PRIVATE_BYTES / 2); /* nothing is in flight */
		} else {
			CHECK_EQUAL(statistics.misses, 0);
			CHECK_EQUAL(statistics.granted_bytes,
				    rig.kind->physical ? 0 : rig.kind->windows * (uint64_t)POOL_BYTES);
		}
		CHECK(finish(&rig));
		CHECK(disconnect(&rig));
	}
	return true;
}
HOLDS(data_moves_on_every_kind_of_platform)

static bool no_private_byte_is_shared_where_the_platform_is_restricted(void)
{
	for (unsigned i = 0; i < KINDS; i++) {
		struct rig rig = {.kind = &kinds[i]};
		const unsigned char *pool;
		unsigned run = 0, longest = 0;

		if (!kinds[i].bounces)
			continue;
		CHECK(connect_front(&rig));
		CHECK(begin(&rig));
		CHECK(data_moves(&rig, 99)); /* leaves the canary everywhere, and has sent none of it */
		pool = rig.pool_memory.object.memory;
		for (unsigned at = 0; at < POOL_BYTES; at++) {
			run = pool[at] == CANARY ? run + 1 : 0;
			longest = run > longest ? run : longest;
		}
		CHECK(longest < 16);
		CHECK(finish(&rig));
		CHECK(disconnect(&rig));
	}
	return true;
}
HOLDS(no_private_byte_is_shared_where_the_platform_is_restricted)

static bool a_platform_becomes_another_one_on_the_same_connection(void)
{
	/* direct, then every other; private memory is a memfd, so that it can be handed over, and taken back. */
	struct rig rig = {.kind = &kinds[0]};

	CHECK(connect_front(&rig));
	for (unsigned i = 0; i < 2 * KINDS; i++) {
		struct kind now = kinds[i * 3 % KINDS];

		rig.kind = &now;
		CHECK(begin(&rig));
		CHECK(data_moves(&rig, 17 + i));
		CHECK(finish(&rig));
		if (!now.bounces)
			CHECK_RESULT(viodma_front_unshare(rig.front, (viodma_phys){PRIVATE_PHYS}), VIODMA_OK);
		CHECK_RESULT(viodma_front_unshare(rig.front, (viodma_phys){POOL_PHYS}), VIODMA_OK);
	}
	rig.kind = &kinds[0];
	return disconnect(&rig);
}
HOLDS(a_platform_becomes_another_one_on_the_same_connection)

static bool a_reset_gives_back_what_is_in_flight(void)
{
	for (unsigned i = 0; i < KINDS; i++) {
		struct viodma_driver_blk_request request;
		struct viodma_buffer buffer = {{PRIVATE_PHYS + 100}, PRIVATE_BYTES / 2};
		struct rig rig = {.kind = &kinds[i]};
		struct viodma_front_statistics statistics;
		enum viodma_result result;

		CHECK(connect_front(&rig));
		CHECK(begin(&rig));
		for (unsigned round = 0; round < 5; round++) {
			request = (struct viodma_driver_blk_request){
				.operation = VIODMA_DRIVER_BLK_READ, .buffers = &buffer, .buffer_count = 1,
				.deadline_ns = UINT64_MAX, .done = done, .context = &rig};
			rig.done = 0;
			CHECK_RESULT(viodma_driver_blk_submit(&rig.blk, &request), VIODMA_OK);
			result = viodma_driver_blk_poll(&rig.blk, 0);
			CHECK(result == VIODMA_OK || result == VIODMA_EMPTY);
			CHECK(finish(&rig));
			CHECK_EQUAL(rig.done, 1);
			CHECK_RESULT(viodma_front_unshare(rig.front, (viodma_phys){POOL_PHYS}), VIODMA_OK);
			if (!rig.kind->bounces)
				CHECK_RESULT(viodma_front_unshare(rig.front, (viodma_phys){PRIVATE_PHYS}), VIODMA_OK);
			CHECK(begin(&rig));
		}
		CHECK(data_moves(&rig, 5));
		CHECK(finish(&rig));
		viodma_front_statistics(rig.front, &statistics);
		CHECK_EQUAL(statistics.refused, 0);
		CHECK_EQUAL(statistics.granted_bytes, 0);
		CHECK(disconnect(&rig));
	}
	return true;
}
HOLDS(a_reset_gives_back_what_is_in_flight)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(data_moves_on_every_kind_of_platform),
		TEST(no_private_byte_is_shared_where_the_platform_is_restricted),
		TEST(a_platform_becomes_another_one_on_the_same_connection),
		TEST(a_reset_gives_back_what_is_in_flight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
