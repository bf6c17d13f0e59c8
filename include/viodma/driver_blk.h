/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/driver_blk.h - virtio-blk, driver half (virtio 1.2, section 5.2): read, write, flush, get-id, discard,
 * write-zeroes, secure erase, lifetime, the writeback switch; asynchronous, over several queues.
 *
 * A request of any length is split by what the device states (seg_max, size_max), by what one mapping holds
 * (viodma_domain_limits), and by the ring; the parts are in flight at once, over all queues. When the pool or the ring
 * is full a part waits, and goes on after the next completion; requests are sent in the order they came in. When
 * nothing is in flight and there is still no room, smaller parts are tried; if not even 512 bytes get through, the
 * request ends with VIODMA_E_EXHAUSTED. Headers and status bytes live in ring memory, so a steady state maps nothing but data.
 *
 * A sector is not divided: a request ends with VIODMA_E_LIMIT where 512 bytes of it lie in more buffers than one mapping
 * takes (buffers_max of struct viodma_limits: where it bounces, a quarter of the pool's slots, an eighth where the platform
 * has granules, and 1 if those are fewer than 16), or need more segments than the device takes.
 *
 * A flush covers the writes whose `done` was called before it was submitted, no others. Where the device has no flush
 * (it did not offer it, or it was not wanted) writes are durable when they are done, and a flush ends at once.
 *
 * What a read brought is trusted as far as the used length goes, whatever the status says: a device that answers OK and
 * states fewer bytes than were asked for has not answered (VIODMA_PEER_ANSWER). The first error of
 * its parts is the request's, once all that were sent have ended; memory that could not be taken back comes before all.
 *
 *	viodma_driver_negotiate with viodma_driver_blk_wanted(); domain; queues
 *	viodma_driver_blk_init, viodma_driver_ready
 *	viodma_driver_blk_submit; then, when called or the time of viodma_driver_blk_next_deadline has come:
 *	viodma_driver_blk_poll, which calls request->done for what has ended
 *	viodma_driver_reset; viodma_driver_blk_stop: what had not ended ends with VIODMA_E_RESET, or can be taken over
 *	viodma_driver_blk_free, viodma_driver_queue_free, viodma_domain_free
 *
 * Deadlines are the caller's, in its own clock. A request that passes it does not end, for the device may still write
 * into its memory: viodma_driver_blk_poll answers VIODMA_PEER_SILENT, and the caller resets the device.
 *
 * Single owner: the domain's. Memory is the caller's. Units: bytes; sectors of 512 bytes; nanoseconds.
 */
#ifndef VIODMA_DRIVER_BLK_H
#define VIODMA_DRIVER_BLK_H

#include <viodma/driver.h>
#include <viodma/driver_queue.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIODMA_DRIVER_BLK_QUEUES_MAX 16
#define VIODMA_DRIVER_BLK_ID_BYTES 20

struct viodma_driver_blk;

enum viodma_driver_blk_operation {
	VIODMA_DRIVER_BLK_READ,
	VIODMA_DRIVER_BLK_WRITE,
	VIODMA_DRIVER_BLK_FLUSH,
	/* One buffer of VIODMA_DRIVER_BLK_ID_BYTES; what the device leaves out keeps its bytes. */
	VIODMA_DRIVER_BLK_GET_ID,
	/*
	 * `sectors` from `sector` on, any number: split into ranges by what the device states. No buffers. Where the device
	 * has no such feature: VIODMA_E_UNSUPPORTED from submit. One that failed may have happened in part.
	 */
	VIODMA_DRIVER_BLK_DISCARD,
	VIODMA_DRIVER_BLK_WRITE_ZEROES, /* with `unmap`: the device may give the room back */
	VIODMA_DRIVER_BLK_SECURE_ERASE,
	/* One buffer of VIODMA_DRIVER_BLK_LIFETIME_BYTES: struct virtio_blk_lifetime (viodma/wire/blk.h). */
	VIODMA_DRIVER_BLK_GET_LIFETIME
};
#define VIODMA_DRIVER_BLK_LIFETIME_BYTES 6

