/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/device_blk.h - virtio-blk, device half (virtio 1.2, section 5.2): in, out, flush, get-id, discard, write-zeroes,
 * secure erase, lifetime; read-only, topology, the writeback switch, several queues. Not zoned: the feature is not offered.
 *
 * The disk behind it is the caller's: viodma_blk parses and checks requests and hands on plain operations: reads,
 * writes, flushes with the memory to use, and single ranges to discard, zero or erase. The caller answers each with
 * viodma_blk_complete, in any order; a request of several ranges is answered when all of them have ended.
 *
 * One viodma_blk serves queue_count queues, by their number (viodma_queue_config.index). A queue's segments_max must be
 * at least seg_max + 2 (header, status; more if a driver may split its header), its pieces_max at least
 * seg_max * (size_max / 4096 + 2) + 3: every page may lie elsewhere. A request that needs more is answered with IOERR.
 * Feature bits other than 0 to 23 are the caller's to offer and negotiate (viodma/feature.h).
 *
 * Over vhost-user queue_count is that of struct viodma_vhost_user_options: a request of a queue beyond it is answered with
 * IOERR. Several workers (viodma/vhost_user.h): a viodma_blk for each, all of the same configuration; set_accepted,
 * reset, write_config and resize are passed on to every one of them, and reading any one's configuration will do.
 *
 * The cache mode (writeback, section 5.2.6.2): writes are durable when they are answered, unless the driver accepted
 * FLUSH, and the mode is writeback. With CONFIG_WCE the driver switches it. A reset never makes writes less durable:
 * it takes back a switch to writeback, and keeps one to write-through. Both is allowed, and not every front end that
 * resets a device says so to the driver.
 *
 * A queue keeps that room for each of its descriptors: 128 of them take 5 MB with seg_max 126 and size_max 65536, but
 * 72 KiB with seg_max 4 and size_max 4096, with which a driver just sends more requests. Where translations are larger
 * than pages (bit 33 clear: whole regions), a segment is one piece for each region that it touches, and pieces_max can
 * be less: segments_max, if there is one region.
 *
 *	viodma_blk_process, as the process step of the loop in viodma/queue.h
 *	ops.submit -> the disk moves the bytes: viodma_blk_io_copy_out for a read, viodma_blk_io_copy_in for a write;
 *	              or in place, into or from viodma_blk_io_pieces, by an iovec
 *	viodma_blk_complete -> the request is pushed; then viodma_queue_call_needed
 *
 * Single owner, with its space and queues. Memory is the caller's. Units: bytes unless named sectors (512 bytes).
 */
#ifndef VIODMA_DEVICE_BLK_H
#define VIODMA_DEVICE_BLK_H

#include <viodma/queue.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIODMA_BLK_SERIAL_BYTES 20
#define VIODMA_BLK_CONFIG_BYTES 72

enum viodma_blk_operation {
	VIODMA_BLK_READ,
	VIODMA_BLK_WRITE,
	VIODMA_BLK_FLUSH,
	/* Of one range each: a request with several ranges is as many operations, all in flight at once. */
	VIODMA_BLK_DISCARD,
	VIODMA_BLK_WRITE_ZEROES,
	VIODMA_BLK_SECURE_ERASE
};

/* One operation the disk has to do. */
struct viodma_blk_io {
	enum viodma_blk_operation operation;
	bool durable;          /* write, write-zeroes: answer when it is durable */
	bool unmap;            /* write-zeroes: the disk may give the room back, if it reads as zeroes then */
	uint64_t offset_bytes; /* into the disk; a multiple of 512, and offset + len lies within the capacity */
	uint64_t len_bytes;    /* a multiple of 512, not 0; 0 for flush. More than 2^32 - 1 only for those without data */
	/*
	 * What it came as. Its memory is more than the operation's (a header comes first, a status last): use
	 * viodma_blk_io_pieces, _copy_in or _copy_out.
	 */
	struct viodma_request *request;
	void *user;            /* the disk's */
	/* ---- the library's: of a request's first operation ---- */
	uint32_t left;         /* operations of the request that have not ended */
	bool failed;           /* one of them did */
};

/* What GET_LIFETIME is answered with: as struct virtio_blk_lifetime (viodma/wire/blk.h) has them; reserved values: 0. */
struct viodma_blk_lifetime {
	uint16_t pre_eol_info, estimate_a, estimate_b;
};

struct viodma_blk_ops {
	/*
	 * Start one operation. Must not block for the disk. Answer later, or from within this call, with
	 * viodma_blk_complete. `io` is valid until then.
	 */
	void (*submit)(void *context, struct viodma_blk_io *io);
	/* A request was refused before it reached the disk (for the log). May be NULL. */
	void (*refused)(void *context, uint16_t head, enum viodma_result reason, const char *what);
	void *context;
	/* What is known of the storage's wear, at once. False: it could not be found out (IOERR). Needed for `lifetime`. */
	bool (*lifetime)(void *context, struct viodma_blk_lifetime *lifetime);
};

