/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_front.c - both ends of the library: the front end, and the back end with a disk image behind it.
 *
 * How it works: the back end runs in a thread with a loop of its own; the front end in the test's, over a socket pair.
 * Requests are put in the ring by hand (front_rig.h); what is on the disk is looked at in the image. With bit 33 set, bus
 * addresses differ from physical ones.
 */
#include "hosted/front/front.h"

#include "tests/support/check.h"
#include "tests/support/front_back_end.h"
#include "tests/support/front_peer.h"
#include "tests/support/front_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#define IMAGE_BYTES (1u << 20)
#define PRIVATE_PHYS UINT64_C(0x280000000)
#define PHYSICAL VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT)
#define MASK(name) PEER_PROTOCOL_BIT(name)

struct fixture {
	struct front_rig rig;
	struct back_end back;
	unsigned descriptors;
};

static char logged[512];

static void keep_line(void *context, const char *line)
{
	(void)context;
	snprintf(logged, sizeof(logged), "%s", line);
}

static bool begin_with(struct fixture *fixture, enum viodma_platform_dma policy, uint64_t masked)
{
	struct viodma_front_options options = {.name = "blk0", .log = keep_line, .protocol_features_masked = masked};

	memset(fixture, 0, sizeof(*fixture));
	fixture->descriptors = front_peer_descriptors();
	options.socket_fd = back_end_start(&fixture->back, IMAGE_BYTES, policy);
	CHECK(options.socket_fd >= 0);
	CHECK_RESULT(viodma_front_memory_new(RIG_BYTES, (viodma_phys){RIG_PHYS}, &fixture->rig.memory), VIODMA_OK);
	CHECK_RESULT(viodma_front_connect(&options, &fixture->rig.front), VIODMA_OK);
	fixture->rig.transport = viodma_front_transport(fixture->rig.front);
	CHECK_RESULT(viodma_front_share(fixture->rig.front, &fixture->rig.memory), VIODMA_OK);
	return true;
}

static bool begin(struct fixture *fixture)
{
	return begin_with(fixture, VIODMA_PLATFORM_DMA_OFFER, 0);
}

static bool end(struct fixture *fixture)
{
	viodma_front_free(fixture->rig.front);
	viodma_front_memory_free(&fixture->rig.memory);
	CHECK(back_end_end(&fixture->back));
	CHECK_EQUAL(front_peer_descriptors(), fixture->descriptors);
	return true;
}

static bool negotiate(struct fixture *fixture, uint64_t wanted, bool expected)
{
	bool platform = !expected;

	CHECK_RESULT(rig_negotiate(&fixture->rig, wanted, &platform), VIODMA_OK);
	CHECK_EQUAL(platform, expected);
	return true;
}

/* Write `byte` to a sector, find it in the image, read it back to another page. */
static bool data_moves(struct fixture *fixture, uint64_t sector, int byte)
{
	struct front_rig *rig = &fixture->rig;
	unsigned char page[RIG_PAGE], expected[RIG_PAGE];
	uint8_t status = 0xff;

	memset(expected, byte, sizeof(expected));
	memcpy(rig_at(rig, RIG_DATA), expected, RIG_PAGE);
	memset(rig_at(rig, RIG_DATA + RIG_PAGE), 0, RIG_PAGE);
	CHECK_RESULT(rig_request(rig, VIRTIO_BLK_T_OUT, sector, rig_bus(rig, RIG_DATA).v, RIG_PAGE, &status), VIODMA_OK);
	CHECK_EQUAL(status, VIRTIO_BLK_S_OK);
	CHECK(pread(fixture->back.image_fd, page, RIG_PAGE, (off_t)sector * 512) == RIG_PAGE);
	CHECK(!memcmp(page, expected, RIG_PAGE));
	CHECK_RESULT(rig_request(rig, VIRTIO_BLK_T_IN, sector, rig_bus(rig, RIG_DATA + RIG_PAGE).v, RIG_PAGE, &status),
		     VIODMA_OK);
	CHECK_EQUAL(status, VIRTIO_BLK_S_OK);
	CHECK(!memcmp(rig_at(rig, RIG_DATA + RIG_PAGE), expected, RIG_PAGE));
	return true;
}

