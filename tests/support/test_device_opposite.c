/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_device_opposite.c - how it works: the device of test_device.h: its transport; the sound one, which is
 * viodma_queue and viodma_blk over a space whose translator looks grants up. (test_device_hand.c: the ring's words by hand.)
 */
#include "tests/support/test_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "test device: %s\n", what);
	abort();
}

/* ---- the transport ---- */

static bool fails(struct test_device *device)
{
	return ++device->calls == device->fail_at || device->failure == VIODMA_PEER_GONE;
}

static enum viodma_result failed(struct test_device *device)
{
	return device->failure != VIODMA_OK ? device->failure : VIODMA_E_IO;
}

static enum viodma_result get_features(void *context, uint64_t *offered)
{
	struct test_device *device = context;

	if (fails(device))
		return failed(device);
	*offered = device->offered;
	return VIODMA_OK;
}

static enum viodma_result set_features(void *context, uint64_t accepted)
{
	struct test_device *device = context;

	if (fails(device))
		return failed(device);
	device->accepted = accepted;
	return VIODMA_OK;
}

static enum viodma_result get_status(void *context, uint8_t *status)
{
	struct test_device *device = context;

	if (fails(device))
		return failed(device);
	*status = device->status;
	if (!device->status && device->reset_reads) {
		*status = VIODMA_STATUS_ACKNOWLEDGE;
		if (device->reset_reads != ~0u)
			device->reset_reads--;
	}
	return VIODMA_OK;
}

static void stop_queue(struct test_device *device, struct test_device_queue *queue)
{
	uint32_t base;

	if (!queue->enabled)
		return;
	queue->enabled = false;
	if (!queue->served)
		return;
	device->pending_count = 0;
	if (queue->queue.submitted)
		test_device_finish(device);
	must(viodma_queue_stop(&queue->queue, &base) == VIODMA_OK, "a queue does not stop");
	viodma_queue_reset(&queue->queue);
}

static enum viodma_result set_status(void *context, uint8_t status)
{
	struct test_device *device = context;
	unsigned i;

	if (fails(device))
		return failed(device);
	if (!status) {
		test_device_finish(device);
		for (i = 0; i < TEST_DEVICE_QUEUES; i++)
			stop_queue(device, &device->queues[i]);
	}
	if (device->clear_features_ok)
		status &= (uint8_t)~VIODMA_STATUS_FEATURES_OK;
	device->status = status;
	return VIODMA_OK;
}

static enum viodma_result read_config(void *context, uint32_t offset, void *destination, uint32_t len)
{
	struct test_device *device = context;

	if (fails(device))
		return failed(device);
	must(offset <= sizeof(device->config) && len <= sizeof(device->config) - offset,
	     "configuration read beyond its end");
	memcpy(destination, device->config + offset, len);
	return VIODMA_OK;
}

static enum viodma_result write_config(void *context, uint32_t offset, const void *source, uint32_t len)
{
	struct test_device *device = context;
	unsigned i;

	if (fails(device))
		return failed(device);
	for (i = 0; i < device->options.queues; i++)
		if (viodma_blk_write_config(&device->queues[i].blk, offset, source, len) != VIODMA_OK)
			return VIODMA_E_IO;
	if (!device->mode_stuck)
		memcpy(device->config + offset, source, len);
	return VIODMA_OK;
}

static enum viodma_result config_generation(void *context, uint32_t *generation)
{
	struct test_device *device = context;

	if (fails(device))
		return failed(device);
	if (device->changing_config)
		device->generation++;
	*generation = device->generation;
	return VIODMA_OK;
}

static enum viodma_result queue_size_max(void *context, unsigned index, uint32_t *size)
{
	struct test_device *device = context;

	if (fails(device))
		return failed(device);
	*size = index < TEST_DEVICE_QUEUES ? device->queues[index].size_max : 0;
	return VIODMA_OK;
}

static enum viodma_result queue_enable(void *context, unsigned index, const struct viodma_transport_queue *where)
{
	struct test_device *device = context;
	struct test_device_queue *queue = &device->queues[index];
	struct viodma_queue_setup setup = {
		.size = where->size, .desc = where->desc, .avail = where->avail, .used = where->used};

	if (fails(device))
		return failed(device);
	setup.indirect_desc = device->accepted & VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT);
	setup.event_idx = device->accepted & VIODMA_FEATURE(VIRTIO_F_EVENT_IDX_BIT);
	setup.packed = device->accepted & VIODMA_FEATURE(VIRTIO_F_RING_PACKED_BIT);
	setup.base = setup.packed ? VIODMA_QUEUE_PACKED_BASE : 0;
	setup.in_order = device->accepted & VIODMA_FEATURE(VIRTIO_F_IN_ORDER_BIT);
	queue->where = *where;
	test_device_hand_begin(queue, &setup);
	queue->served = where->size <= 1024 && viodma_queue_start(&queue->queue, &setup, NULL) == VIODMA_OK;
	queue->enabled = true;
	return VIODMA_OK;
}

