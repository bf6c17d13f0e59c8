/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/queue.h - a virtqueue, device half: split and packed rings (virtio 1.2, sections 2.7 and 2.8), with INDIRECT_DESC,
 * EVENT_IDX, IN_ORDER, RING_RESET, ORDER_PLATFORM and NOTIFICATION_DATA. A device cannot tell them apart.
 *
 * Every request goes the same way:
 *   FETCHED    its descriptors were read from the ring, once, into private memory, and checked
 *   PARKED     part of its memory is not translated yet: it holds nothing and waits; the queue goes on
 *   SUBMITTED  all of it is translated and pinned; viodma_queue_pop handed it to the device
 *   DONE       viodma_queue_push gave it back; the used ring is not reachable at the moment
 *   (pushed)   it is in the used ring, and the slot is free
 *
 * The driver is hostile: what it writes ends in a VIODMA_PEER_* result. A ring that lies about itself (DRV-10 to
 * DRV-16) stops (viodma_queue.broken) until it is started again; a buffer the device may not touch fails its own
 * request, and so does a request its device type refuses (DRV-18), unless there is no place for the answer.
 *
 * The loop around a queue, whatever brings kicks:
 *	on a kick:                      viodma_queue_kicked, then process
 *	when viodma_queue_has_work:     process (after updates, refusals, viodma_space_changed, completions)
 *	process:                        viodma_queue_pop until it answers anything but VIODMA_OK, at most setup.size
 *	                                times in a row; start what was popped
 *	when the device has finished:   viodma_request_write or _written, viodma_queue_push
 *	after pushes:                   if (viodma_queue_call_needed) interrupt the driver
 * viodma_queue_pop also finishes what waits as DONE. To stop: let the device finish, viodma_queue_stop.
 *
 * Permissions. Split: the descriptor table and available ring are only read, the used ring is only written. Packed: the
 * descriptor ring is read and written, driver event suppression only read, device event suppression only written.
 *
 * Single owner: one thread, the space's. Memory is the caller's; it stays until the queue was stopped or reset. Units: lengths are bytes, sizes are descriptors.
 *
 * Speed: what the structure, its memory and its space hold is written for each request. If the driver half is of the same
 * process, give all of them lines of their own, best pairs of lines (aligned to 128 bytes, and as long).
 */
#ifndef VIODMA_QUEUE_H
#define VIODMA_QUEUE_H

#include <viodma/iotlb.h>
#include <viodma/space.h>
#include <viodma/wire/ring.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viodma_queue;

enum viodma_request_state {
	VIODMA_REQUEST_FREE,
	VIODMA_REQUEST_FETCHED,
	VIODMA_REQUEST_PARKED,
	VIODMA_REQUEST_SUBMITTED,
	VIODMA_REQUEST_DONE
};

enum viodma_access_mode {
	/* Requests are used in place; a revocation waits for them. */
	VIODMA_ACCESS_PIN,
	/*
	 * Requests are copied: memory is used during memcpy only, and translated again at completion; a revocation
	 * never waits for the device.
	 */
	VIODMA_ACCESS_COPY
};

#define VIODMA_REQUEST_EXTENTS 4
#define VIODMA_REQUEST_TAIL_BYTES 4

/* One request. The device reads the members above the line. What every request needs comes first, in one cache line. */
struct viodma_request {
	struct viodma_queue *queue;
	uint32_t readable_bytes; /* device-readable, in total */
	uint32_t writable_bytes; /* device-writable, in total */
	void *user;              /* the device's; NULL when popped */
	enum viodma_result result; /* VIODMA_OK; else why the memory cannot be used as a whole: see viodma_queue_pop */
	uint8_t state;  /* enum viodma_request_state, the library's */
	bool pinned;    /* the library's: its memory is in use, if it is SUBMITTED */
	uint16_t count; /* the library's: entries of the ring it takes: split 1; packed: descriptors of the ring */
	uint16_t head;  /* unique among the queue's requests; below the queue size. Packed: the buffer id */
	/* ---- the library's ---- */
	uint16_t position; /* in the ring; packed: of its first descriptor, wrap counter in bit 15 */
	uint32_t sequence;
	struct viodma_segment *segments;
	struct viodma_piece *pieces;
	uint16_t segment_count, readable_segments; /* the second: how many of the first */
	bool walked, held, resumed;
	uint8_t indirect;
	uint32_t piece_count, readable_pieces; /* likewise */
	uint8_t extent_count;
	bool failing;
	uint8_t failure_bytes;
	uint8_t failure[VIODMA_REQUEST_TAIL_BYTES];
	uint16_t walk_next, walk_id;
	uint32_t walk_count;
	uint64_t waiting_pages, walk_bytes;
	uint32_t table_descriptors;
	uint32_t used_bytes;
	viodma_bus table;
	viodma_bus wait_bus;
	enum viodma_permission wait_permission;
	unsigned char *copy;
	struct {
		uint32_t offset, bytes;
	} extents[VIODMA_REQUEST_EXTENTS];
	struct viodma_request *next, *previous;
};

