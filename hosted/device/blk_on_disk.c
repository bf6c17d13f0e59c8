/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * blk_on_disk.c - how it works: each descriptor of each queue at its largest has a slot, used by the request whose head
 * it is: one disk operation, and an array of iovecs that grows to the largest request seen in that slot and stays.
 *
 * A kick makes the back end call process: viodma_blk parses requests, submit turns each into a disk operation, and the
 * disk is kicked once for all of them. When the disk's event descriptor is readable, what ended is given back, the disk
 * is kicked for what was submitted meanwhile, and the back end is told once.
 *
 * With several workers, the device is the half of the first, and others follow it, one for each other worker: the same
 * configuration, and an engine of its own over the same open file. Which slots a request may have depends on its queue,
 * so halves share the arrays and never meet in them. What the driver says of the whole device is said to each.
 *
 * A null disk has neither file nor descriptor: submit zeroes what is read, and ends the request where it began.
 */
#include "hosted/device/blk_on_disk.h"

#include "hosted/base/rate_limit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct slot {
	struct viodma_disk_io io;
	struct viodma_blk_io *request; /* NULL: free */
	struct viodma_blk_on_disk *device;
	struct iovec *iovecs;
	uint32_t iovec_capacity;
};

struct viodma_blk_on_disk {
	struct viodma_blk blk;
	struct viodma_blk_io *blk_ios; /* for blk, as it counts them */
	struct slot *slots;            /* likewise */
	uint32_t slot_count;
	struct viodma_piece *pieces;   /* scratch of submit */
	struct viodma_disk *disk;      /* NULL: a null disk */
	struct viodma_loop_watch *watch;
	struct viodma_vhost_user *backend;
	struct viodma_blk_on_disk *next, *first; /* the half of the next worker; of the first */
	struct viodma_blk_statistics total;
	struct viodma_rate_limit refused_limit;
	void (*log)(void *context, const char *line);
	void *context;
};

/* ---- requests to operations, and back ---- */

static void operation_done(struct viodma_disk_io *io, int error)
{
	struct slot *slot = io->user;
	struct viodma_blk_io *request = slot->request;

	slot->request = NULL;
	viodma_blk_complete(&slot->device->blk, request, !error);
}

static bool fill_iovecs(struct viodma_blk_on_disk *device, struct slot *slot, const struct viodma_blk_io *request)
{
	uint32_t count = 0;

	if (viodma_blk_io_pieces(request, 0, (uint32_t)request->len_bytes, device->pieces, VIODMA_BLK_ON_DISK_PIECES_MAX,
				 &count) != VIODMA_OK)
		return false;
	if (count > slot->iovec_capacity) {
		struct iovec *more = realloc(slot->iovecs, count * sizeof(*more));

		if (!more)
			return false;
		slot->iovecs = more;
		slot->iovec_capacity = count;
	}
	for (uint32_t i = 0; i < count; i++) {
		slot->iovecs[i].iov_base = device->pieces[i].memory;
		slot->iovecs[i].iov_len = device->pieces[i].len_bytes;
	}
	slot->io.iovecs = slot->iovecs;
	slot->io.iovec_count = count;
	return true;
}

/* The null disk's submit. */
static void submit_null(void *context, struct viodma_blk_io *request)
{
	struct viodma_blk_on_disk *device = context;
	uint32_t count = 0;
	bool ok = true;

	if (request->operation == VIODMA_BLK_READ)
		ok = viodma_blk_io_pieces(request, 0, (uint32_t)request->len_bytes, device->pieces,
					  VIODMA_BLK_ON_DISK_PIECES_MAX, &count) == VIODMA_OK;
	for (uint32_t i = 0; i < count; i++)
		memset(device->pieces[i].memory, 0, device->pieces[i].len_bytes);
	viodma_blk_complete(&device->blk, request, ok);
}

