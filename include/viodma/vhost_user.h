/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/vhost_user.h - a vhost-user back end around any device half: one structure of operations makes a device.
 *
 * The library speaks the protocol (vhost-user's document), owns the space, the IOTLB and the queues, and calls the
 * device when a queue has requests. Front ends connect one at a time and may reconnect. What a front end does wrong
 * ends its connection with a log line that names the message and the requirement; never the process.
 *
 * Single owner: the loop's thread (viodma/loop.h).
 */
#ifndef VIODMA_VHOST_USER_H
#define VIODMA_VHOST_USER_H

#include <viodma/feature.h>
#include <viodma/iotlb.h>
#include <viodma/loop.h>
#include <viodma/queue.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viodma_vhost_user;

/* A device. `device` is what was given to viodma_vhost_user_new. NULL members: as if there were none. */
struct viodma_vhost_user_ops {
	/* Device-specific feature bits (0 to 23) to offer. Device-independent ones are the library's. */
	uint64_t (*features)(void *device);
	/* The name of one of those bits, for the log. */
	const char *(*feature_name)(void *device, unsigned bit);
	/* What the driver accepted; before the first request, and again after each negotiation. */
	void (*accepted)(void *device, uint64_t features);
	/* Configuration space. Anything but VIODMA_OK fails the front end's message. */
	enum viodma_result (*read_config)(void *device, uint32_t offset, void *destination, uint32_t len_bytes);
	enum viodma_result (*write_config)(void *device, uint32_t offset, const void *source, uint32_t len_bytes);
	/*
	 * Pop and push (viodma/queue.h): at most one queue-full of requests. VIODMA_OK: call again soon; else what
	 * viodma_queue_pop answered. Requests may be pushed later, from the loop's thread; then call
	 * viodma_vhost_user_completed.
	 */
	enum viodma_result (*process)(void *device, struct viodma_queue *queue);
	/* The queue is about to stop: fail what viodma_queue_pop_held answers. */
	void (*fail_held)(void *device, struct viodma_queue *queue);
};

/* Zero it, then set what differs from the default. Strings and callbacks are copied as pointers: keep them alive. */
struct viodma_vhost_user_options {
	const char *name;        /* in log lines; default "device" */
	const char *socket_path; /* listen here (a stale socket is replaced); or NULL and */
	int socket_fd;           /* a connected or a listening socket, owned once the call succeeds; used if socket_path is NULL */
	enum viodma_platform_dma platform_dma;
	unsigned platform_dma_bit; /* see struct viodma_negotiation */
	unsigned queue_count;      /* default 1 */
	uint32_t queue_size_max;   /* descriptors; default 1024 */
	uint32_t segments_max;     /* per request; default queue_size_max */
	uint32_t pieces_max;       /* per request; default 4 * segments_max */
	uint64_t request_bytes_max; /* largest request, for the IOTLB's least capacity; default 4 MiB */
	enum viodma_access_mode access;
	uint32_t iotlb_entries;     /* default 65536 */
	uint32_t revoke_timeout_ms; /* default 10000: then the device stops and the revocation fails (DEV-13) */
	/* One line per event, whole ("viodma: NAME: ..."), without newline. Default: none. */
	void (*log)(void *context, const char *line);
	/* What the space tells (viodma/space.h), for a trace. */
	const struct viodma_space_events *events;
	/* A ring started / stopped (start true / false). */
	void (*ring)(void *context, unsigned queue, const struct viodma_queue_setup *setup, bool start);
	void *context; /* of log and ring */
};

/* Faults kept for reports, and driver sessions (ring start to ring stop). */
#define VIODMA_VHOST_USER_FAULTS 16
#define VIODMA_VHOST_USER_SESSIONS 16

struct viodma_vhost_user_session {
	bool bit33, iotlb_active;
	struct viodma_queue_setup setup;
	uint64_t requests, faults, reachable_bytes_peak;
	struct viodma_space_statistics space; /* counts of this session only */
	struct viodma_iotlb_statistics iotlb;
};

struct viodma_vhost_user_statistics {
	bool connected, iotlb_active;
	uint64_t offered, accepted;
	uint64_t region_bytes, reachable_bytes, reachable_bytes_peak;
	uint32_t iotlb_entries, iotlb_capacity, misses_outstanding;
	struct viodma_space_statistics space; /* all sessions */
	struct viodma_iotlb_statistics iotlb;
	uint64_t connections;
	uint64_t fault_count;
	uint32_t faults_kept; /* newest last */
	struct viodma_fault faults[VIODMA_VHOST_USER_FAULTS];
	uint64_t session_count;
	uint32_t sessions_kept; /* newest last; the last one may still run */
	struct viodma_vhost_user_session sessions[VIODMA_VHOST_USER_SESSIONS];
};

/*
 * Make a back end and start to listen. VIODMA_E_INVALID: options out of range, or fewer IOTLB entries than
 * viodma_iotlb_least_capacity; VIODMA_E_IO: the socket (errno says why); VIODMA_E_NO_MEMORY. The reason is logged.
 */
VIODMA_MUST_USE enum viodma_result viodma_vhost_user_new(struct viodma_loop *loop,
							 const struct viodma_vhost_user_ops *ops, void *device,
							 const struct viodma_vhost_user_options *options,
							 struct viodma_vhost_user **backend);

/* The device pushed or rejected requests outside `process`: call the driver, finish what waited for completions. */
void viodma_vhost_user_completed(struct viodma_vhost_user *backend);

/* No more connections; the current one ends. Requests still with the device: VIODMA_E_BUSY, call again after. */
VIODMA_MUST_USE enum viodma_result viodma_vhost_user_free(struct viodma_vhost_user *backend);

/* Is a front end connected? (--fd: when it has gone, there will be no other.) */
bool viodma_vhost_user_connected(const struct viodma_vhost_user *backend);

/* True once a back end made from a connected socket has lost its front end for good. */
bool viodma_vhost_user_finished(const struct viodma_vhost_user *backend);

void viodma_vhost_user_statistics(const struct viodma_vhost_user *backend,
				  struct viodma_vhost_user_statistics *statistics);

/* The space behind it, for a device that reports; do not change it. */
struct viodma_space *viodma_vhost_user_space(struct viodma_vhost_user *backend);

#ifdef __cplusplus
}
#endif

#endif