struct viodma_queue_config {
	struct viodma_space *space;
	void *memory;         /* at least viodma_queue_memory_bytes(config), aligned as for max_align_t; contents do not
				 matter. For an array: VIODMA_QUEUE_MEMORY_BYTES */
	size_t memory_bytes;
	unsigned index;       /* the queue's number, in reports */
	uint32_t size_max;    /* most descriptors a driver may ask for: a power of two, 1..32768 */
	uint32_t segments_max; /* most segments per request, 1..32768; longer chains fail with VIODMA_E_LIMIT */
	uint32_t pieces_max;  /* most translated pieces per request, at least segments_max; more fail likewise */
	enum viodma_access_mode access;
	/*
	 * COPY mode only: private memory for one request, freed when it is pushed. NULL back means "later": tried again
	 * when this queue frees some, or the space changes (viodma_space_changed, for memory freed elsewhere).
	 */
	void *(*copy_alloc)(void *context, size_t bytes);
	void (*copy_free)(void *context, void *memory, size_t bytes);
	void *copy_context;
	size_t copy_bytes_max; /* what copy_alloc can ever give for one request: more fails with VIODMA_E_LIMIT; 0: any */
	/* Kept as a pointer; NULL: none. Of a queue that is stopped it may be set, in queue->config. */
	const struct viodma_queue_record_ops *record;
	void *record_context;
};

/* A fresh packed ring's base: both positions 0, both wrap counters 1. A fresh split ring's is 0. */
#define VIODMA_QUEUE_PACKED_BASE 0x80008000u

/* What the driver set up. */
struct viodma_queue_setup {
	uint32_t size;      /* descriptors; split: a power of two */
	viodma_bus desc, avail, used; /* packed: descriptor ring, driver and device event suppression */
	/*
	 * Where it goes on. Split: the first available index to fetch, 16 bits; 0 for a fresh ring. Packed: the first
	 * available position in bits 0 to 14 and its wrap counter in bit 15, the same of the next used one in bits 16 to
	 * 31; VIODMA_QUEUE_PACKED_BASE for a fresh ring, of which 0 is not the base.
	 */
	uint32_t base;
	bool indirect_desc; /* accepted features, these */
	bool event_idx;
	bool packed;
	/*
	 * Completions reach the driver in the order in which requests came (DEV-23): one that is done early waits as DONE.
	 */
	bool in_order;
	bool order_platform; /* its barriers are needed, too (DRV-23) */
};

/*
 * A record of what is in flight that outlives this process: so that another one can go on where it was killed, and
 * nothing is lost or done twice that had been given back. vhost-user's in-flight region is one (viodma/vhost_user.h
 * keeps it).
 */
struct viodma_queue_chain {
	uint16_t id;    /* split: the head; packed: the buffer id */
	uint16_t count; /* packed: descriptors of the ring */
	const struct virtq_packed_desc *descriptors; /* packed: as they stood in the ring; read once. Split: NULL */
};

