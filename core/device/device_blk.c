/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_blk.c - how it works: virtio-blk, device half (virtio 1.2, section 5.2).
 *
 * A request is a 16-byte header, data, and one status byte at the end of the writable part; where descriptors begin and
 * end does not matter (section 2.7.4). The header is copied once, then parsed. What the disk has to do goes to ops as a
 * viodma_blk_io, in the slot of the request's head; everything else is answered here. What breaks a rule of the device
 * type is answered with IOERR (DRV-18); only a request without room for a status cannot be, and stops the queue.
 *
 * The used length of every answer is the whole writable part: the status is its last byte (= DEV-16).
 */
#include <viodma/device_blk.h>
#include <viodma/feature.h>
#include <viodma/port.h>
#include <viodma/wire/blk.h>

#include "../base/require.h"

#define HEADER_BYTES ((uint32_t)sizeof(struct virtio_blk_request_header))

enum viodma_result viodma_blk_init(struct viodma_blk *blk, const struct viodma_blk_config *config,
				   const struct viodma_blk_ops *ops, struct viodma_blk_io *ios, uint32_t io_count)
{
	if (config->capacity_bytes % VIRTIO_BLK_SECTOR_BYTES || config->blk_size < 512 || config->blk_size > 65536 ||
	    (config->blk_size & (config->blk_size - 1)) || !config->seg_max || config->size_max < 4096 ||
	    !ops->submit || !ios || !io_count)
		return VIODMA_E_INVALID;
	memset(blk, 0, sizeof(*blk));
	blk->config = *config;
	blk->ops = *ops;
	blk->ios = ios;
	blk->io_count = io_count;
	return VIODMA_OK;
}

uint64_t viodma_blk_features(const struct viodma_blk *blk)
{
	uint64_t features = VIODMA_FEATURE(VIRTIO_BLK_F_SIZE_MAX_BIT) | VIODMA_FEATURE(VIRTIO_BLK_F_SEG_MAX_BIT) |
			    VIODMA_FEATURE(VIRTIO_BLK_F_BLK_SIZE_BIT) | VIODMA_FEATURE(VIRTIO_BLK_F_FLUSH_BIT);

	if (blk->config.read_only)
		features |= VIODMA_FEATURE(VIRTIO_BLK_F_RO_BIT);
	return features;
}

const char *viodma_blk_feature_name(unsigned bit)
{
#define NAME(name)                                                                                                    \
	case name##_BIT:                                                                                              \
		return #name;
	switch (bit) {
		NAME(VIRTIO_BLK_F_SIZE_MAX)
		NAME(VIRTIO_BLK_F_SEG_MAX)
		NAME(VIRTIO_BLK_F_GEOMETRY)
		NAME(VIRTIO_BLK_F_RO)
		NAME(VIRTIO_BLK_F_BLK_SIZE)
		NAME(VIRTIO_BLK_F_FLUSH)
		NAME(VIRTIO_BLK_F_TOPOLOGY)
		NAME(VIRTIO_BLK_F_CONFIG_WCE)
		NAME(VIRTIO_BLK_F_MQ)
		NAME(VIRTIO_BLK_F_DISCARD)
		NAME(VIRTIO_BLK_F_WRITE_ZEROES)
		NAME(VIRTIO_BLK_F_LIFETIME)
		NAME(VIRTIO_BLK_F_SECURE_ERASE)
		NAME(VIRTIO_BLK_F_ZONED)
	default:
		return NULL;
	}
#undef NAME
}

void viodma_blk_set_accepted(struct viodma_blk *blk, uint64_t accepted)
{
	blk->accepted = accepted;
}

void viodma_blk_read_config(const struct viodma_blk *blk, uint32_t offset, void *destination, uint32_t len_bytes)
{
	struct virtio_blk_config_layout layout;
	uint32_t here = 0;

	_Static_assert(sizeof(layout) == VIODMA_BLK_CONFIG_BYTES, "virtio 1.2, section 5.2.4");
	memset(&layout, 0, sizeof(layout));
	layout.capacity = viodma_le64_of(blk->config.capacity_bytes / VIRTIO_BLK_SECTOR_BYTES);
	layout.size_max = viodma_le32_of(blk->config.size_max);
	layout.seg_max = viodma_le32_of(blk->config.seg_max);
	layout.blk_size = viodma_le32_of(blk->config.blk_size);
	layout.num_queues = viodma_le16_of(1);
	if (offset < sizeof(layout)) {
		here = (uint32_t)sizeof(layout) - offset < len_bytes ? (uint32_t)sizeof(layout) - offset : len_bytes;
		memcpy(destination, (const unsigned char *)&layout + offset, here);
	}
	memset((unsigned char *)destination + here, 0, len_bytes - here);
}