static bool grant_all(struct fixture *fixture, bool now)
{
	CHECK_RESULT(viodma_front_grant(fixture->rig.front, rig_bus(&fixture->rig, 0), (viodma_phys){RIG_PHYS}, RIG_BYTES,
					VIODMA_READ_WRITE, now),
		     VIODMA_OK);
	return true;
}

static struct viodma_front_statistics counted(const struct fixture *fixture)
{
	struct viodma_front_statistics statistics;

	viodma_front_statistics(fixture->rig.front, &statistics);
	return statistics;
}

static enum viodma_result reset(struct fixture *fixture)
{
	return fixture->rig.transport->ops->set_status(fixture->rig.transport->context, 0);
}

/* ---- data ---- */

static bool data_moves_with_physical_addresses(void)
{
	struct fixture fixture;
	uint64_t capacity;

	CHECK(begin(&fixture));
	CHECK(negotiate(&fixture, PHYSICAL, false));
	CHECK_RESULT(fixture.rig.transport->ops->read_config(fixture.rig.front, 0, &capacity, sizeof(capacity)), VIODMA_OK);
	CHECK_EQUAL(capacity, IMAGE_BYTES / 512);
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	for (int i = 1; i < 20; i++)
		CHECK(data_moves(&fixture, (uint64_t)i * 8, i));
	CHECK_EQUAL(counted(&fixture).kicks, 38);
	CHECK(counted(&fixture).calls > 0);
	CHECK_EQUAL(counted(&fixture).updates, 0);
	CHECK_EQUAL(counted(&fixture).shared_bytes, RIG_BYTES);
	return end(&fixture);
}
HOLDS(data_moves_with_physical_addresses)

static bool data_moves_within_a_window_that_was_granted_in_advance(void)
{
	struct fixture fixture;

	CHECK(begin(&fixture));
	CHECK(negotiate(&fixture, RIG_WANTED, true));
	CHECK(grant_all(&fixture, true));
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	for (int i = 1; i < 20; i++)
		CHECK(data_moves(&fixture, (uint64_t)i * 8, i));
	CHECK_EQUAL(counted(&fixture).misses, 0);
	CHECK_EQUAL(counted(&fixture).granted_bytes, RIG_BYTES);
	return end(&fixture);
}
HOLDS(data_moves_within_a_window_that_was_granted_in_advance)

/* What a driver would map for the ring, headers and status. */
static bool grant_ring(struct fixture *fixture)
{
	const struct {
		uint32_t offset;
		enum viodma_permission permission;
	} parts[] = {{RIG_DESC, VIODMA_READ}, {RIG_AVAIL, VIODMA_READ}, {RIG_USED, VIODMA_READ_WRITE},
		     {RIG_HEADER, VIODMA_READ_WRITE}};

	for (unsigned i = 0; i < 4; i++)
		CHECK_RESULT(viodma_front_grant(fixture->rig.front, rig_bus(&fixture->rig, parts[i].offset),
						(viodma_phys){RIG_PHYS + parts[i].offset}, RIG_PAGE, parts[i].permission,
						false),
			     VIODMA_OK);
	return true;
}