struct viodma_queue_record_ops {
	/*
	 * From viodma_queue_pop after each start, before anything else, until it answers VIODMA_OK: settle the record
	 * against the ring (viodma_queue_peek_index, _peek_used, whose VIODMA_WAIT and faults are its answers, too); list what
	 * is in flight, oldest first, at most setup.size; say where the ring goes on behind that (*base, which holds
	 * setup.base). VIODMA_PEER_RECORD breaks the queue. Chains are popped before any new one; what they point to
	 * stays until then. What the queue itself held since the last stop, it forgets: the record has it.
	 */
	enum viodma_result (*resume)(void *context, struct viodma_queue *queue, struct viodma_queue_chain *chains,
				     uint32_t *count, uint32_t *base);
	/* A chain was fetched, and is now in flight. Chains that resume listed are, already. */
	void (*taken)(void *context, const struct viodma_queue_chain *chain);
	/*
	 * Its used element is about to be written; then: the driver can see it. base: the next used index or position.
	 * Where the ring could not be reached after all, the same one or another is about to be written later.
	 */
	void (*returning)(void *context, uint16_t id);
	void (*returned)(void *context, uint16_t id, uint32_t base);
	/* viodma_queue_stop has wound back over it: the driver's again, as if it had not been fetched. */
	void (*given_back)(void *context, uint16_t id);
};

struct viodma_queue_statistics {
	uint64_t fetched, pushed, parked, failed, kicks_suppressed, calls_suppressed;
};

/* Members are the library's; read broken, running, submitted, parked, done, setup and statistics only. */
struct viodma_queue {
	struct viodma_queue_config config;
	struct viodma_queue_setup setup;
	bool running;
	enum viodma_result broken; /* VIODMA_OK, or the VIODMA_PEER_* that stopped the queue */
	uint32_t submitted, parked, done; /* requests in those states */
	struct viodma_queue_statistics statistics;
	/* ---- */
	/* The space's epoch in which nothing is out of the ordinary, and each part of the ring is where `desc` etc. say. */
	uint64_t calm_epoch;
	struct viodma_shared *desc, *avail, *used;
	uint32_t mask;        /* split: its size less 1 */
	uint32_t last_place;  /* packed: the size; 0 for 32768, which is no place, either */
	uint32_t unsignalled; /* entries of the ring used since viodma_queue_call_needed was asked last */
	uint32_t in_flight;   /* entries of the ring that requests take */
	uint32_t sequence;
	/* Split: 16-bit indices. Packed: a position in bits 0 to 14, its wrap counter in bit 15. */
	uint16_t next_avail, next_used, seen_avail, armed_at;
	struct viodma_request *requests; /* by head; one more behind them: a chain whose buffer id is not known yet */
	uint16_t *order;                 /* head by place in the ring; packed: at its first and last */
	struct viodma_space_window readable_window, writable_window; /* where buffers were found last */
	struct viodma_space_view readable_view, writable_view, table_view; /* the same for chains, and for tables */
	uint64_t windows_generation;
	uint32_t stopped_base;
	bool signalled_valid, pushed_any, armed_valid, stopped_valid, no_notify, polled;
	bool is_known;                   /* `known` is the descriptor that the walk goes on with, as it stood there */
	struct virtq_packed_desc first;  /* packed: of the chain that is being fetched */
	viodma_le64 known[2];
	struct virtq_packed_desc *raw;   /* a chain as it stood in a packed ring, for the record; or the ones resumed */
	struct viodma_queue_chain *resumed;
	const struct viodma_queue_chain *resuming; /* the one that is being fetched */
	uint32_t resume_next, resume_count;
	bool resume_due;
	struct viodma_request *parked_first, *parked_last, *done_first, *done_last;
	struct viodma_request *cursor;
	uint64_t scanned_epoch, done_epoch;
	bool room_wanted, rescan;
	viodma_bus ring_wait_bus;
	enum viodma_permission ring_wait_permission;
	bool ring_waits, ring_faulted;
	enum viodma_space_kind started_kind;
	uint64_t ring_wait_epoch;
	struct viodma_space_user user; /* the space's: whose requests it may have to wait for */
	uint32_t asked;                /* the head that a revocation was found to wait for last */
	struct viodma_space_part desc_part, avail_part, used_part, used_desc_part;
	struct viodma_space_cache desc_cache, avail_cache, used_cache, buffer_cache, table_cache, used_desc_cache;
};

/* At least that many bytes, as a constant. */
#define VIODMA_QUEUE_MEMORY_BYTES(size_max, segments_max, pieces_max)                                                 \
	((size_t)(size_max) * (sizeof(uint16_t) + sizeof(struct virtq_packed_desc) +                                  \
			       (pieces_max) * sizeof(struct viodma_piece)) +                                          \
	 ((size_t)(size_max) + 1) * (sizeof(struct viodma_request) + (segments_max) * sizeof(struct viodma_segment)) + \
	 80)