static void refused(struct viodma_blk *blk, const struct viodma_request *request, enum viodma_result reason,
		    const char *what)
{
	if (blk->ops.refused)
		blk->ops.refused(blk->ops.context, request->head, reason, what);
}

/* The request cannot be served, or not even be read: the driver gets IOERR if there is a way to tell it. */
static void fail(struct viodma_blk *blk, struct viodma_request *request, enum viodma_result reason, const char *what)
{
	const uint8_t status = VIRTIO_BLK_S_IOERR;

	refused(blk, request, reason, what);
	if (viodma_queue_reject(request->queue, request, &status, 1) != VIODMA_MISS)
		blk->statistics.failed++;
}

static void answer(struct viodma_request *request, uint8_t status)
{
	if (viodma_request_write(request, request->writable_bytes - 1, &status, 1) == VIODMA_OK)
		viodma_queue_push(request->queue, request, request->writable_bytes);
}

static void submit(struct viodma_blk *blk, struct viodma_request *request, enum viodma_blk_operation operation,
		   uint64_t offset_bytes, uint32_t len_bytes)
{
	struct viodma_blk_io *io = &blk->ios[request->head];

	io->operation = operation;
	io->durable = operation == VIODMA_BLK_WRITE && !(blk->accepted & VIODMA_FEATURE(VIRTIO_BLK_F_FLUSH_BIT));
	io->offset_bytes = offset_bytes;
	io->len_bytes = len_bytes;
	io->request = request;
	io->user = NULL;
	blk->ops.submit(blk->ops.context, io);
}

/* Does the disk hold all of it? Counted in sectors, so that nothing wraps. */
static bool on_disk(const struct viodma_blk *blk, uint64_t sector, uint32_t len_bytes)
{
	uint64_t sectors = blk->config.capacity_bytes / VIRTIO_BLK_SECTOR_BYTES;
	uint64_t count = len_bytes / VIRTIO_BLK_SECTOR_BYTES;

	return sector <= sectors && count <= sectors - sector;
}

static void transfer(struct viodma_blk *blk, struct viodma_request *request, enum viodma_blk_operation operation,
		     uint64_t sector)
{
	const bool in = operation == VIODMA_BLK_READ;
	uint32_t len = in ? request->writable_bytes - 1 : request->readable_bytes - HEADER_BYTES;
	uint32_t other = in ? request->readable_bytes - HEADER_BYTES : request->writable_bytes - 1;

	if (other) {
		fail(blk, request, VIODMA_PEER_REQUEST, in ? "readable data in a read" : "writable data in a write");
	} else if (len % VIRTIO_BLK_SECTOR_BYTES) {
		fail(blk, request, VIODMA_PEER_REQUEST, "length not a multiple of 512");
	} else if (!on_disk(blk, sector, len)) {
		fail(blk, request, VIODMA_PEER_REQUEST, "sectors beyond the end of the disk");
	} else if (!in && blk->config.read_only) {
		fail(blk, request, VIODMA_E_UNSUPPORTED, "write to a read-only disk");
	} else if (!len) {
		if (in)
			blk->statistics.in++;
		else
			blk->statistics.out++;
		answer(request, VIRTIO_BLK_S_OK);
	} else {
		submit(blk, request, operation, sector * VIRTIO_BLK_SECTOR_BYTES, len);
	}
}

static void get_id(struct viodma_blk *blk, struct viodma_request *request)
{
	uint32_t len = request->writable_bytes - 1;

	if (len > VIRTIO_BLK_ID_BYTES)
		len = VIRTIO_BLK_ID_BYTES;
	if (viodma_request_write(request, 0, blk->config.serial, len) != VIODMA_OK)
		return;
	blk->statistics.get_id++;
	answer(request, VIRTIO_BLK_S_OK);
}

