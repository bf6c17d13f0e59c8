/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_blk.c - how it works: virtio-blk, driver half (virtio 1.2, section 5.2).
 *
 * init reads the configuration once (driver_blk_config.c); what it says and what the domain says is combined into the
 * size of a part (driver_blk_parts.c). Ring memory for a header, with a list of ranges where the device takes some, and
 * a status byte of each part is allocated; statuses have a line each while the pool's runs are large enough for that.
 *
 * A request is in one of two lists from submit to done: with something to send yet, or all of it sent. One poll:
 *   take in what the queues have -> send in order -> publish, kick -> ask for calls -> deadlines
 * Its work is bounded by what was in flight and what was waiting when it began (what `done` submits is sent next time).
 *
 * Deadlines: `deadline_ns` is a time before which none passes; requests are looked through only after it.
 */
#include "driver_blk_parts.h"

#include <viodma/port.h>
#include <viodma/wire/blk.h>

#include "../base/require.h"

#define SECTOR VIRTIO_BLK_SECTOR_BYTES
#define LINE_BYTES 64u
#define BATCH 16u

/* ---- life ---- */

static bool config_holds(const struct viodma_driver_blk_config *config)
{
	uint32_t i;

	if (!config->driver || !config->domain || !config->queue_count ||
	    config->queue_count > VIODMA_DRIVER_BLK_QUEUES_MAX || !config->parts || config->parts > 32768 ||
	    !config->segments_max || config->segments_max > 32768 || !config->storage ||
	    config->storage_bytes < VIODMA_DRIVER_BLK_STORAGE_BYTES(config->parts, config->segments_max) ||
	    ((uintptr_t)config->storage & (_Alignof(struct viodma_driver_blk_part) - 1)))
		return false;
	for (i = 0; i < config->queue_count; i++) /* a header, data, and a status */
		if (!config->queues[i] || config->queues[i]->config.size < 3)
			return false;
	return true;
}

/* A chain of seg_max segments fits into each queue, into its tables where it has some that are of use. */
static void lower_to_queues(struct viodma_driver_blk *blk)
{
	uint32_t i;

	if (blk->seg_max > blk->config.segments_max)
		blk->seg_max = blk->config.segments_max;
	for (i = 0; i < blk->config.queue_count; i++) {
		const struct viodma_driver_queue_config *queue = &blk->config.queues[i]->config;
		uint32_t room = queue->table_descriptors >= 3 ? queue->table_descriptors : queue->size;

		if (blk->seg_max > room - 2)
			blk->seg_max = room - 2;
	}
}

static void lay_out(struct viodma_driver_blk *blk)
{
	const struct viodma_driver_blk_config *config = &blk->config;
	unsigned char *at = config->storage;
	struct viodma_segment *segments;
	struct viodma_buffer *buffers;
	uint32_t i;

	blk->parts = (struct viodma_driver_blk_part *)(void *)at;
	at += config->parts * sizeof(struct viodma_driver_blk_part);
	segments = (struct viodma_segment *)(void *)at;
	at += config->parts * (2 * (size_t)config->segments_max + 2) * sizeof(struct viodma_segment);
	buffers = (struct viodma_buffer *)(void *)at;
	for (i = 0; i < config->parts; i++) {
		struct viodma_driver_blk_part *part = &blk->parts[i];

		memset(part, 0, sizeof(*part));
		part->number = i;
		part->next = i + 1 < config->parts ? i + 1 : VIODMA_DRIVER_BLK_NO_PART;
		part->segments = segments + i * (2 * (size_t)config->segments_max + 2);
		part->uncut = part->segments + config->segments_max + 2;
		part->buffers = buffers + i * (size_t)config->segments_max;
	}
	blk->part_free = 0;
}

static enum viodma_result release(struct viodma_driver_blk *blk)
{
	enum viodma_result result = VIODMA_OK;

	if (blk->statuses.memory && viodma_domain_release(&blk->statuses) != VIODMA_OK)
		result = VIODMA_E_QUARANTINED;
	if (blk->headers.memory && viodma_domain_release(&blk->headers) != VIODMA_OK)
		result = VIODMA_E_QUARANTINED;
	blk->statuses.memory = blk->headers.memory = NULL;
	return result;
}