/* Bytes of memory a queue of this configuration needs; 0 if a limit is out of range. `memory*` are not looked at. */
size_t viodma_queue_memory_bytes(const struct viodma_queue_config *config);

/* Make a stopped queue. VIODMA_E_INVALID: a limit out of range, memory too small or misaligned. config is copied. */
VIODMA_MUST_USE enum viodma_result viodma_queue_init(struct viodma_queue *queue,
						     const struct viodma_queue_config *config);

/*
 * Start it. From now on the space knows of it, until it is stopped or reset: before its memory, or the space, goes away.
 * Requests held over from the last stop go on if setup and the space's kind are what they were and base is
 * what viodma_queue_stop answered; otherwise they are dropped and *dropped (may be NULL) says how many.
 * VIODMA_PEER_RING_LAYOUT: size or alignment is wrong (DRV-17). VIODMA_PEER_ADDRESS_WRAP. VIODMA_E_BUSY: running, or
 * requests are submitted.
 */
VIODMA_MUST_USE enum viodma_result viodma_queue_start(struct viodma_queue *queue,
						      const struct viodma_queue_setup *setup, uint32_t *dropped);

/*
 * The next request the device can work on: one that was parked and now can go on, else a new one from the ring.
 *   VIODMA_OK     *request is the device's until it is pushed or rejected. If request->result is not VIODMA_OK, its
 *                 memory may not be used (a fault, or a limit): the device must call viodma_queue_reject.
 *   VIODMA_EMPTY  nothing more; the driver's next kick has been asked for, unless the queue is polled
 *   VIODMA_WAIT   the ring itself is not translated yet; call again when the space changed
 *   VIODMA_FAULT_* the ring itself is out of reach; reported; call again at the next kick or when the space changed
 *                 (until then VIODMA_WAIT)
 *   VIODMA_PEER_* the ring broke a requirement: the queue is broken until it is started again
 *   VIODMA_FAULT_STOPPED not running
 */
VIODMA_MUST_USE enum viodma_result viodma_queue_pop(struct viodma_queue *queue, struct viodma_request **request);

/*
 * Copy from the device-readable / to the device-writable part of a popped request, starting `offset` bytes in.
 * VIODMA_E_INVALID: beyond the end, or request->result is not VIODMA_OK (so a device may check just this answer). Each
 * byte may be read several times by calling several times: copy once, then parse the copy (DEV-11).
 */
VIODMA_MUST_USE enum viodma_result viodma_request_read(struct viodma_request *request, uint32_t offset,
						       void *destination, uint32_t len_bytes);
VIODMA_MUST_USE enum viodma_result viodma_request_write(struct viodma_request *request, uint32_t offset,
							const void *source, uint32_t len_bytes);

/*
 * The memory of one range of the device-readable (VIODMA_READ) or device-writable (VIODMA_WRITE) part, for I/O in
 * place: up to `capacity` pieces, *count in use. Valid until the request is pushed. VIODMA_E_INVALID: beyond the end.
 * VIODMA_E_LIMIT: more pieces than capacity.
 * What is then written must be stated with viodma_request_written before the push.
 */
VIODMA_MUST_USE enum viodma_result viodma_request_pieces(struct viodma_request *request,
							 enum viodma_permission part, uint32_t offset,
							 uint32_t len_bytes, struct viodma_piece *pieces,
							 uint32_t capacity, uint32_t *count);

/* The device wrote `len_bytes` at `offset` of the writable part through pieces. COPY mode copies out just that. */
VIODMA_MUST_USE enum viodma_result viodma_request_written(struct viodma_request *request, uint32_t offset,
							  uint32_t len_bytes);

/*
 * What the driver is to see at the end of the writable part (a status, say; at most VIODMA_REQUEST_TAIL_BYTES) if, in
 * COPY mode, its memory is withdrawn before what the device wrote could be delivered. Without it the queue breaks then.
 */
void viodma_request_set_failure(struct viodma_request *request, const void *tail, uint32_t tail_bytes);

/*
 * Give a request back: the driver sees `used_bytes` written, at most writable_bytes (DEV-16). Never fails: if the used
 * ring is out of reach it waits as DONE. The request is the library's again.
 */
