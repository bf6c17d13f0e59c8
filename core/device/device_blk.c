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
#include "device_blk_parts.h"

#define HEADER_BYTES VIODMA_BLK_HEADER_BYTES

static void refused(struct viodma_blk *blk, const struct viodma_request *request, enum viodma_result reason,
		    const char *what)
{
	if (blk->ops.refused)
		blk->ops.refused(blk->ops.context, request->head, reason, what);
}

void viodma_blk_fail(struct viodma_blk *blk, struct viodma_request *request, enum viodma_result reason,
		     const char *what)
{
	const uint8_t status = VIRTIO_BLK_S_IOERR;

	refused(blk, request, reason, what);
	if (viodma_queue_reject(request->queue, request, &status, 1) != VIODMA_MISS)
		blk->statistics.failed++;
}

void viodma_blk_answer(struct viodma_request *request, uint8_t status)
{
	if (viodma_request_write(request, request->writable_bytes - 1, &status, 1) == VIODMA_OK)
		viodma_queue_push(request->queue, request, request->writable_bytes);
}

void viodma_blk_count(struct viodma_blk *blk, enum viodma_blk_operation operation, uint64_t len_bytes)
{
	struct viodma_blk_statistics *statistics = &blk->statistics;

	switch (operation) {
	case VIODMA_BLK_READ:
		statistics->in++;
		statistics->in_bytes += len_bytes;
		break;
	case VIODMA_BLK_WRITE:
		statistics->out++;
		statistics->out_bytes += len_bytes;
		break;
	case VIODMA_BLK_FLUSH:
		statistics->flush++;
		break;
	case VIODMA_BLK_DISCARD:
		statistics->discard++;
		break;
	case VIODMA_BLK_WRITE_ZEROES:
		statistics->write_zeroes++;
		break;
	case VIODMA_BLK_SECURE_ERASE:
		statistics->secure_erase++;
		break;
	}
}

/* A queue of a device that has one may have any number. */
static uint32_t queue_of(const struct viodma_blk *blk, const struct viodma_request *request)
{
	return blk->config.queue_count > 1 ? request->queue->config.index : 0;
}

struct viodma_blk_io *viodma_blk_first_io(const struct viodma_blk *blk, const struct viodma_request *request)
{
	return &blk->ios[((size_t)queue_of(blk, request) * blk->heads + request->head) * blk->ranges];
}

static void submit(struct viodma_blk *blk, struct viodma_request *request, enum viodma_blk_operation operation,
		   uint64_t offset_bytes, uint32_t len_bytes)
{
	struct viodma_blk_io *io = viodma_blk_first_io(blk, request);

	io->operation = operation;
	io->durable = operation == VIODMA_BLK_WRITE && !viodma_blk_writeback(blk);
	io->unmap = false;
	io->offset_bytes = offset_bytes;
	io->len_bytes = len_bytes;
	io->request = request;
	io->user = NULL;
	io->left = 1;
	io->failed = false;
	blk->ops.submit(blk->ops.context, io);
}

bool viodma_blk_on_disk(const struct viodma_blk *blk, uint64_t sector, uint64_t count)
{
	uint64_t sectors = blk->config.capacity_bytes / VIRTIO_BLK_SECTOR_BYTES;

	return sector <= sectors && count <= sectors - sector;
}