static void serve(struct viodma_blk *blk, struct viodma_request *request)
{
	const uint8_t failure = VIRTIO_BLK_S_IOERR;
	struct virtio_blk_request_header header;
	uint32_t type;

	if (request->result != VIODMA_OK) {
		fail(blk, request, request->result, "request memory");
		return;
	}
	if (request->head >= blk->io_count) {
		fail(blk, request, VIODMA_E_LIMIT, "queue larger than the device");
		return;
	}
	if (!VIODMA_REQUIRE(DRV_18, request->readable_bytes >= HEADER_BYTES && request->writable_bytes >= 1)) {
		fail(blk, request, VIODMA_PEER_REQUEST,
		     request->writable_bytes ? "header shorter than 16 bytes" : "no writable status byte");
		return;
	}
	if (viodma_request_read(request, 0, &header, HEADER_BYTES) != VIODMA_OK) {
		fail(blk, request, VIODMA_PEER_REQUEST, "header");
		return;
	}
	viodma_request_set_failure(request, &failure, 1);
	type = viodma_le32_get(header.type);
	switch (type) {
	case VIRTIO_BLK_T_IN:
		transfer(blk, request, VIODMA_BLK_READ, viodma_le64_get(header.sector));
		break;
	case VIRTIO_BLK_T_OUT:
		transfer(blk, request, VIODMA_BLK_WRITE, viodma_le64_get(header.sector));
		break;
	case VIRTIO_BLK_T_FLUSH:
		submit(blk, request, VIODMA_BLK_FLUSH, 0, 0);
		break;
	case VIRTIO_BLK_T_GET_ID:
		get_id(blk, request);
		break;
	default:
		blk->statistics.unsupported++;
		answer(request, VIRTIO_BLK_S_UNSUPP);
	}
}

enum viodma_result viodma_blk_process(struct viodma_blk *blk, struct viodma_queue *queue)
{
	uint32_t budget;

	if (!queue->running)
		return VIODMA_FAULT_STOPPED; /* a size is not there before the first start */
	for (budget = queue->setup.size; budget; budget--) { /* = DEV-17 */
		struct viodma_request *request;
		enum viodma_result result = viodma_queue_pop(queue, &request);

		if (result != VIODMA_OK)
			return result;
		serve(blk, request);
	}
	return VIODMA_OK;
}

/* Of the operation's own data, and nothing around it? */
static bool inside(const struct viodma_blk_io *io, uint32_t offset, uint32_t len_bytes)
{
	return offset <= io->len_bytes && len_bytes <= io->len_bytes - offset;
}

enum viodma_result viodma_blk_io_pieces(const struct viodma_blk_io *io, uint32_t offset, uint32_t len_bytes,
					struct viodma_piece *pieces, uint32_t capacity, uint32_t *count)
{
	if (!inside(io, offset, len_bytes))
		return VIODMA_E_INVALID;
	if (io->operation == VIODMA_BLK_READ)
		return viodma_request_pieces(io->request, VIODMA_WRITE, offset, len_bytes, pieces, capacity, count);
	return viodma_request_pieces(io->request, VIODMA_READ, HEADER_BYTES + offset, len_bytes, pieces, capacity,
				     count);
}

enum viodma_result viodma_blk_io_copy_in(const struct viodma_blk_io *io, uint32_t offset, void *destination,
					 uint32_t len_bytes)
{
	if (io->operation != VIODMA_BLK_WRITE || !inside(io, offset, len_bytes))
		return VIODMA_E_INVALID;
	return viodma_request_read(io->request, HEADER_BYTES + offset, destination, len_bytes);
}

enum viodma_result viodma_blk_io_copy_out(const struct viodma_blk_io *io, uint32_t offset, const void *source,
					  uint32_t len_bytes)
{
	enum viodma_result result;

	if (io->operation != VIODMA_BLK_READ || !inside(io, offset, len_bytes))
		return VIODMA_E_INVALID;
	result = viodma_request_write(io->request, offset, source, len_bytes);
	if (result != VIODMA_E_LIMIT)
		return result;
	/* COPY mode, in more places than are remembered: all of it, then, as an end that is ok states anyway. */
	result = viodma_request_written(io->request, 0, io->len_bytes);
	return result != VIODMA_OK ? result : viodma_request_write(io->request, offset, source, len_bytes);
}

void viodma_blk_complete(struct viodma_blk *blk, struct viodma_blk_io *io, bool ok)
{
	struct viodma_request *request = io->request;

	if (!request)
		return; /* completed already */
	/* A single extent starting at 0 is always recorded. */
	if (ok && io->operation == VIODMA_BLK_READ)
		ok = viodma_request_written(request, 0, io->len_bytes) == VIODMA_OK;
	io->request = NULL;
	if (!ok) {
		blk->statistics.failed++;
		answer(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	switch (io->operation) {
	case VIODMA_BLK_READ:
		blk->statistics.in++;
		blk->statistics.in_bytes += io->len_bytes;
		break;
	case VIODMA_BLK_WRITE:
		blk->statistics.out++;
		blk->statistics.out_bytes += io->len_bytes;
		break;
	case VIODMA_BLK_FLUSH:
		blk->statistics.flush++;
		break;
	default:
		break;
	}
	answer(request, VIRTIO_BLK_S_OK);
}

void viodma_blk_fail_held(struct viodma_blk *blk, struct viodma_queue *queue)
{
	struct viodma_request *request;

	while (viodma_queue_pop_held(queue, &request) == VIODMA_OK)
		fail(blk, request, request->result, "request memory, when the queue stopped");
}
