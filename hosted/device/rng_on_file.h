/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rng_on_file.h - a virtio entropy device half whose bytes come from a file: viodma/device_rng.h on one side, a device,
 * a FIFO or a file on the other, shaped as the operations viodma/vhost_user.h takes.
 *
 *	viodma_rng_on_file_new(&options, &device);
 *	viodma_rng_on_file_limits(&vhost_user_options);
 *	viodma_vhost_user_new(loop, &viodma_rng_on_file_ops, device, &vhost_user_options, &backend);
 *	viodma_rng_on_file_set_backend(device, backend);
 *
 * No byte is handed out twice. While there is none (the source is slow, has ended, or the period's bytes are used up)
 * requests stay in the ring; nothing waits for entropy with a request in hand.
 *
 * Single owner: the loop's thread (any one thread until the loop runs).
 */
#ifndef VIODMA_HOSTED_RNG_ON_FILE_H
#define VIODMA_HOSTED_RNG_ON_FILE_H

#include <viodma/device_rng.h>
#include <viodma/vhost_user.h>

#define VIODMA_RNG_ON_FILE_QUEUE_SIZE_MAX 256u
#define VIODMA_RNG_ON_FILE_SEGMENTS_MAX 64u
#define VIODMA_RNG_ON_FILE_PIECES_MAX (VIODMA_RNG_ON_FILE_SEGMENTS_MAX * 17u)
#define VIODMA_RNG_ON_FILE_REQUEST_BYTES_MAX (1u << 20)
#define VIODMA_RNG_ON_FILE_AHEAD_BYTES 16384u /* read ahead of requests; the most that one request gets */

struct viodma_rng_on_file;

struct viodma_rng_on_file_options {
	struct viodma_loop *loop;
	const char *path;
	uint32_t max_bytes; /* in each period; 0: no limit */
	uint32_t period_ms; /* at least 1 where max_bytes is not 0 */
	/* One line per event, without newline; from the loop's thread and from within _new. May be NULL. */
	void (*log)(void *context, const char *line);
	void *context;
};

/*
 * Open the source and start to read ahead, in a thread of its own: a source that is slow holds up nobody. A file that
 * ends is logged and has ended for good; a FIFO nobody writes to is looked at again, and again.
 * VIODMA_E_IO: it cannot be opened, or is a directory; VIODMA_E_INVALID: options; VIODMA_E_NO_MEMORY. Why is logged.
 */
VIODMA_MUST_USE enum viodma_result viodma_rng_on_file_new(const struct viodma_rng_on_file_options *options,
							  struct viodma_rng_on_file **device);

/*
 * Stop reading, wipe what was read ahead, free everything. VIODMA_E_BUSY: a read does not end yet; call again. NULL is
 * allowed.
 */
VIODMA_MUST_USE enum viodma_result viodma_rng_on_file_free(struct viodma_rng_on_file *device);

/* Fill in the members of the options that are about queues and requests. */
void viodma_rng_on_file_limits(struct viodma_vhost_user_options *options);

/* Whom to tell that there are bytes again; NULL: nobody (any more). */
void viodma_rng_on_file_set_backend(struct viodma_rng_on_file *device, struct viodma_vhost_user *backend);

const struct viodma_rng_statistics *viodma_rng_on_file_statistics(const struct viodma_rng_on_file *device);

/* For viodma_vhost_user_new; its `device` is a struct viodma_rng_on_file. */
extern const struct viodma_vhost_user_ops viodma_rng_on_file_ops;

#endif