static const enum viodma_disk_operation operations[] = {
	[VIODMA_BLK_READ] = VIODMA_DISK_READ,
	[VIODMA_BLK_WRITE] = VIODMA_DISK_WRITE,
	[VIODMA_BLK_FLUSH] = VIODMA_DISK_FLUSH,
	[VIODMA_BLK_DISCARD] = VIODMA_DISK_DISCARD,
	[VIODMA_BLK_WRITE_ZEROES] = VIODMA_DISK_ZERO,
	[VIODMA_BLK_SECURE_ERASE] = VIODMA_DISK_SECURE_ERASE,
};

static void submit(void *context, struct viodma_blk_io *request)
{
	struct viodma_blk_on_disk *device = context;
	struct slot *slot = &device->slots[request - device->blk_ios];

	slot->device = device;
	slot->request = request;
	slot->io = (struct viodma_disk_io){
		.operation = operations[request->operation],
		.durable = request->durable,
		.unmap = request->unmap && device->blk.config.write_zeroes_may_unmap,
		.offset_bytes = request->offset_bytes,
		.len_bytes = request->len_bytes,
		.done = operation_done,
		.user = slot,
	};
	if (request->operation < VIODMA_BLK_FLUSH && !fill_iovecs(device, slot, request)) {
		slot->request = NULL;
		viodma_blk_complete(&device->blk, request, false);
		return;
	}
	viodma_disk_submit(device->disk, &slot->io);
}

static bool lifetime(void *context, struct viodma_blk_lifetime *known)
{
	const struct viodma_blk_on_disk *device = context;

	return viodma_disk_wear(device->disk, &known->pre_eol_info, &known->estimate_a, &known->estimate_b);
}

static void refused(void *context, uint16_t head, enum viodma_result reason, const char *what)
{
	struct viodma_blk_on_disk *device = context;
	char line[256];
	uint64_t suppressed;

	if (!device->log ||
	    !viodma_rate_limit_allow(&device->refused_limit, viodma_loop_now_ns(), &suppressed))
		return;
	snprintf(line, sizeof(line), "request %u refused: %s%s%s: %s", (unsigned)head,
		 viodma_result_requirement(reason), *viodma_result_requirement(reason) ? ": " : "",
		 viodma_result_text(reason), what);
	if (suppressed)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), " (and %" PRIu64 " lines not shown)",
			 suppressed);
	device->log(device->context, line);
}

static void disk_ready(void *context, unsigned events)
{
	struct viodma_blk_on_disk *device = context;

	(void)events;
	if (viodma_disk_reap(device->disk) && device->first->backend)
		viodma_vhost_user_completed(device->first->backend);
}

/* ---- the operations of a vhost-user device ---- */

static uint64_t features(void *context)
{
	const struct viodma_blk_on_disk *device = context;

	return viodma_blk_features(&device->blk);
}

static void accepted(void *context, uint64_t bits)
{
	for (struct viodma_blk_on_disk *half = context; half; half = half->next)
		viodma_blk_set_accepted(&half->blk, bits);
}

static enum viodma_result read_config(void *context, uint32_t offset, void *destination, uint32_t len_bytes)
{
	const struct viodma_blk_on_disk *device = context;

	viodma_blk_read_config(&device->blk, offset, destination, len_bytes);
	return VIODMA_OK;
}

static enum viodma_result write_config(void *context, uint32_t offset, const void *source, uint32_t len_bytes)
{
	enum viodma_result result = VIODMA_OK;

	for (struct viodma_blk_on_disk *half = context; half && result == VIODMA_OK; half = half->next)
		result = viodma_blk_write_config(&half->blk, offset, source, len_bytes);
	return result;
}

static void reset(void *context)
{
	for (struct viodma_blk_on_disk *half = context; half; half = half->next)
		viodma_blk_reset(&half->blk);
}

static enum viodma_result process(void *context, struct viodma_queue *queue)
{
	struct viodma_blk_on_disk *device = context;
	enum viodma_result result = viodma_blk_process(&device->blk, queue);

	if (device->disk)
		viodma_disk_kick(device->disk);
	return result;
}