static void transfer(struct viodma_blk *blk, struct viodma_request *request, enum viodma_blk_operation operation,
		     uint64_t sector)
{
	const bool in = operation == VIODMA_BLK_READ;
	uint32_t len = in ? request->writable_bytes - 1 : request->readable_bytes - HEADER_BYTES;
	uint32_t other = in ? request->readable_bytes - HEADER_BYTES : request->writable_bytes - 1;

	if (other) {
		viodma_blk_fail(blk, request, VIODMA_PEER_REQUEST, in ? "readable data in a read" : "writable data in a write");
	} else if (len % VIRTIO_BLK_SECTOR_BYTES) {
		viodma_blk_fail(blk, request, VIODMA_PEER_REQUEST, "length not a multiple of 512");
	} else if (!viodma_blk_on_disk(blk, sector, len / VIRTIO_BLK_SECTOR_BYTES)) {
		viodma_blk_fail(blk, request, VIODMA_PEER_REQUEST, "sectors beyond the end of the disk");
	} else if (!in && blk->config.read_only) {
		viodma_blk_fail(blk, request, VIODMA_E_UNSUPPORTED, "write to a read-only disk");
	} else if (!len) {
		viodma_blk_count(blk, operation, 0);
		viodma_blk_answer(request, VIRTIO_BLK_S_OK);
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
	viodma_blk_answer(request, VIRTIO_BLK_S_OK);
}

static void get_lifetime(struct viodma_blk *blk, struct viodma_request *request)
{
	struct viodma_blk_lifetime known = {0, 0, 0};
	struct virtio_blk_lifetime lifetime;

	if (!VIODMA_REQUIRE(DRV_18, request->writable_bytes - 1 >= sizeof(lifetime))) {
		viodma_blk_fail(blk, request, VIODMA_PEER_REQUEST, "no room for the lifetime");
		return;
	}
	if (!blk->ops.lifetime(blk->ops.context, &known)) {
		viodma_blk_fail(blk, request, VIODMA_E_IO, "lifetime");
		return;
	}
	/* Reserved values are not for the driver. */
	lifetime.pre_eol_info = viodma_le16_of(known.pre_eol_info <= 3 ? known.pre_eol_info : 0);
	lifetime.device_lifetime_est_a = viodma_le16_of(known.estimate_a <= 11 ? known.estimate_a : 0);
	lifetime.device_lifetime_est_b = viodma_le16_of(known.estimate_b <= 11 ? known.estimate_b : 0);
	if (viodma_request_write(request, 0, &lifetime, sizeof(lifetime)) != VIODMA_OK)
		return;
	blk->statistics.lifetime++;
	viodma_blk_answer(request, VIRTIO_BLK_S_OK);
}

/* What the driver asks for. A type of a feature it did not accept is unknown, as are those of zoned disks. */
static void dispatch(struct viodma_blk *blk, struct viodma_request *request, uint32_t type, uint64_t sector)
{
	if (type == VIRTIO_BLK_T_IN) {
		transfer(blk, request, VIODMA_BLK_READ, sector);
	} else if (type == VIRTIO_BLK_T_OUT) {
		transfer(blk, request, VIODMA_BLK_WRITE, sector);
	} else if (type == VIRTIO_BLK_T_FLUSH) {
		submit(blk, request, VIODMA_BLK_FLUSH, 0, 0);
	} else if (type == VIRTIO_BLK_T_GET_ID) {
		get_id(blk, request);
	} else if (type == VIRTIO_BLK_T_GET_LIFETIME && viodma_blk_accepted(blk, VIRTIO_BLK_F_LIFETIME_BIT)) {
		get_lifetime(blk, request);
	} else if (type == VIRTIO_BLK_T_DISCARD && viodma_blk_accepted(blk, VIRTIO_BLK_F_DISCARD_BIT)) {
		viodma_blk_ranges(blk, request, VIODMA_BLK_DISCARD);
	} else if (type == VIRTIO_BLK_T_WRITE_ZEROES && viodma_blk_accepted(blk, VIRTIO_BLK_F_WRITE_ZEROES_BIT)) {
		viodma_blk_ranges(blk, request, VIODMA_BLK_WRITE_ZEROES);
	} else if (type == VIRTIO_BLK_T_SECURE_ERASE && viodma_blk_accepted(blk, VIRTIO_BLK_F_SECURE_ERASE_BIT)) {
		viodma_blk_ranges(blk, request, VIODMA_BLK_SECURE_ERASE);
	} else {
		blk->statistics.unsupported++;
		viodma_blk_answer(request, VIRTIO_BLK_S_UNSUPP);
	}
}

static void serve(struct viodma_blk *blk, struct viodma_request *request)
{
	const uint8_t failure = VIRTIO_BLK_S_IOERR;
	struct virtio_blk_request_header header;

	if (request->result != VIODMA_OK) {
		viodma_blk_fail(blk, request, request->result, "request memory");
		return;
	}
	if (request->head >= blk->heads || queue_of(blk, request) >= blk->config.queue_count) {
		viodma_blk_fail(blk, request, VIODMA_E_LIMIT, "queue larger than the device, or one too many");
		return;
	}
	if (!VIODMA_REQUIRE(DRV_18, request->readable_bytes >= HEADER_BYTES && request->writable_bytes >= 1)) {
		viodma_blk_fail(blk, request, VIODMA_PEER_REQUEST,
				request->writable_bytes ? "header shorter than 16 bytes" : "no writable status byte");
		return;
	}
	if (viodma_request_read(request, 0, &header, HEADER_BYTES) != VIODMA_OK) {
		viodma_blk_fail(blk, request, VIODMA_PEER_REQUEST, "header");
		return;
	}
	viodma_request_set_failure(request, &failure, 1);
	dispatch(blk, request, viodma_le32_get(header.type), viodma_le64_get(header.sector));
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

/* Of the operation's own data, and nothing around it? Those by range have none. */
static bool inside(const struct viodma_blk_io *io, uint32_t offset, uint32_t len_bytes)
{
	return io->operation <= VIODMA_BLK_FLUSH && offset <= io->len_bytes && len_bytes <= io->len_bytes - offset;
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
	result = viodma_request_written(io->request, 0, (uint32_t)io->len_bytes);
	return result != VIODMA_OK ? result : viodma_request_write(io->request, offset, source, len_bytes);
}

void viodma_blk_complete(struct viodma_blk *blk, struct viodma_blk_io *io, bool ok)
{
	struct viodma_request *request = io->request;
	struct viodma_blk_io *first;

	if (!request)
		return; /* completed already */
	/* A single extent starting at 0 is always recorded. */
	if (ok && io->operation == VIODMA_BLK_READ)
		ok = viodma_request_written(request, 0, (uint32_t)io->len_bytes) == VIODMA_OK;
	io->request = NULL;
	first = viodma_blk_first_io(blk, request);
	if (!ok)
		first->failed = true;
	if (--first->left)
		return;
	if (first->failed) {
		blk->statistics.failed++;
		viodma_blk_answer(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	viodma_blk_count(blk, io->operation, io->len_bytes);
	viodma_blk_answer(request, VIRTIO_BLK_S_OK);
}

void viodma_blk_fail_held(struct viodma_blk *blk, struct viodma_queue *queue)
{
	struct viodma_request *request;

	while (viodma_queue_pop_held(queue, &request) == VIODMA_OK)
		viodma_blk_fail(blk, request, request->result, "request memory, when the queue stopped");
}
