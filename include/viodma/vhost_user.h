/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/vhost_user.h - a vhost-user back end around any device half: one structure of operations makes a device.
 *
 * The library speaks the protocol (vhost-user's document), owns the space, the IOTLB and the queues, and calls the
 * device when a queue has requests. Front ends connect one at a time and may reconnect. What a front end does wrong
 * ends its connection with a log line that names the message and the requirement; never the process.
 *
 * Restarts: INFLIGHT_SHMFD is offered: the front end keeps a record of what is in flight, and a successor at the same
 * socket path goes on with it by itself. The device needs nothing for it, but a request may be done twice, and what the
 * device keeps (data, cache mode) has to outlive its process. Packed rings are offered, too, and are the library's.
 *
 * Single owner: the loop's thread (viodma/loop.h); while the loop does not run, whoever owns it.
 *
 * Several workers (viodma_vhost_user_options.workers): the loop's thread keeps the socket and its messages; queue i is
 * served by thread i % workers, with a loop, a space and a device half of its own, so that nothing of viodma/queue.h has
 * two owners. Each worker has a lock, which it holds while it does anything at all, and gives back in each round of its
 * loop; the loop's thread holds all of them while it deals with a message, calls an operation, or runs a function of this
 * header. So, of the operations below, a worker's thread calls `process` with its own lock held, and everything else is
 * called while no worker does anything. `process` and `fail_held` are given a half; features, accepted, configuration and
 * reset are not per half: they are given the `device` of viodma_vhost_user_new, which passes on what every half has to
 * know. Once viodma_loop_run has returned, workers go on until viodma_vhost_user_free: hold them before their halves are
 * read (viodma_vhost_user_hold).
 */
#ifndef VIODMA_VHOST_USER_H
#define VIODMA_VHOST_USER_H

#include <viodma/feature.h>
#include <viodma/iotlb.h>
#include <viodma/loop.h>
#include <viodma/poller.h>
#include <viodma/queue.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viodma_vhost_user;

/*
 * A device. `device` is what was given to viodma_vhost_user_new. All calls come from the back end's thread, but those of
 * several workers (above). `process` has to be there; each other member may be NULL, and what then is said with it. The
 * structure is copied.
 */
struct viodma_vhost_user_ops {
	/*
	 * Device-specific feature bits (0 to 23) to offer; asked once, in viodma_vhost_user_new. Device-independent ones
	 * are the library's. NULL: none.
	 */
	uint64_t (*features)(void *device);
	/* The name of one of those bits, for the log, or NULL. NULL: the log has its number. */
	const char *(*feature_name)(void *device, unsigned bit);
	/* What the driver accepted; before the first request, and again after each negotiation. NULL: not told. */
	void (*accepted)(void *device, uint64_t features);
	/*
	 * Configuration space: offset + len_bytes is at most 256. Anything but VIODMA_OK fails the front end's message.
	 * read_config NULL: the device has none, and the protocol feature CONFIG is not offered, whatever write_config
	 * is. write_config NULL: nothing may be written.
	 */
	enum viodma_result (*read_config)(void *device, uint32_t offset, void *destination, uint32_t len_bytes);
	enum viodma_result (*write_config)(void *device, uint32_t offset, const void *source, uint32_t len_bytes);
	/* The driver reset the device (SET_STATUS 0, RESET_DEVICE): forget what it had switched. NULL: nothing to forget. */
	void (*reset)(void *device);
	/*
	 * There may be requests: pop, and push or reject (viodma/queue.h), until viodma_queue_pop answers something else
	 * than VIODMA_OK, and answer that. A queue never holds more requests than its size, but a driver that adds while
	 * you work can keep you here: a device that serves requests at once counts, and after setup.size of them answers
	 * VIODMA_OK, which means: call again soon, after everybody else's turn.
	 * Requests may be kept (each knows its queue: request->queue, valid until it is pushed or rejected), and be pushed
	 * or rejected later from the same thread; then call viodma_vhost_user_completed. A device that is full
	 * stops popping and answers VIODMA_EMPTY: viodma_vhost_user_completed makes the library call it again.
	 */
	enum viodma_result (*process)(void *device, struct viodma_queue *queue);
	/*
	 * The front end stops the queue (GET_VRING_BASE) and no request is with the device any more: fail what
	 * viodma_queue_pop_held answers, requests whose memory is not translated and which cannot be given back because
	 * later ones have completed. NULL: they are held, and go on if the ring is started again as it was. Not called
	 * for a reset or the end of the connection, which forget them.
	 */
	void (*fail_held)(void *device, struct viodma_queue *queue);
	/*
	 * Several workers: within viodma_vhost_user_new, on its thread, for each of them from 0 on; anything but
	 * VIODMA_OK is its answer then, and halves that had begun end. *half is what `process` and
	 * `fail_held` get as their `device` for its queues. It watches its descriptors in `loop`, which is the worker's: its
	 * callbacks come from the worker's thread, with its lock. NULL: this device has no more than one worker.
	 */
	enum viodma_result (*worker_begins)(void *device, unsigned worker, struct viodma_loop *loop, void **half);
	/*
	 * Its thread has ended, and its loop ends now: unwatch. On the thread of viodma_vhost_user_free (or _new), for each
	 * half, once; no request is with any.
	 */
	void (*worker_ends)(void *half);
};

/*
 * Zero it, then set what differs from the default, and one of socket_path and socket_fd. Strings and `events` are
 * copied as pointers: keep them alive. What is out of range is refused, and the log names it.
 */
struct viodma_vhost_user_options {
	const char *name; /* in log lines; default "device" */
	/* Listen here. A socket nobody listens on is replaced; any other file is not. NULL: socket_fd is used. */
	const char *socket_path;
	/*
	 * A Unix stream socket, listening or connected; the back end's once the call has succeeded. Not 0: that is what
	 * a forgotten option looks like.
	 */
	int socket_fd;
	/* Zeroed it is VIODMA_PLATFORM_DMA_OFF: bit 33 is not offered, and the device reaches all memory handed over. */
	enum viodma_platform_dma platform_dma;
	/*
	 * See struct viodma_negotiation: 0, or 24 to 63 and of no meaning yet, neither to viodma_feature_name nor to
	 * vhost-user (26, 30).
	 */
	unsigned platform_dma_bit;
	unsigned queue_count;    /* 1 to 256; default 1. What the device's configuration says (MQ) has to be the same */
	/*
	 * Threads that serve the queues, 1 to 64; default 1, which is the loop's own. From 2 on that many besides it.
	 * More than there are queues are not started. They block all signals that can be blocked. What a worker needs
	 * is its own: its share of the mappings remembered (in addition to iotlb_entries), and in COPY mode copies.
	 */
	unsigned workers;
	/*
	 * Feature bits of rings (viodma/feature.h) to offer besides VERSION_1, INDIRECT_DESC, EVENT_IDX, RING_PACKED and
	 * RING_RESET, which are: IN_ORDER and ORDER_PLATFORM; and of all those, which not to offer. Packed or split: the
	 * device sees no difference. (NOTIFICATION_DATA cannot go over vhost-user.)
	 */
	uint64_t ring_features_also, ring_features_masked;
	uint64_t protocol_features_masked; /* VHOST_USER_PROTOCOL_F_* not to offer, a bit each: for tests */
	/*
	 * Poll: after a ring had work, look at it again and again for so long before sleeping until the next kick; kicks are
	 * not wanted meanwhile. 0: sleep at once. VIODMA_POLL_AUTO (viodma/poller.h): after a request was given back, for as
	 * long as that pays.
	 */
	uint32_t poll_us;
	uint32_t queue_size_max; /* descriptors; a power of two, 1 to 32768; default 1024 */
	uint32_t segments_max;   /* per request, 1 to 32768; default queue_size_max */
	uint32_t pieces_max;     /* per request, at least segments_max; default 4 * segments_max */
	uint64_t request_bytes_max; /* largest request, for the IOTLB's least capacity; default 4 MiB */
	/* COPY: the library allocates the copies, at most 64 MiB at once (each worker); requests that find no room wait. */
	enum viodma_access_mode access;
	/* Default 65536. At least viodma_iotlb_least_capacity; not looked at with VIODMA_PLATFORM_DMA_OFF. */
	uint32_t iotlb_entries;
	uint32_t revoke_timeout_ms; /* default 10000: then the device stops and the revocation fails (DEV-13) */
	/*
	 * A line for each event, whole ("viodma: NAME: ..."), without newline. Of what a front end or driver causes without
	 * losing its connection 32 a second are, and as many of rings that start and stop; a later line says how many were
	 * left out. From the back end's thread, and from within
	 * viodma_vhost_user_new and _free; with several workers from theirs, too, one line at a time. It may not call
	 * functions of this back end. Default: none.
	 */
	void (*log)(void *context, const char *line);
	/*
	 * What the space tells (viodma/space.h), for a trace; with events->context, not the one below. Rules as for log; but
	 * several workers tell of what they touch at the same time. A grant is told before anybody touches it, a revocation
	 * after the last.
	 */
	const struct viodma_space_events *events;
	/* A ring started / stopped (start true / false). Rules as for log. */
	void (*ring)(void *context, unsigned queue, const struct viodma_queue_setup *setup, bool start);
	void *context; /* of log and ring */
};

/* Faults kept for reports, and driver sessions (ring start to ring stop). */
#define VIODMA_VHOST_USER_FAULTS 16
#define VIODMA_VHOST_USER_SESSIONS 16

struct viodma_vhost_user_session {
	bool bit33, iotlb_active; /* it was accepted; addresses went through the IOTLB */
	struct viodma_queue_setup setup;
	uint64_t requests, faults; /* given back to the driver; accesses refused */
	uint64_t reachable_bytes_peak; /* as below */
	struct viodma_space_statistics space; /* counts of this session only */
	struct viodma_iotlb_statistics iotlb;
};

/*
 * Counts are from the start on. What a queue counts (kicks and calls suppressed, requests that waited) is in its own
 * statistics (viodma/queue.h), which `process` sees.
 */
struct viodma_vhost_user_statistics {
	bool connected, iotlb_active; /* now */
	uint64_t offered, accepted;   /* feature sets; accepted: the last */
	uint64_t region_bytes;        /* memory that the front end has handed over, now */
	uint64_t reachable_bytes, reachable_bytes_peak; /* what the device could touch: now, at most */
	uint32_t iotlb_entries, iotlb_capacity; /* mappings remembered, and at most */
	uint32_t misses_outstanding;  /* questions that wait for an answer */
	struct viodma_space_statistics space; /* all sessions */
	struct viodma_iotlb_statistics iotlb; /* misses: questions asked of the front end, a page each at most */
	uint64_t connections;
	uint64_t fault_count;         /* accesses refused */
	uint32_t faults_kept; /* newest last */
	struct viodma_fault faults[VIODMA_VHOST_USER_FAULTS];
	uint64_t session_count;
	uint32_t sessions_kept; /* newest last; the last one may still run */
	struct viodma_vhost_user_session sessions[VIODMA_VHOST_USER_SESSIONS];
};

/*
 * Make a back end and start to listen. VIODMA_E_INVALID: options out of range, fewer IOTLB entries than
 * viodma_iotlb_least_capacity, or a descriptor that is not such a socket; VIODMA_E_IO: the socket (errno says why);
 * VIODMA_E_NO_MEMORY. The reason is logged. Nothing is served before the loop runs.
 */
VIODMA_MUST_USE enum viodma_result viodma_vhost_user_new(struct viodma_loop *loop,
							 const struct viodma_vhost_user_ops *ops, void *device,
							 const struct viodma_vhost_user_options *options,
							 struct viodma_vhost_user **backend);

/*
 * The device pushed or rejected requests outside `process`: soon, from the loop, the driver is called, what waited for
 * completions is finished, and `process` is called again for every queue that runs. From a worker's thread: for its queues.
 */
void viodma_vhost_user_completed(struct viodma_vhost_user *backend);

/*
 * No more connections; the current one ends, and the socket is closed and its file removed. NULL is allowed.
 * VIODMA_E_BUSY: requests are still with the device. The back end is there yet and takes no connection: push or reject
 * them all, then call again. Before viodma_loop_free, always; not from a device's operation, nor from log, events or
 * ring, but from any other callback of the loop.
 */
VIODMA_MUST_USE enum viodma_result viodma_vhost_user_free(struct viodma_vhost_user *backend);

/*
 * The configuration space has changed (a disk was resized, say): the front end is told, if it can be (CONFIG and
 * BACKEND_REQ negotiated). False: it cannot be now.
 */
bool viodma_vhost_user_config_changed(struct viodma_vhost_user *backend);

/* Is a front end connected? (Made from a connected socket: when it has gone, there will be no other.) */
bool viodma_vhost_user_connected(const struct viodma_vhost_user *backend);

/* True once a back end made from a connected socket has lost its front end for good. */
bool viodma_vhost_user_finished(const struct viodma_vhost_user *backend);

void viodma_vhost_user_statistics(struct viodma_vhost_user *backend,
				  struct viodma_vhost_user_statistics *statistics);

/*
 * The loop's thread: between the two no worker does anything, so that the halves of the device may be looked at, or
 * changed all at once. They nest. With one worker they do nothing.
 */
void viodma_vhost_user_hold(struct viodma_vhost_user *backend);
void viodma_vhost_user_release(struct viodma_vhost_user *backend);

/* The space behind it, for a device that reports; do not change it. Several workers translate in spaces of their own. */
struct viodma_space *viodma_vhost_user_space(struct viodma_vhost_user *backend);

#ifdef __cplusplus
}
#endif

#endif