static bool data_moves_by_misses_through_mappings_that_live_as_long_as_a_request(void)
{
	const struct viodma_iommu_ops *ops = viodma_front_iommu_ops();
	struct fixture fixture;
	struct front_rig *rig = &fixture.rig;

	CHECK(begin(&fixture));
	CHECK(negotiate(&fixture, RIG_WANTED, true));
	CHECK(grant_ring(&fixture));
	CHECK_RESULT(rig_start(rig), VIODMA_OK);
	for (int i = 1; i < 50; i++) {
		CHECK_RESULT(ops->map(rig->front, rig_bus(rig, RIG_DATA), (viodma_phys){RIG_PHYS + RIG_DATA}, RIG_PAGE,
				      VIODMA_READ),
			     VIODMA_OK);
		CHECK_RESULT(ops->map(rig->front, rig_bus(rig, RIG_DATA + RIG_PAGE),
				      (viodma_phys){RIG_PHYS + RIG_DATA + RIG_PAGE}, RIG_PAGE, VIODMA_WRITE),
			     VIODMA_OK);
		CHECK(data_moves(&fixture, (uint64_t)i * 8, i));
		CHECK_RESULT(ops->unmap(rig->front, rig_bus(rig, RIG_DATA), 2 * RIG_PAGE), VIODMA_OK);
		CHECK_RESULT(ops->invalidate(rig->front, rig_bus(rig, RIG_DATA), 2 * RIG_PAGE), VIODMA_OK);
		CHECK(counted(&fixture).granted_bytes <= 4 * RIG_PAGE);
	}
	CHECK_EQUAL(counted(&fixture).refused, 0);
	CHECK_EQUAL(counted(&fixture).invalidations, 49);
	CHECK(counted(&fixture).granted >= 98);
	CHECK_EQUAL(counted(&fixture).granted_bytes_peak, 6 * RIG_PAGE);
	return end(&fixture);
}
HOLDS(data_moves_by_misses_through_mappings_that_live_as_long_as_a_request)

static bool what_is_not_granted_is_not_reached(void)
{
	struct viodma_front_refusal refusals[VIODMA_FRONT_REFUSALS];
	struct fixture fixture;
	struct front_rig *rig = &fixture.rig;
	uint64_t total;
	uint8_t status;

	CHECK(begin(&fixture));
	CHECK(negotiate(&fixture, RIG_WANTED, true));
	CHECK(grant_ring(&fixture));
	CHECK_RESULT(rig_start(rig), VIODMA_OK);
	memset(rig_at(rig, RIG_DATA), 0x5a, RIG_PAGE);
	/* Not mapped; the physical address of what is; and mapped, but not for writing. */
	CHECK_RESULT(rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_bus(rig, RIG_DATA).v, 512, &status), VIODMA_OK);
	CHECK_EQUAL(status, VIRTIO_BLK_S_IOERR);
	CHECK_RESULT(rig_request(rig, VIRTIO_BLK_T_IN, 0, RIG_PHYS + RIG_HEADER, 512, &status), VIODMA_OK);
	CHECK_EQUAL(status, VIRTIO_BLK_S_IOERR);
	CHECK_RESULT(viodma_front_grant(rig->front, rig_bus(rig, RIG_DATA), (viodma_phys){RIG_PHYS + RIG_DATA}, RIG_PAGE,
					VIODMA_READ, false),
		     VIODMA_OK);
	CHECK_RESULT(rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_bus(rig, RIG_DATA).v, 512, &status), VIODMA_OK);
	CHECK_EQUAL(status, VIRTIO_BLK_S_IOERR);
	for (unsigned i = 0; i < RIG_PAGE; i++)
		CHECK_EQUAL(*rig_at(rig, RIG_DATA + i), 0x5a);
	CHECK_EQUAL(viodma_front_refusals(rig->front, refusals, &total), 3);
	CHECK_RESULT(refusals[0].reason, VIODMA_FAULT_UNMAPPED);
	CHECK_EQUAL(refusals[0].bus.v, rig_bus(rig, RIG_DATA).v);
	CHECK_EQUAL(refusals[1].bus.v, RIG_PHYS + RIG_HEADER);
	CHECK_RESULT(refusals[2].reason, VIODMA_FAULT_PERMISSION);
	CHECK_EQUAL(refusals[2].permission, VIODMA_WRITE);
	CHECK(strstr(logged, "refused: DEV-9"));
	/* It goes on. */
	CHECK_RESULT(viodma_front_withdraw(rig->front, rig_bus(rig, RIG_DATA), RIG_PAGE), VIODMA_OK);
	CHECK_RESULT(viodma_front_grant(rig->front, rig_bus(rig, RIG_DATA), (viodma_phys){RIG_PHYS + RIG_DATA}, 2 * RIG_PAGE,
					VIODMA_READ_WRITE, false),
		     VIODMA_OK);
	CHECK(data_moves(&fixture, 0, 7));
	return end(&fixture);
}
HOLDS(what_is_not_granted_is_not_reached)