/* So many bytes for each part; closer together if a run of the pool does not hold them. */
static enum viodma_result allocate_statuses(struct viodma_driver_blk *blk, uint32_t align)
{
	enum viodma_result result;

	blk->status_bytes = align > LINE_BYTES ? align : LINE_BYTES;
	for (;;) {
		result = viodma_domain_alloc(blk->config.domain, &blk->statuses,
					     (uint64_t)blk->config.parts * blk->status_bytes, blk->status_bytes,
					     VIODMA_FROM_DEVICE);
		if (result != VIODMA_E_LIMIT || blk->status_bytes == align)
			break;
		blk->status_bytes = align;
	}
	if (result != VIODMA_OK)
		blk->statuses.memory = NULL;
	return result;
}

/* A header for each part, and behind it a list of ranges, as long as the device takes and a run of the pool holds. */
static enum viodma_result allocate_headers(struct viodma_driver_blk *blk, uint32_t align)
{
	const uint32_t mask = align - 1, header = sizeof(struct virtio_blk_request_header);
	enum viodma_result result;

	blk->ranges_max = viodma_driver_blk_ranges_wanted(blk);
	/* A segment of its own, as devices like it; unless that would double what a header takes. */
	blk->ranges_at = align > LINE_BYTES ? header : (header + mask) & ~mask;
	blk->ranges_joined = align > LINE_BYTES;
	for (;;) {
		uint32_t list = blk->ranges_max * (uint32_t)sizeof(struct virtio_blk_range);

		blk->header_bytes = (blk->ranges_at + list + mask) & ~mask;
		result = viodma_domain_alloc(blk->config.domain, &blk->headers,
					     (uint64_t)blk->config.parts * blk->header_bytes,
					     align > LINE_BYTES ? align : LINE_BYTES, VIODMA_TO_DEVICE);
		if (result != VIODMA_E_LIMIT || blk->ranges_max <= 1)
			break;
		blk->ranges_max /= 2;
	}
	if (result != VIODMA_OK)
		blk->headers.memory = NULL;
	return result;
}

static enum viodma_result allocate(struct viodma_driver_blk *blk)
{
	struct viodma_limits limits;
	enum viodma_result result;
	uint32_t align;

	viodma_domain_limits(blk->config.domain, &limits);
	align = limits.alignment_bytes ? limits.alignment_bytes : 1;
	result = allocate_headers(blk, align);
	if (result == VIODMA_OK)
		result = allocate_statuses(blk, align);
	if (result != VIODMA_OK)
		return result;
	viodma_driver_blk_clear_statuses(blk);
	viodma_domain_limits(blk->config.domain, &limits); /* of what is left now */
	return viodma_driver_blk_measure(blk, &limits);
}

enum viodma_result viodma_driver_blk_init(struct viodma_driver_blk *blk, const struct viodma_driver_blk_config *config)
{
	enum viodma_result result;

	if (!config_holds(config))
		return VIODMA_E_INVALID;
	memset(blk, 0, sizeof(*blk));
	blk->config = *config;
	blk->deadline_ns = UINT64_MAX;
	result = viodma_driver_blk_configure(blk);
	if (result == VIODMA_OK) {
		lower_to_queues(blk);
		lay_out(blk);
		result = allocate(blk);
	}
	if (result != VIODMA_OK) {
		(void)release(blk);
		blk->stopped = true;
	}
	return result;
}

enum viodma_result viodma_driver_blk_free(struct viodma_driver_blk *blk)
{
	bool late;

	if (blk->first || blk->out_first || blk->parts_out)
		return VIODMA_E_BUSY;
	late = blk->stopped && blk->statuses.memory && !VIODMA_REQUIRE(DEV_14, viodma_driver_blk_statuses_clear(blk));
	blk->stopped = true;
	if (release(blk) != VIODMA_OK)
		return VIODMA_E_QUARANTINED;
	return late ? VIODMA_PEER_LATE_WRITE : VIODMA_OK;
}

/* ---- the two lists ---- */

void viodma_driver_blk_enlist(struct viodma_driver_blk *blk, struct viodma_driver_blk_request *request, bool sending)
{
	struct viodma_driver_blk_request **first = sending ? &blk->first : &blk->out_first;
	struct viodma_driver_blk_request **last = sending ? &blk->last : &blk->out_last;

	request->sending = sending;
	request->next = NULL;
	request->previous = *last;
	if (*last)
		(*last)->next = request;
	else
		*first = request;
	*last = request;
}