static void fail_held(void *context, struct viodma_queue *queue)
{
	struct viodma_blk_on_disk *device = context;

	viodma_blk_fail_held(&device->blk, queue);
}

static const char *feature_name(void *context, unsigned bit)
{
	(void)context;
	return viodma_blk_feature_name(bit);
}

/* ---- making and freeing ---- */

static void free_memory(struct viodma_blk_on_disk *device)
{
	if (device->slots)
		for (uint32_t i = 0; i < device->slot_count; i++)
			free(device->slots[i].iovecs);
	free(device->slots);
	free(device->blk_ios);
	free(device->pieces);
	free(device);
}

/* What is worth telling the driver about the storage, in its blocks. */
static void describe(const struct viodma_disk_about *about, struct viodma_blk_config *config)
{
	const uint32_t block = config->blk_size;

	while (about->physical_bytes > block << config->physical_block_exp && config->physical_block_exp < 15)
		config->physical_block_exp++;
	if (about->min_io_bytes > block)
		config->min_io_blocks = (uint16_t)(about->min_io_bytes / block < UINT16_MAX ? about->min_io_bytes / block
											     : UINT16_MAX);
	config->opt_io_blocks = about->opt_io_bytes / block;
	config->discard.alignment_sectors =
		(about->discard_bytes > block ? about->discard_bytes : block) / VIODMA_DISK_SECTOR_BYTES;
	config->lifetime = about->wear_known;
}

static void limit_ranges(const struct viodma_blk_on_disk_options *options, struct viodma_blk_config *config)
{
	const struct viodma_blk_range_limits limits = {
		.max_sectors = VIODMA_BLK_ON_DISK_RANGE_SECTORS_MAX,
		.max_ranges = VIODMA_BLK_ON_DISK_RANGES_MAX,
		.alignment_sectors = config->blk_size / VIODMA_DISK_SECTOR_BYTES,
	};

	if (options->discard)
		config->discard = limits;
	if (options->write_zeroes)
		config->write_zeroes = limits;
	if (options->secure_erase)
		config->secure_erase = limits;
	config->write_zeroes_may_unmap = options->write_zeroes && options->discard;
}

/* VIODMA_E_INVALID: out of range. */
static enum viodma_result configure(const struct viodma_blk_on_disk_options *options, struct viodma_blk_config *config)
{
	size_t serial_bytes = options->serial ? strlen(options->serial) : 0;

	*config = (struct viodma_blk_config){
		.capacity_bytes = options->disk ? viodma_disk_size_bytes(options->disk) : options->null_bytes,
		.blk_size = options->blk_size,
		.seg_max = VIODMA_BLK_ON_DISK_SEG_MAX,
		.size_max = VIODMA_BLK_ON_DISK_SIZE_MAX,
		.read_only = options->read_only,
		.starts_write_through = options->write_through,
		.queue_count = (uint16_t)(options->queue_count ? options->queue_count : 1),
	};
	if (serial_bytes > sizeof(config->serial) || options->queue_count > VIODMA_BLK_ON_DISK_QUEUES_MAX ||
	    options->queue_size > 32768)
		return VIODMA_E_INVALID;
	if (serial_bytes)
		memcpy(config->serial, options->serial, serial_bytes);
	limit_ranges(options, config);
	if (options->disk)
		describe(viodma_disk_about(options->disk), config);
	return VIODMA_OK;
}

static enum viodma_result allocate(struct viodma_blk_on_disk *device, const struct viodma_blk_config *config,
				   uint32_t queue_size)
{
	const uint32_t count = config->queue_count * queue_size * viodma_blk_ios_per_head(config);

	/* Of a large queue only what is used takes memory: pages that were never touched do not. */
	device->slot_count = count;
	device->slots = calloc(count, sizeof(*device->slots));
	device->blk_ios = calloc(count, sizeof(*device->blk_ios));
	device->pieces = calloc(VIODMA_BLK_ON_DISK_PIECES_MAX, sizeof(*device->pieces));
	return device->slots && device->blk_ios && device->pieces ? VIODMA_OK : VIODMA_E_NO_MEMORY;
}