static bool every_choice_of_protocol_features_moves_data(void)
{
	const uint64_t masks[] = {MASK(REPLY_ACK), MASK(BACKEND_REQ), MASK(CONFIGURE_MEM_SLOTS), MASK(STATUS), MASK(MQ)};

	for (unsigned set = 0; set < 64; set++) {
		const bool platform = set & 32;
		struct fixture fixture;
		uint64_t masked = 0;

		for (unsigned i = 0; i < 5; i++)
			masked |= set >> i & 1 ? masks[i] : 0;
		CHECK(begin_with(&fixture, VIODMA_PLATFORM_DMA_OFFER, masked));
		for (int round = 0; round < 2; round++) {
			CHECK(negotiate(&fixture, platform ? RIG_WANTED : PHYSICAL, platform));
			if (platform && !round)
				CHECK(grant_all(&fixture, false));
			CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
			CHECK(data_moves(&fixture, 8, round + 1));
			CHECK_RESULT(reset(&fixture), VIODMA_OK);
		}
		CHECK(end(&fixture));
	}
	return true;
}
HOLDS(every_choice_of_protocol_features_moves_data)

/* ---- life ---- */

static bool a_device_is_negotiated_with_again_on_the_same_connection(void)
{
	struct fixture fixture;

	CHECK(begin(&fixture));
	for (int round = 0; round < 6; round++) {
		const bool platform = round & 1;

		CHECK(negotiate(&fixture, platform ? RIG_WANTED : PHYSICAL, platform));
		if (platform)
			CHECK(grant_all(&fixture, round == 3));
		CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
		CHECK(data_moves(&fixture, 8, round + 1));
		CHECK_RESULT(reset(&fixture), VIODMA_OK);
		CHECK_EQUAL(counted(&fixture).granted_bytes, 0);
		CHECK_RESULT(viodma_front_withdraw_all(fixture.rig.front), VIODMA_OK);
		CHECK_EQUAL(fixture.rig.front->region_count, 1);
	}
	return end(&fixture);
}
HOLDS(a_device_is_negotiated_with_again_on_the_same_connection)

static bool a_platform_that_becomes_restricted_takes_memory_back(void)
{
	struct viodma_front_memory private;
	struct fixture fixture;
	struct front_rig *rig = &fixture.rig;
	uint8_t status;

	CHECK(begin(&fixture));
	CHECK_RESULT(viodma_front_memory_new(RIG_BYTES, (viodma_phys){PRIVATE_PHYS}, &private), VIODMA_OK);
	CHECK_RESULT(viodma_front_share(rig->front, &private), VIODMA_OK);
	CHECK_EQUAL(counted(&fixture).shared_bytes, 2 * RIG_BYTES);
	CHECK(negotiate(&fixture, PHYSICAL, false));
	CHECK_RESULT(rig_start(rig), VIODMA_OK);
	CHECK_RESULT(rig_request(rig, VIRTIO_BLK_T_IN, 0, PRIVATE_PHYS, 512, &status), VIODMA_OK);
	CHECK_EQUAL(status, VIRTIO_BLK_S_OK);
	CHECK_RESULT(reset(&fixture), VIODMA_OK);
	CHECK_RESULT(viodma_front_unshare(rig->front, (viodma_phys){PRIVATE_PHYS}), VIODMA_OK);
	CHECK(negotiate(&fixture, RIG_WANTED, true));
	CHECK(grant_all(&fixture, true));
	CHECK_RESULT(rig_start(rig), VIODMA_OK);
	CHECK(data_moves(&fixture, 8, 3));
	memset(private.object.memory, 0x77, RIG_PAGE);
	CHECK_RESULT(rig_request(rig, VIRTIO_BLK_T_IN, 0, PRIVATE_PHYS, 512, &status), VIODMA_OK);
	CHECK_EQUAL(status, VIRTIO_BLK_S_IOERR);
	CHECK_EQUAL(((unsigned char *)private.object.memory)[0], 0x77);
	CHECK_RESULT(viodma_front_grant(rig->front, (viodma_bus){PRIVATE_PHYS}, (viodma_phys){PRIVATE_PHYS}, RIG_PAGE,
					VIODMA_READ, false),
		     VIODMA_E_INVALID);
	CHECK(strstr(logged, "they are not in one object that is shared"));
	viodma_front_memory_free(&private);
	return end(&fixture);
}
HOLDS(a_platform_that_becomes_restricted_takes_memory_back)