void viodma_driver_blk_delist(struct viodma_driver_blk *blk, struct viodma_driver_blk_request *request)
{
	struct viodma_driver_blk_request **first = request->sending ? &blk->first : &blk->out_first;
	struct viodma_driver_blk_request **last = request->sending ? &blk->last : &blk->out_last;

	if (request->previous)
		request->previous->next = request->next;
	else
		*first = request->next;
	if (request->next)
		request->next->previous = request->previous;
	else
		*last = request->previous;
}

void viodma_driver_blk_end(struct viodma_driver_blk *blk, struct viodma_driver_blk_request *request)
{
	viodma_driver_blk_delist(blk, request);
	blk->statistics.requests++;
	if (request->result != VIODMA_OK)
		blk->statistics.failed++;
	request->done(request->context, request, request->result); /* it is the caller's again */
}

/* ---- requests ---- */

static bool has(const struct viodma_driver_blk *blk, const struct viodma_driver_blk_request *request)
{
	switch (request->operation) {
	case VIODMA_DRIVER_BLK_WRITE:
		return !blk->read_only;
	case VIODMA_DRIVER_BLK_GET_LIFETIME:
		return blk->lifetime;
	case VIODMA_DRIVER_BLK_DISCARD:
	case VIODMA_DRIVER_BLK_WRITE_ZEROES:
	case VIODMA_DRIVER_BLK_SECURE_ERASE:
		return !blk->read_only && viodma_driver_blk_ranges_of(blk, request->operation)->max_sectors;
	default:
		return true;
	}
}

static enum viodma_result check(const struct viodma_driver_blk *blk, const struct viodma_driver_blk_request *request,
				uint64_t *len_bytes)
{
	uint64_t sectors, exactly = 0;
	uint32_t i;

	*len_bytes = 0;
	for (i = 0; i < request->buffer_count; i++) {
		if (!request->buffers[i].len_bytes)
			return VIODMA_E_INVALID;
		*len_bytes += request->buffers[i].len_bytes;
	}
	switch (request->operation) {
	case VIODMA_DRIVER_BLK_GET_ID:
	case VIODMA_DRIVER_BLK_GET_LIFETIME:
		exactly = request->operation == VIODMA_DRIVER_BLK_GET_ID ? VIODMA_DRIVER_BLK_ID_BYTES :
									   VIODMA_DRIVER_BLK_LIFETIME_BYTES;
		if (request->buffer_count != 1)
			return VIODMA_E_INVALID;
		/* fall through */
	case VIODMA_DRIVER_BLK_FLUSH:
		if (*len_bytes != exactly)
			return VIODMA_E_INVALID;
		return has(blk, request) ? VIODMA_OK : VIODMA_E_UNSUPPORTED;
	case VIODMA_DRIVER_BLK_READ:
	case VIODMA_DRIVER_BLK_WRITE:
		sectors = *len_bytes % SECTOR ? 0 : *len_bytes / SECTOR;
		break;
	case VIODMA_DRIVER_BLK_DISCARD:
	case VIODMA_DRIVER_BLK_WRITE_ZEROES:
	case VIODMA_DRIVER_BLK_SECURE_ERASE:
		sectors = *len_bytes ? 0 : request->sectors;
		break;
	default:
		return VIODMA_E_INVALID;
	}
	if (!sectors || request->sector > blk->capacity_sectors || sectors > blk->capacity_sectors - request->sector)
		return VIODMA_E_INVALID;
	return has(blk, request) ? VIODMA_OK : VIODMA_E_UNSUPPORTED;
}

enum viodma_result viodma_driver_blk_submit(struct viodma_driver_blk *blk, struct viodma_driver_blk_request *request)
{
	uint64_t len_bytes;
	enum viodma_result result = blk->stopped ? VIODMA_E_RESET : check(blk, request, &len_bytes);

	if (result != VIODMA_OK)
		return result;
	if (!request->done)
		return VIODMA_E_INVALID;
	request->len_bytes = len_bytes;
	request->next_byte = request->next_sector = 0;
	request->next_buffer = request->next_offset = request->parts_out = 0;
	request->result = VIODMA_OK;
	viodma_driver_blk_enlist(blk, request, true);
	if (request->deadline_ns < blk->deadline_ns)
		blk->deadline_ns = request->deadline_ns;
	return VIODMA_OK;
}