/* One request: the caller's memory, and its buffers' too, from submit to done. Set the members above the line. */
struct viodma_driver_blk_request {
	enum viodma_driver_blk_operation operation;
	uint64_t sector;
	const struct viodma_buffer *buffers; /* together a multiple of 512 bytes, not 0; none for FLUSH and those by range */
	uint32_t buffer_count;
	uint64_t sectors; /* those by range */
	bool unmap;
	uint64_t deadline_ns; /* UINT64_MAX: none */
	/*
	 * It ended: VIODMA_OK; VIODMA_E_IO: the device answered IOERR; VIODMA_E_UNSUPPORTED: UNSUPP;
	 * VIODMA_PEER_ANSWER: a status no device answers, or none, or too few bytes; VIODMA_E_EXHAUSTED: see above;
	 * VIODMA_E_LIMIT, _UNREACHABLE, _INVALID, _IO, _QUARANTINED: see viodma_domain_map, _unmap; what
	 * viodma_driver_blk_stop was given. May submit again, and call nothing else of this driver: not _poll, not _stop.
	 */
	void (*done)(void *context, struct viodma_driver_blk_request *request, enum viodma_result result);
	void *context;
	/* ---- */
	uint64_t len_bytes, next_byte, next_sector; /* the last one, of those by range: so many sectors are sent */
	uint32_t next_buffer, next_offset, parts_out;
	enum viodma_result result;
	bool sending; /* there is something to send yet */
	struct viodma_driver_blk_request *next, *previous;
};

/* The library's: one part in flight. */
struct viodma_driver_blk_part {
	struct viodma_driver_blk_request *request; /* NULL: none */
	struct viodma_mapping mapping;
	struct viodma_buffer *buffers;   /* segments_max of them */
	struct viodma_segment *segments; /* segments_max + 2: header, data, status */
	struct viodma_segment *uncut;    /* segments_max: what was mapped, where the device wants shorter ones */
	uint32_t len_bytes;
	uint64_t sectors;                /* of ranges */
	uint32_t number;
	uint32_t next;
};

struct viodma_driver_blk_config {
	struct viodma_driver *driver;       /* negotiated */
	struct viodma_domain *domain;
	/*
	 * Initialised, and enabled before DRIVER_OK. Indirect tables, where there are any, of segments_max + 2
	 * descriptors (header, data, status): more are never used, fewer lower the data segments of a part. One table
	 * for each part that is in flight in the queue.
	 */
	struct viodma_driver_queue *queues[VIODMA_DRIVER_BLK_QUEUES_MAX];
	uint32_t queue_count;
	uint32_t parts;                     /* most parts in flight, over all queues; 1 to 32768 */
	/*
	 * Data segments per part, at most; the device, the domain and the queues lower it. Any number does from
	 * segments_per_buffer of viodma_domain_limits on: it only says how large parts may be. b bytes in n buffers
	 * are one part if n * segments_per_buffer + b / segment_grain_bytes segments are allowed, more where size_max
	 * cuts them.
	 */
	uint32_t segments_max;
	void *storage;         /* VIODMA_DRIVER_BLK_STORAGE_BYTES(parts, segments_max), aligned as for max_align_t */
	size_t storage_bytes;
};

#define VIODMA_DRIVER_BLK_STORAGE_BYTES(parts, segments_max)                                                          \
	((size_t)(parts) * (sizeof(struct viodma_driver_blk_part) +                                                   \
			    (size_t)(segments_max) * sizeof(struct viodma_buffer) +                                   \
			    (2 * (size_t)(segments_max) + 2) * sizeof(struct viodma_segment)) +                        \
	 64)

struct viodma_driver_blk_statistics {
	uint64_t requests, parts; /* ended; made available */
	uint64_t waited;          /* parts that found the pool, the address space or the ring full */
	uint64_t read_bytes, written_bytes;
	uint64_t failed;
};

/* What the device states of an operation by range. max_sectors 0: it has none. */
struct viodma_driver_blk_ranges {
	uint32_t max_sectors, max_ranges; /* of one range; of one request */
	uint32_t alignment_sectors;       /* where ranges are best cut; 0, 1: anywhere */
};

/* Members are the library's; read those above the line. */
struct viodma_driver_blk {
	uint64_t capacity_sectors;
	uint32_t blk_size;      /* logical block, bytes */
	uint32_t seg_max, size_max; /* as used: the device's, lowered by the domain and config; data segments, bytes */
	uint64_t part_bytes_max; /* largest part, if it is one buffer; of several it may take less */
	uint16_t device_queues; /* what the device has; 1 without MQ */
	bool read_only, flush, lifetime;
	bool writeback;         /* the cache mode: writes are durable after a flush only; else when they are done */
	bool may_switch;        /* it can be set */
	struct viodma_driver_blk_ranges discard, write_zeroes, secure_erase;
	bool may_unmap;         /* what is zeroed with `unmap` may give its room back */
	struct viodma_driver_blk_topology {
		uint8_t physical_block_exp; /* 2^n logical blocks are a physical one */
		uint8_t alignment_offset;   /* the first aligned logical block */
		uint16_t min_io_blocks;     /* logical blocks, as the next; 0: not said */
		uint32_t opt_io_blocks;
	} topology;
	struct viodma_driver_blk_statistics statistics;
	/* ---- */
	struct viodma_driver_blk_config config;
	struct viodma_driver_blk_part *parts;
	uint32_t part_free, parts_out, next_queue;
	uint32_t header_bytes, status_bytes; /* from one part's to the next one's */
	uint32_t ranges_at, ranges_max;      /* behind a header: bytes to the list of ranges; how many it takes */
	bool ranges_joined;                  /* header and list are one segment */
	uint32_t per_buffer, buffers_max;    /* see struct viodma_limits */
	uint64_t grain_bytes;                /* so many bytes may need one segment more, or two of them */
	bool grain_twice, grain_whole, cuts;
	bool waiting;                        /* for a completion, to make room */
	bool stopped, polled;
	uint64_t deadline_ns;                /* none is earlier */
	struct viodma_dma_memory headers, statuses;
	struct viodma_driver_blk_request *first, *last; /* submitted, with something to send yet */
	struct viodma_driver_blk_request *out_first, *out_last; /* all of it sent */
};