static bool a_pool_grows_and_shrinks_while_the_device_runs(void)
{
	struct viodma_front_memory more;
	struct fixture fixture;
	struct front_rig *rig = &fixture.rig;
	uint8_t status;

	CHECK(begin(&fixture));
	CHECK(negotiate(&fixture, PHYSICAL, false));
	CHECK_RESULT(rig_start(rig), VIODMA_OK);
	for (int i = 0; i < 5; i++) {
		CHECK_RESULT(viodma_front_memory_new(RIG_PAGE, (viodma_phys){PRIVATE_PHYS}, &more), VIODMA_OK);
		CHECK_RESULT(viodma_front_share(rig->front, &more), VIODMA_OK);
		memset(more.object.memory, i + 1, RIG_PAGE);
		CHECK_RESULT(rig_request(rig, VIRTIO_BLK_T_OUT, 64, PRIVATE_PHYS, 512, &status), VIODMA_OK);
		CHECK_EQUAL(status, VIRTIO_BLK_S_OK);
		CHECK_RESULT(viodma_front_unshare(rig->front, (viodma_phys){RIG_PHYS}), VIODMA_E_BUSY); /* the ring */
		CHECK_RESULT(viodma_front_unshare(rig->front, (viodma_phys){PRIVATE_PHYS}), VIODMA_OK);
		viodma_front_memory_free(&more);
	}
	CHECK_RESULT(rig_request(rig, VIRTIO_BLK_T_OUT, 64, PRIVATE_PHYS, 512, &status), VIODMA_OK);
	CHECK_EQUAL(status, VIRTIO_BLK_S_IOERR);
	return end(&fixture);
}
HOLDS(a_pool_grows_and_shrinks_while_the_device_runs)

static bool without_slots_memory_is_handed_over_while_nothing_runs(void)
{
	struct viodma_front_memory more[VHOST_USER_MEMORY_REGIONS];
	struct fixture fixture;
	struct front_rig *rig = &fixture.rig;
	uint8_t status;

	CHECK(begin_with(&fixture, VIODMA_PLATFORM_DMA_OFFER, MASK(CONFIGURE_MEM_SLOTS)));
	for (unsigned i = 0; i < VHOST_USER_MEMORY_REGIONS; i++) {
		CHECK_RESULT(viodma_front_memory_new(RIG_PAGE, (viodma_phys){PRIVATE_PHYS - i * RIG_PAGE}, &more[i]),
			     VIODMA_OK);
		CHECK_RESULT(viodma_front_share(rig->front, &more[i]),
			     i + 1 < VHOST_USER_MEMORY_REGIONS ? VIODMA_OK : VIODMA_E_NO_SPACE);
	}
	CHECK(negotiate(&fixture, PHYSICAL, false));
	CHECK_RESULT(rig_start(rig), VIODMA_OK);
	CHECK_RESULT(rig_request(rig, VIRTIO_BLK_T_IN, 0, PRIVATE_PHYS - 3 * RIG_PAGE, 512, &status), VIODMA_OK);
	CHECK_EQUAL(status, VIRTIO_BLK_S_OK);
	CHECK_RESULT(viodma_front_share(rig->front, &more[7]), VIODMA_E_UNSUPPORTED);
	CHECK_RESULT(viodma_front_unshare(rig->front, (viodma_phys){PRIVATE_PHYS}), VIODMA_E_UNSUPPORTED);
	CHECK_RESULT(reset(&fixture), VIODMA_OK);
	CHECK_RESULT(viodma_front_unshare(rig->front, (viodma_phys){PRIVATE_PHYS - 3 * RIG_PAGE}), VIODMA_OK);
	CHECK(negotiate(&fixture, PHYSICAL, false));
	CHECK_RESULT(rig_start(rig), VIODMA_OK);
	CHECK_RESULT(rig_request(rig, VIRTIO_BLK_T_IN, 0, PRIVATE_PHYS - 3 * RIG_PAGE, 512, &status), VIODMA_OK);
	CHECK_EQUAL(status, VIRTIO_BLK_S_IOERR);
	for (unsigned i = 0; i < VHOST_USER_MEMORY_REGIONS; i++)
		viodma_front_memory_free(&more[i]);
	return end(&fixture);
}
HOLDS(without_slots_memory_is_handed_over_while_nothing_runs)