static enum viodma_result watch(struct viodma_blk_on_disk *device, struct viodma_loop *loop,
				const struct viodma_disk *disk)
{
	return viodma_loop_watch(loop, viodma_disk_event_fd(disk), VIODMA_LOOP_IN, disk_ready, device, &device->watch);
}

static enum viodma_result set_up(struct viodma_blk_on_disk *device, const struct viodma_blk_on_disk_options *options)
{
	const struct viodma_blk_ops ops = {
		.submit = options->disk ? submit : submit_null, .refused = refused, .context = device,
		.lifetime = lifetime
	};
	struct viodma_blk_config config;
	enum viodma_result result = configure(options, &config);

	if (result == VIODMA_OK)
		result = allocate(device, &config,
				  options->queue_size ? options->queue_size : VIODMA_BLK_ON_DISK_QUEUE_SIZE);
	if (result == VIODMA_OK)
		result = viodma_blk_init(&device->blk, &config, &ops, device->blk_ios, device->slot_count);
	if (result == VIODMA_OK && options->disk)
		result = watch(device, options->loop, options->disk);
	return result;
}

enum viodma_result viodma_blk_on_disk_new(const struct viodma_blk_on_disk_options *options,
					  struct viodma_blk_on_disk **out)
{
	struct viodma_blk_on_disk *device = calloc(1, sizeof(*device));
	enum viodma_result result;

	if (!device)
		return VIODMA_E_NO_MEMORY;
	device->first = device;
	device->log = options->log;
	device->context = options->context;
	result = set_up(device, options);
	if (result != VIODMA_OK) {
		free_memory(device);
		return result;
	}
	device->disk = options->disk;
	*out = device;
	return VIODMA_OK;
}

/* The halves after the first. */
static enum viodma_result free_others(struct viodma_blk_on_disk *device)
{
	while (device->next) {
		struct viodma_blk_on_disk *other = device->next;

		viodma_loop_unwatch(other->watch);
		other->watch = NULL;
		if (viodma_disk_close(other->disk) != VIODMA_OK)
			return VIODMA_E_BUSY;
		device->next = other->next;
		free(other->pieces);
		free(other);
	}
	return VIODMA_OK;
}

enum viodma_result viodma_blk_on_disk_free(struct viodma_blk_on_disk *device)
{
	if (!device)
		return VIODMA_OK;
	if (viodma_blk_on_disk_in_flight(device) || free_others(device) != VIODMA_OK)
		return VIODMA_E_BUSY;
	if (device->disk) {
		viodma_loop_unwatch(device->watch);
		if (viodma_disk_close(device->disk) != VIODMA_OK)
			return VIODMA_E_BUSY;
	}
	free_memory(device);
	return VIODMA_OK;
}

/* ---- several workers ---- */

/* One more half, before the others. */
static enum viodma_result make_other(struct viodma_blk_on_disk *device, struct viodma_blk_on_disk **out)
{
	struct viodma_blk_on_disk *other = calloc(1, sizeof(*other));
	struct viodma_blk_ops ops = device->blk.ops;
	char text[512];
	enum viodma_result result = VIODMA_OK;

	if (!other)
		return VIODMA_E_NO_MEMORY;
	ops.context = other;
	other->first = device;
	other->log = device->log;
	other->context = device->context;
	other->blk_ios = device->blk_ios;
	other->slots = device->slots;
	other->pieces = calloc(VIODMA_BLK_ON_DISK_PIECES_MAX, sizeof(*other->pieces));
	if (!other->pieces)
		result = VIODMA_E_NO_MEMORY;
	if (result == VIODMA_OK)
		result = viodma_blk_init(&other->blk, &device->blk.config, &ops, device->blk_ios, device->slot_count);
	if (result == VIODMA_OK && device->disk) {
		result = viodma_disk_share(device->disk, &other->disk, text, sizeof(text));
		if (result != VIODMA_OK && device->log)
			device->log(device->context, text);
	}
	if (result != VIODMA_OK) {
		free(other->pieces);
		free(other);
		return result;
	}
	other->next = device->next;
	device->next = other;
	*out = other;
	return VIODMA_OK;
}