void viodma_queue_push(struct viodma_queue *queue, struct viodma_request *request, uint32_t used_bytes);

/*
 * Give a request back as failed: the last tail_bytes of the writable part are set to tail (a status byte, say), if
 * they alone can be reached. tail_bytes 0, for device types without a status: the driver sees a used length of 0.
 * The answer may be ignored: it only says what became of the request.
 *   VIODMA_OK    pushed
 *   VIODMA_MISS  not reachable yet: the request is parked, and popped again with the same result
 *   VIODMA_PEER_UNREACHABLE, VIODMA_PEER_REQUEST
 *                not reachable, or no such bytes: the driver cannot be told. The queue is broken, so that the driver does
 *                not take what lies in the status for an answer
 */
enum viodma_result viodma_queue_reject(struct viodma_queue *queue, struct viodma_request *request, const void *tail,
				       uint32_t tail_bytes);

/*
 * Should the driver be called (interrupted) for what was pushed since the last time this was asked? False on a queue
 * that is stopped: ask before viodma_queue_stop. What waited as DONE may be pushed by that one yet: if
 * statistics.pushed has grown over it, call the driver.
 */
bool viodma_queue_call_needed(struct viodma_queue *queue);

/* Is there reason to call viodma_queue_pop although no kick came: the space changed, or completions wait? */
bool viodma_queue_has_work(const struct viodma_queue *queue);

/* A kick came. Call it before viodma_queue_pop: a ring that was out of reach is tried again only then. */
void viodma_queue_kicked(struct viodma_queue *queue);

/*
 * Give the driver what waits as DONE, if the used ring can be reached now. viodma_queue_pop does it first; this is for a
 * device that has nothing to serve requests with at the moment, and so does not pop.
 */
void viodma_queue_settle(struct viodma_queue *queue);

/*
 * Polled: viodma_queue_pop declines kicks and does not ask for one when it finds nothing, because the caller looks again
 * by itself. Before it sleeps: not polled, and pop once more, which asks. A start ends it.
 */
void viodma_queue_set_polled(struct viodma_queue *queue, bool polled);

/*
 * The same as viodma_queue_kicked with VIRTIO_F_NOTIFICATION_DATA: the 32 bits that came with it. False: they name
 * another queue, or a position this ring does not have; it is a kick all the same, for what they say is a hint.
 */
bool viodma_queue_kicked_at(struct viodma_queue *queue, uint32_t data);

/*
 * For viodma_queue_record_ops.resume. Split: the index in the used ring. Packed: has the device used the descriptor at
 * that position, in the lap of this wrap counter? Yes unless it is available still, in that lap (AVAIL equals wrap, USED
 * does not): a driver that saw it used may have made it available again for the lap after. VIODMA_WAIT, VIODMA_FAULT_*: the
 * ring is not reachable (yet).
 */
VIODMA_MUST_USE enum viodma_result viodma_queue_peek_index(struct viodma_queue *queue, uint16_t *index);
VIODMA_MUST_USE enum viodma_result viodma_queue_peek_used(struct viodma_queue *queue, uint16_t position, bool wrap,
							  bool *used);

/*
 * Stop it (DEV-14, DEV-18); one that is stopped answers the same base again. VIODMA_E_BUSY while requests are
 * submitted. Otherwise the requests fetched last that are parked are given back by winding *base back; parked ones
 * before a completed one, and completions the used ring could not take, are held for viodma_queue_start. After
 * VIODMA_OK the ring is not touched any more. To fail rather than hold them: pop them with viodma_queue_pop_held and
 * reject them before stopping.
 */
VIODMA_MUST_USE enum viodma_result viodma_queue_stop(struct viodma_queue *queue, uint32_t *base);

/*
 * Before a stop: the next parked request that cannot be given back because a later one has completed; its result says
 * VIODMA_FAULT_STOPPED. VIODMA_EMPTY: none left, or none that can be failed. A rejection that answers VIODMA_MISS
 * holds it.
 */
VIODMA_MUST_USE enum viodma_result viodma_queue_pop_held(struct viodma_queue *queue, struct viodma_request **request);

/* The driver reset the device: forget everything, held requests too. Pre: nothing submitted. */
void viodma_queue_reset(struct viodma_queue *queue);

#ifdef __cplusplus
}
#endif

#endif