static bool a_device_that_requires_bit_33_refuses_by_name(void)
{
	const uint64_t masks[] = {0, MASK(REPLY_ACK), MASK(STATUS), MASK(REPLY_ACK) | MASK(STATUS)};

	for (unsigned i = 0; i < 4; i++) {
		struct fixture fixture;
		bool platform;

		CHECK(begin_with(&fixture, VIODMA_PLATFORM_DMA_REQUIRE, masks[i]));
		CHECK_RESULT(rig_negotiate(&fixture.rig, PHYSICAL, &platform), VIODMA_PEER_FEATURES);
		CHECK(end(&fixture));
	}
	return true;
}
HOLDS(a_device_that_requires_bit_33_refuses_by_name)

static bool a_back_end_that_ends_is_noticed(void)
{
	struct fixture fixture;
	uint8_t status;

	CHECK(begin(&fixture));
	CHECK(negotiate(&fixture, PHYSICAL, false));
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	CHECK(data_moves(&fixture, 8, 1));
	CHECK(back_end_stop(&fixture.back));
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, viodma_loop_now_ns() + RIG_PATIENCE_NS), VIODMA_PEER_GONE);
	CHECK_RESULT(rig_request(&fixture.rig, VIRTIO_BLK_T_IN, 0, rig_bus(&fixture.rig, RIG_DATA).v, 512, &status),
		     VIODMA_PEER_GONE);
	CHECK_RESULT(reset(&fixture), VIODMA_PEER_GONE);
	return end(&fixture);
}
HOLDS(a_back_end_that_ends_is_noticed)

static bool queues_are_those_the_device_has(void)
{
	const struct viodma_transport_queue nowhere = {RIG_QUEUE_SIZE, {RIG_PHYS + RIG_BYTES - 64}, {RIG_PHYS}, {RIG_PHYS}};
	const struct viodma_transport_queue large = {2048, {RIG_PHYS}, {RIG_PHYS}, {RIG_PHYS}};
	struct fixture fixture;
	const struct viodma_transport_ops *ops;
	uint32_t size;

	CHECK(begin(&fixture));
	ops = fixture.rig.transport->ops;
	CHECK_RESULT(ops->queue_size_max(fixture.rig.front, 1, &size), VIODMA_OK);
	CHECK_EQUAL(size, 1024);
	CHECK_RESULT(ops->queue_size_max(fixture.rig.front, 2, &size), VIODMA_OK);
	CHECK_EQUAL(size, 0);
	CHECK(negotiate(&fixture, PHYSICAL, false));
	CHECK_RESULT(ops->queue_enable(fixture.rig.front, 0, &nowhere), VIODMA_OK);
	CHECK_RESULT(ops->queue_enable(fixture.rig.front, 0, &nowhere), VIODMA_E_BUSY);
	CHECK_RESULT(ops->set_features(fixture.rig.front, PHYSICAL), VIODMA_E_BUSY);
	CHECK_RESULT(reset(&fixture), VIODMA_OK);
	CHECK_RESULT(ops->queue_enable(fixture.rig.front, 2, &nowhere), VIODMA_E_INVALID);
	CHECK_RESULT(ops->queue_enable(fixture.rig.front, 0, &large), VIODMA_E_INVALID);
	fixture.rig.transport->ops->notify(fixture.rig.front, 0); /* nothing to notify of */
	fixture.rig.transport->ops->notify(fixture.rig.front, 77);
	CHECK_EQUAL(counted(&fixture).kicks, 0);
	CHECK(negotiate(&fixture, PHYSICAL, false));
	CHECK_RESULT(ops->queue_enable(fixture.rig.front, 0, &(struct viodma_transport_queue){
								     RIG_QUEUE_SIZE, {RIG_PHYS + RIG_BYTES - 32}, {RIG_PHYS},
								     {RIG_PHYS}}),
		     VIODMA_E_INVALID);
	return end(&fixture);
}
HOLDS(queues_are_those_the_device_has)