struct viodma_blk_config {
	uint64_t capacity_bytes; /* a multiple of 512 */
	uint32_t blk_size;       /* logical block: 512 or a power of two up to 65536; a hint to the driver */
	uint32_t seg_max;        /* data segments per request, at least 1 */
	uint32_t size_max;       /* bytes per segment, at least 4096 */
	bool read_only;
	char serial[VIODMA_BLK_SERIAL_BYTES]; /* padded with NUL, not terminated if full */
	uint16_t queue_count;     /* 0 or 1: one, and MQ is not offered */
	bool starts_write_through; /* the cache mode it starts in; FLUSH and CONFIG_WCE are offered always */
	/* TOPOLOGY: all 0: not offered. */
	uint8_t physical_block_exp; /* 2^n logical blocks are a physical one */
	uint8_t alignment_offset;   /* of the first aligned logical block */
	uint16_t min_io_blocks;     /* logical blocks, as the next; 0: not said */
	uint32_t opt_io_blocks;
	/*
	 * Each of these: max_sectors 0: not offered; nor is any on a read-only disk. Ranges of one request: max_ranges, 1 to
	 * VIODMA_BLK_RANGES_MAX.
	 */
	struct viodma_blk_range_limits {
		uint32_t max_sectors; /* of one range */
		uint32_t max_ranges;
		uint32_t alignment_sectors; /* a hint; not for write-zeroes */
	} discard, write_zeroes, secure_erase;
	bool write_zeroes_may_unmap;
	bool lifetime;             /* offered: ops.lifetime answers */
};
#define VIODMA_BLK_RANGES_MAX 64u

struct viodma_blk_statistics {
	uint64_t in, out, flush, get_id; /* requests the device has done; COPY mode may still fail to deliver */
	uint64_t discard, write_zeroes, secure_erase, lifetime;
	uint64_t unsupported, failed;    /* requests answered with UNSUPP, and with IOERR */
	uint64_t in_bytes, out_bytes;    /* of those done */
};

/* Members are the library's; read statistics only. */
struct viodma_blk {
	struct viodma_blk_config config;
	struct viodma_blk_ops ops;
	uint64_t accepted;
	bool writeback; /* the mode, as it was switched */
	struct viodma_blk_io *ios; /* by queue, head and range */
	uint32_t heads, ranges;    /* of one queue; of one head */
	struct viodma_blk_statistics statistics;
};

/*
 * Operations a request can be: the largest max_ranges of what is offered; 1, where nothing is that has ranges. ios: so
 * many for each descriptor of each of the queue_count queues at its largest, since they are found by the queue's number:
 * also where one of several workers has only some of the queues. VIODMA_E_INVALID: a member of config out of its range, or
 * fewer ios than one head of each queue needs.
 */
uint32_t viodma_blk_ios_per_head(const struct viodma_blk_config *config);
VIODMA_MUST_USE enum viodma_result viodma_blk_init(struct viodma_blk *blk, const struct viodma_blk_config *config,
						   const struct viodma_blk_ops *ops, struct viodma_blk_io *ios,
						   uint32_t io_count);

/* The device-specific feature bits to offer (0 to 23). */
uint64_t viodma_blk_features(const struct viodma_blk *blk);

/* The name of one device-specific feature bit ("VIRTIO_BLK_F_RO"), offered or not; NULL for others. */
const char *viodma_blk_feature_name(unsigned bit);

/* What the driver accepted (any bits; only those offered here are looked at), before the first request. */
void viodma_blk_set_accepted(struct viodma_blk *blk, uint64_t accepted);

/* Read the configuration space; bytes beyond it read as 0. */
void viodma_blk_read_config(const struct viodma_blk *blk, uint32_t offset, void *destination, uint32_t len_bytes);

/*
 * The driver writes it: the cache mode, one byte. VIODMA_E_INVALID: another place; nothing changes. Without CONFIG_WCE
 * accepted it is remembered, and has no effect: some front ends say what was accepted afterwards.
 */
VIODMA_MUST_USE enum viodma_result viodma_blk_write_config(struct viodma_blk *blk, uint32_t offset, const void *source,
							   uint32_t len_bytes);

/* The driver reset the device: the cache mode as above. Requests are the queue's. */
void viodma_blk_reset(struct viodma_blk *blk);

/*
 * The disk has another size now. VIODMA_E_INVALID: not a multiple of 512. The caller sees to the notification of the
 * driver; operations that were submitted go on as they are.
 */
VIODMA_MUST_USE enum viodma_result viodma_blk_resize(struct viodma_blk *blk, uint64_t capacity_bytes);

/*
 * Work on a queue: at most one queue-full of requests (DEV-17). VIODMA_OK: there may be more; call again soon. Else
 * what viodma_queue_pop answered: VIODMA_FAULT_STOPPED, for one, if it is not running.
 */
VIODMA_MUST_USE enum viodma_result viodma_blk_process(struct viodma_blk *blk, struct viodma_queue *queue);

/* The memory of one operation: up to capacity pieces from byte `offset` of its data. As viodma_request_pieces. */
VIODMA_MUST_USE enum viodma_result viodma_blk_io_pieces(const struct viodma_blk_io *io, uint32_t offset,
							uint32_t len_bytes, struct viodma_piece *pieces,
							uint32_t capacity, uint32_t *count);

/*
 * Copy an operation's data, from byte `offset` of it on: in, what a write brings; out, what a read is answered with.
 * VIODMA_E_INVALID: beyond its end, or not of that operation.
 */
VIODMA_MUST_USE enum viodma_result viodma_blk_io_copy_in(const struct viodma_blk_io *io, uint32_t offset,
							 void *destination, uint32_t len_bytes);
VIODMA_MUST_USE enum viodma_result viodma_blk_io_copy_out(const struct viodma_blk_io *io, uint32_t offset,
							  const void *source, uint32_t len_bytes);

/*
 * An operation ended. ok: all of it happened (and is durable, for flush and what is to be durable); nothing else has to
 * be stated. Not ok: the driver gets IOERR; a part of its memory may have been written. Once for each io, which is invalid
 * after. May be called from within submit; does not call submit.
 */
void viodma_blk_complete(struct viodma_blk *blk, struct viodma_blk_io *io, bool ok);

/* Before viodma_queue_stop: fail every request that could not be given back (viodma_queue_pop_held). */
void viodma_blk_fail_held(struct viodma_blk *blk, struct viodma_queue *queue);

#ifdef __cplusplus
}
#endif

#endif