/* The feature bits this driver can use (device type and ring): for viodma_driver_negotiate. Any may be left out. */
uint64_t viodma_driver_blk_wanted(void);

/*
 * How many queues the device has: before DRIVER_OK, to decide how many to set up. 1 without MQ. VIODMA_PEER_ANSWER: it
 * says 0. Results of the transport.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_blk_queues(struct viodma_driver *driver, uint16_t *queues);

/*
 * Read and check the configuration, allocate headers and status bytes. VIODMA_E_INVALID: config out of range.
 * VIODMA_PEER_ANSWER: a configuration value out of its range (seg_max 0, blk_size no power of two, ...); a
 * size_max of 0 is none, because devices in use say so.
 * VIODMA_E_LIMIT: a mapping cannot hold even 512 bytes. Results of viodma_domain_alloc and of the transport.
 * They take two stretches of the pool that rings are from, in whole slots: for each of `parts` a status of 64 bytes, and a
 * header of 16, with 16 more for each range that a request can have.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_blk_init(struct viodma_driver_blk *blk,
							  const struct viodma_driver_blk_config *config);

/*
 * Take a request: `done` will be called once, from viodma_driver_blk_poll or _stop. VIODMA_E_INVALID: lengths, or
 * sectors beyond the end, or none. VIODMA_E_UNSUPPORTED: a write to a read-only disk, or what the device has no feature
 * for. VIODMA_E_RESET: stopped. Then it is not taken.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_blk_submit(struct viodma_driver_blk *blk,
							    struct viodma_driver_blk_request *request);

/*
 * Switch the cache mode. What was done before is not made durable by that: flush. VIODMA_E_UNSUPPORTED: the device has no
 * such switch, or the transport cannot write. VIODMA_PEER_ANSWER: it was not switched. Results of the transport.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_blk_set_writeback(struct viodma_driver_blk *blk, bool writeback);

/*
 * The device has said that its configuration changed: read the capacity again. Requests in flight go on. VIODMA_PEER_ANSWER,
 * results of the transport: as viodma_driver_blk_init; the capacity is what it was.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_blk_look_again(struct viodma_driver_blk *blk);

/*
 * Send what can be sent, take in what has come back, kick where needed. now_ns: in the clock of deadlines. VIODMA_OK: a
 * request has ended (done was called), or there may be more at once: look, then call again. VIODMA_EMPTY: neither;
 * nothing to do before the next call (interrupt) or deadline. VIODMA_PEER_SILENT: a deadline has passed; other
 * VIODMA_PEER_*: the device broke a rule. Both: reset it.
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_blk_poll(struct viodma_driver_blk *blk, uint64_t now_ns);

/*
 * Polled: viodma_driver_blk_poll does not ask the device to call when it has nothing, because the caller polls again by
 * itself. Before it sleeps: not polled, and poll once more, which asks.
 */
void viodma_driver_blk_set_polled(struct viodma_driver_blk *blk, bool polled);

/* The earliest deadline of what was submitted; UINT64_MAX: none. O(requests). */
uint64_t viodma_driver_blk_next_deadline(const struct viodma_driver_blk *blk);

/*
 * The device was reset, and touches memory no more (or its queues never ran): every request that has not ended ends
 * with `result` (VIODMA_E_RESET, say). Nothing is left mapped. What a device had done of it is not known: reads and
 * writes may be submitted again as they are. Memory that could not be taken back: VIODMA_E_QUARANTINED as the request's
 * result.
 */
void viodma_driver_blk_stop(struct viodma_driver_blk *blk, enum viodma_result result);

/*
 * Release headers and status bytes. Pre: stopped, or nothing submitted: else VIODMA_E_BUSY. VIODMA_E_QUARANTINED.
 * VIODMA_PEER_LATE_WRITE: the device wrote a status after its reset (released nevertheless).
 */
VIODMA_MUST_USE enum viodma_result viodma_driver_blk_free(struct viodma_driver_blk *blk);

#ifdef __cplusplus
}
#endif

#endif