static bool a_reconnection_that_cannot_be_is_said(void)
{
	struct viodma_front_options options = {.name = "blk0", .log = keep_line, .reconnect_ms = 1000};
	struct fixture fixture;

	memset(&fixture, 0, sizeof(fixture));
	fixture.descriptors = front_peer_descriptors();
	options.socket_fd = back_end_start(&fixture.back, IMAGE_BYTES, VIODMA_PLATFORM_DMA_OFFER);
	CHECK_RESULT(viodma_front_connect(&options, &fixture.rig.front), VIODMA_OK);
	CHECK(strstr(logged, "reconnect_ms has no effect"));
	return end(&fixture);
}
HOLDS(a_reconnection_that_cannot_be_is_said)

/* ---- memory ---- */

static bool memory_cannot_shrink_under_a_device(void)
{
	struct viodma_front_memory memory;

	CHECK_RESULT(viodma_front_memory_new(0, (viodma_phys){0}, &memory), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_front_memory_new(100, (viodma_phys){0}, &memory), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_front_memory_new(UINT64_MAX - 4095, (viodma_phys){0}, &memory), VIODMA_E_INVALID);
	CHECK_RESULT(viodma_front_memory_new(8192, (viodma_phys){4096}, &memory), VIODMA_OK);
	CHECK_EQUAL(((unsigned char *)memory.object.memory)[8191], 0);
	CHECK(ftruncate(memory.fd, 4096) < 0 && errno == EPERM);
	CHECK(ftruncate(memory.fd, 16384) < 0 && errno == EPERM);
	CHECK(fcntl(memory.fd, F_GETFD) & FD_CLOEXEC);
	viodma_front_memory_free(&memory);
	viodma_front_memory_free(&memory);
	return true;
}
HOLDS(memory_cannot_shrink_under_a_device)