static enum viodma_result worker_begins(void *context, unsigned worker, struct viodma_loop *loop, void **out)
{
	struct viodma_blk_on_disk *half = context;
	enum viodma_result result = worker ? make_other(context, &half) : VIODMA_OK;

	if (result != VIODMA_OK)
		return result;
	*out = half;
	viodma_loop_unwatch(half->watch); /* not the device's loop any more */
	half->watch = NULL;
	return half->disk ? watch(half, loop, half->disk) : VIODMA_OK;
}

static void worker_ends(void *context)
{
	struct viodma_blk_on_disk *half = context;

	viodma_loop_unwatch(half->watch);
	half->watch = NULL;
}

const struct viodma_vhost_user_ops viodma_blk_on_disk_ops = {
	.features = features,
	.feature_name = feature_name,
	.accepted = accepted,
	.read_config = read_config,
	.write_config = write_config,
	.reset = reset,
	.process = process,
	.fail_held = fail_held,
	.worker_begins = worker_begins,
	.worker_ends = worker_ends,
};

/* ---- about it ---- */

void viodma_blk_on_disk_limits(struct viodma_vhost_user_options *options)
{
	if (!options->queue_count)
		options->queue_count = 1;
	if (!options->queue_size_max)
		options->queue_size_max = VIODMA_BLK_ON_DISK_QUEUE_SIZE;
	options->segments_max = VIODMA_BLK_ON_DISK_SEGMENTS_MAX;
	options->pieces_max = VIODMA_BLK_ON_DISK_PIECES_MAX;
	options->request_bytes_max = VIODMA_BLK_ON_DISK_REQUEST_BYTES_MAX;
}

bool viodma_blk_on_disk_look_again(struct viodma_blk_on_disk *device)
{
	if (!device->disk || !viodma_disk_look_again(device->disk))
		return false;
	for (struct viodma_blk_on_disk *half = device; half; half = half->next) {
		if (half != device)
			(void)viodma_disk_look_again(half->disk);
		(void)!viodma_blk_resize(&half->blk, viodma_disk_size_bytes(device->disk)); /* whole sectors, always */
	}
	if (device->backend)
		(void)viodma_vhost_user_config_changed(device->backend); /* who cannot be told finds out by itself */
	return true;
}

uint64_t viodma_blk_on_disk_capacity_bytes(const struct viodma_blk_on_disk *device)
{
	return device->blk.config.capacity_bytes;
}

void viodma_blk_on_disk_set_backend(struct viodma_blk_on_disk *device, struct viodma_vhost_user *backend)
{
	device->backend = backend;
}

const struct viodma_blk_statistics *viodma_blk_on_disk_statistics(struct viodma_blk_on_disk *device)
{
	struct viodma_blk_statistics *total = &device->total;

	*total = (struct viodma_blk_statistics){0};
	for (const struct viodma_blk_on_disk *half = device; half; half = half->next) {
		const struct viodma_blk_statistics *one = &half->blk.statistics;

		total->in += one->in;
		total->out += one->out;
		total->flush += one->flush;
		total->get_id += one->get_id;
		total->discard += one->discard;
		total->write_zeroes += one->write_zeroes;
		total->secure_erase += one->secure_erase;
		total->lifetime += one->lifetime;
		total->unsupported += one->unsupported;
		total->failed += one->failed;
		total->in_bytes += one->in_bytes;
		total->out_bytes += one->out_bytes;
	}
	return total;
}

unsigned viodma_blk_on_disk_in_flight(const struct viodma_blk_on_disk *device)
{
	unsigned in_flight = 0;

	for (const struct viodma_blk_on_disk *half = device; half; half = half->next)
		in_flight += half->disk ? viodma_disk_in_flight(half->disk) : 0;
	return in_flight;
}