uint64_t viodma_driver_blk_next_deadline(const struct viodma_driver_blk *blk)
{
	const struct viodma_driver_blk_request *request;
	uint64_t earliest = UINT64_MAX;

	for (request = blk->first; request; request = request->next)
		if (request->deadline_ns < earliest)
			earliest = request->deadline_ns;
	for (request = blk->out_first; request; request = request->next)
		if (request->deadline_ns < earliest)
			earliest = request->deadline_ns;
	return earliest;
}

/* ---- polling ---- */

static enum viodma_result take_in(struct viodma_driver_blk *blk, struct viodma_driver_queue *queue)
{
	struct viodma_driver_completion completions[BATCH];
	enum viodma_result result;
	uint32_t count, i;

	viodma_driver_queue_want_no_call(queue);
	while ((result = viodma_driver_queue_get_batch(queue, completions, BATCH, &count)) == VIODMA_OK)
		for (i = 0; i < count; i++)
			viodma_driver_blk_part_used(blk, completions[i].token, completions[i].written_bytes);
	return result == VIODMA_EMPTY ? VIODMA_OK : result;
}

/* Show what was added, and say that we want to hear, unless we look. True: something is there already. */
static bool publish(struct viodma_driver_blk *blk)
{
	const struct viodma_transport *transport = &blk->config.driver->transport;
	bool more = false;
	uint32_t i;

	for (i = 0; i < blk->config.queue_count; i++) {
		struct viodma_driver_queue *queue = blk->config.queues[i];

		viodma_driver_queue_publish(queue);
		viodma_driver_queue_kick(queue, transport);
		if (!blk->polled)
			more |= viodma_driver_queue_want_call(queue);
	}
	return more;
}

void viodma_driver_blk_set_polled(struct viodma_driver_blk *blk, bool polled)
{
	blk->polled = polled;
}

enum viodma_result viodma_driver_blk_poll(struct viodma_driver_blk *blk, uint64_t now_ns)
{
	const uint64_t ended = blk->statistics.requests;
	enum viodma_result result;
	bool more;
	uint32_t i;

	if (blk->stopped)
		return VIODMA_E_RESET;
	for (i = 0; i < blk->config.queue_count; i++) {
		result = take_in(blk, blk->config.queues[i]);
		if (result != VIODMA_OK)
			return result;
	}
	result = viodma_driver_blk_send(blk);
	more = publish(blk) || result == VIODMA_WAIT;
	if (result != VIODMA_OK && result != VIODMA_WAIT)
		return result;
	/* Whatever there may be at once: a used index that comes and goes puts off no deadline. */
	if (now_ns >= blk->deadline_ns) {
		blk->deadline_ns = viodma_driver_blk_next_deadline(blk);
		if (!VIODMA_REQUIRE(DEV_20, now_ns < blk->deadline_ns))
			return VIODMA_PEER_SILENT;
	}
	return more || blk->statistics.requests != ended ? VIODMA_OK : VIODMA_EMPTY;
}

/* ---- the end ---- */

static void end_all(struct viodma_driver_blk *blk, struct viodma_driver_blk_request *const *first,
		    enum viodma_result result)
{
	while (*first) {
		struct viodma_driver_blk_request *request = *first;

		if (request->result != VIODMA_E_QUARANTINED)
			request->result = result;
		viodma_driver_blk_end(blk, request);
	}
}

void viodma_driver_blk_stop(struct viodma_driver_blk *blk, enum viodma_result result)
{
	void *token;
	uint32_t i;

	if (blk->stopped)
		return;
	blk->stopped = true;
	for (i = 0; i < blk->config.queue_count; i++)
		while (viodma_driver_queue_take_back(blk->config.queues[i], &token) == VIODMA_OK) {
			struct viodma_driver_blk_part *part = token;
			struct viodma_driver_blk_request *request = part->request;

			if (viodma_driver_blk_part_dropped(blk, part) == VIODMA_E_QUARANTINED)
				request->result = VIODMA_E_QUARANTINED; /* = DRV-22 */
		}
	viodma_driver_blk_clear_statuses(blk);
	end_all(blk, &blk->out_first, result);
	end_all(blk, &blk->first, result);
}