static bool shared_memory_is_whole_pages_and_overlaps_no_other(void)
{
	struct viodma_front_memory memory;
	struct fixture fixture;
	struct viodma_front *front;

	CHECK(begin(&fixture));
	front = fixture.rig.front;
	CHECK_RESULT(viodma_front_share(front, &fixture.rig.memory), VIODMA_E_INVALID);
	CHECK(strstr(logged, "not shared: 0x10000 bytes at physical 0x140000000: it overlaps what is shared"));
	memory = fixture.rig.memory;
	memory.object.phys.v = RIG_PHYS + RIG_BYTES - RIG_PAGE;
	CHECK_RESULT(viodma_front_share(front, &memory), VIODMA_E_INVALID);
	memory.object.phys.v = RIG_PHYS - RIG_BYTES + RIG_PAGE;
	CHECK_RESULT(viodma_front_share(front, &memory), VIODMA_E_INVALID);
	memory.object.phys.v = RIG_PHYS - RIG_BYTES + 512;
	CHECK_RESULT(viodma_front_share(front, &memory), VIODMA_E_INVALID);
	CHECK(strstr(logged, "it is not whole pages of 4096 bytes"));
	memory.object.phys.v = UINT64_MAX - 4095;
	CHECK_RESULT(viodma_front_share(front, &memory), VIODMA_E_INVALID);
	CHECK(strstr(logged, "it wraps"));
	memory.object.phys.v = RIG_PHYS + RIG_BYTES;
	memory.fd_offset = 512;
	CHECK_RESULT(viodma_front_share(front, &memory), VIODMA_E_INVALID);
	memory.fd_offset = 0;
	memory.object.len_bytes = 0;
	CHECK_RESULT(viodma_front_share(front, &memory), VIODMA_E_INVALID);
	memory.object.len_bytes = RIG_PAGE;
	memory.fd = -1;
	CHECK_RESULT(viodma_front_share(front, &memory), VIODMA_E_IO);
	memory.fd = fixture.rig.memory.fd;
	memory.fd_offset = RIG_PAGE;
	CHECK_RESULT(viodma_front_share(front, &memory), VIODMA_OK);
	CHECK_EQUAL(counted(&fixture).shared_bytes, RIG_BYTES + RIG_PAGE);
	/* Neither of the addresses it is known by is the other, or our pointer. */
	for (uint32_t i = 0; i < front->region_count; i++) {
		const struct viodma_front_region *region = front->regions[i];

		CHECK(region->user != region->object.phys.v && region->user != (uintptr_t)region->object.memory);
	}
	return end(&fixture);
}
BEHAVIOUR(shared_memory_is_whole_pages_and_overlaps_no_other, "PLT-10")

static bool a_caller_can_wait_for_everything_at_one_descriptor(void)
{
	struct fixture fixture;
	struct pollfd ready = {.events = POLLIN};

	CHECK(begin(&fixture));
	ready.fd = viodma_front_fd(fixture.rig.front);
	CHECK(negotiate(&fixture, RIG_WANTED, true));
	CHECK(grant_ring(&fixture));
	CHECK_RESULT(rig_start(&fixture.rig), VIODMA_OK);
	CHECK(poll(&ready, 1, 5000) == 1); /* it asks for the ring */
	while (poll(&ready, 1, 100) == 1)
		CHECK_RESULT(viodma_front_wait(fixture.rig.front, 0), VIODMA_E_TIMEOUT);
	CHECK_EQUAL(counted(&fixture).calls, 0);
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, 0), VIODMA_E_TIMEOUT);
	CHECK(back_end_stop(&fixture.back));
	CHECK(poll(&ready, 1, 5000) == 1);
	CHECK_RESULT(viodma_front_wait(fixture.rig.front, 0), VIODMA_PEER_GONE);
	CHECK(poll(&ready, 1, 0) == 1); /* it stays so */
	return end(&fixture);
}
HOLDS(a_caller_can_wait_for_everything_at_one_descriptor)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(data_moves_with_physical_addresses),
		TEST(data_moves_within_a_window_that_was_granted_in_advance),
		TEST(data_moves_by_misses_through_mappings_that_live_as_long_as_a_request),
		TEST(what_is_not_granted_is_not_reached),
		TEST(every_choice_of_protocol_features_moves_data),
		TEST(a_device_is_negotiated_with_again_on_the_same_connection),
		TEST(a_platform_that_becomes_restricted_takes_memory_back),
		TEST(a_pool_grows_and_shrinks_while_the_device_runs),
		TEST(without_slots_memory_is_handed_over_while_nothing_runs),
		TEST(a_device_that_requires_bit_33_refuses_by_name),
		TEST(a_back_end_that_ends_is_noticed),
		TEST(queues_are_those_the_device_has),
		TEST(a_reconnection_that_cannot_be_is_said),
		TEST(memory_cannot_shrink_under_a_device),
		WITH_MUTANT(shared_memory_is_whole_pages_and_overlaps_no_other),
		TEST(a_caller_can_wait_for_everything_at_one_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