static enum viodma_result set_addressing(void *context, bool platform)
{
	struct test_device *device = context;

	if (fails(device))
		return failed(device);
	device->platform_addresses = platform;
	return VIODMA_OK;
}

static void notify(void *context, unsigned index)
{
	struct test_device *device = context;

	device->queues[index].notified++;
	if (device->on_kick)
		device->on_kick(&device->queues[index]);
}

static void notify_data(void *context, uint32_t data)
{
	struct test_device *device = context;

	device->queues[VIRTQ_NOTIFICATION_QUEUE(data)].notified_data = data;
	notify(context, VIRTQ_NOTIFICATION_QUEUE(data));
}

static enum viodma_result queue_reset(void *context, unsigned index)
{
	struct test_device *device = context;

	if (fails(device))
		return failed(device);
	if (device->queue_reset_waits) {
		device->queue_reset_waits--;
		return VIODMA_WAIT;
	}
	stop_queue(device, &device->queues[index]);
	return VIODMA_OK;
}

const struct viodma_transport_ops test_device_transport_ops = {
	.get_features = get_features,
	.set_features = set_features,
	.get_status = get_status,
	.set_status = set_status,
	.read_config = read_config,
	.write_config = write_config,
	.config_generation = config_generation,
	.queue_size_max = queue_size_max,
	.queue_enable = queue_enable,
	.set_addressing = set_addressing,
	.notify = notify,
	.notify_data = notify_data,
	.queue_reset = queue_reset,
};

/* ---- the sound device ---- */

static void move(struct test_device *device, struct viodma_blk_io *io)
{
	struct viodma_piece pieces[1024];
	unsigned char *disk = device->disk + io->offset_bytes;
	uint32_t count = 0, i;

	must(io->offset_bytes + io->len_bytes <= TEST_DISK_BYTES, "beyond the disk");
	if (io->operation > VIODMA_BLK_FLUSH) {
		memset(disk,
		       io->operation == VIODMA_BLK_WRITE_ZEROES ? 0 :
		       io->operation == VIODMA_BLK_DISCARD	? TEST_DISCARDED :
								  TEST_ERASED,
		       io->len_bytes);
		return;
	}
	must(viodma_blk_io_pieces(io, 0, (uint32_t)io->len_bytes, pieces, 1024, &count) == VIODMA_OK, "viodma_blk_io_pieces");
	for (i = 0; i < count; i++) {
		if (io->operation == VIODMA_BLK_READ)
			memcpy((void *)pieces[i].memory, disk, pieces[i].len_bytes);
		else
			memcpy(disk, (const void *)pieces[i].memory, pieces[i].len_bytes);
		disk += pieces[i].len_bytes;
	}
}

static void complete(struct test_device *device, struct viodma_blk_io *io)
{
	struct test_device_queue *queue = io->user;

	if (!device->broken_disk && io->operation != VIODMA_BLK_FLUSH)
		move(device, io);
	viodma_blk_complete(&queue->blk, io, !device->broken_disk);
}

void test_device_submit(void *context, struct viodma_blk_io *io)
{
	struct test_device_queue *queue = context;

	if (io->operation > VIODMA_BLK_FLUSH) {
		queue->device->ranges++;
		queue->device->unmapped += io->unmap;
		if (io->len_bytes / 512 > queue->device->longest_range)
			queue->device->longest_range = (unsigned)(io->len_bytes / 512);
	}
	io->user = queue;
	if (!queue->device->hold) {
		complete(queue->device, io);
		return;
	}
	must(queue->device->pending_count < 256, "more operations than a test needs");
	queue->device->pending[queue->device->pending_count++] = io;
}

bool test_device_lifetime(void *context, struct viodma_blk_lifetime *lifetime)
{
	(void)context;
	*lifetime = (struct viodma_blk_lifetime)TEST_LIFETIME;
	return true;
}

void test_device_finish(struct test_device *device)
{
	unsigned i, count = device->pending_count;

	device->pending_count = 0;
	for (i = 0; i < count; i++)
		complete(device, device->pending[device->backward ? count - 1 - i : i]);
}

unsigned test_device_serve(struct test_device *device)
{
	uint64_t before = 0, after = 0;
	unsigned i;

	for (i = 0; i < TEST_DEVICE_QUEUES; i++) {
		struct test_device_queue *queue = &device->queues[i];

		if (!queue->enabled || !queue->served)
			continue;
		before += queue->queue.statistics.fetched;
		while (viodma_blk_process(&queue->blk, &queue->queue) == VIODMA_OK)
			;
		after += queue->queue.statistics.fetched;
	}
	device->served += (unsigned)(after - before);
	return (unsigned)(after - before);
}
