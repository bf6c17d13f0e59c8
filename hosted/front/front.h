/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front.h - what the files of this room share: one front end and its parts.
 *
 *   front.c            life: connect, agree on the protocol, log, the end
 *   front_messages.c   one request at a time: whole messages out, replies in, checked and timed
 *   front_transport.c  features, status, configuration: struct viodma_transport_ops
 *   front_queues.c     rings: set up, let go, stopped, kicked
 *   front_record.c     the record of what is in flight, kept for a successor
 *   front_reconnect.c  a successor is put where the last back end was
 *   front_memory.c     memory handed over: regions, user addresses
 *   front_table.c      grants by bus address: a balanced tree
 *   front_grants.c     the IOMMU role: grant, withdraw, invalidate
 *   front_channel.c    what the back end asks: misses
 *   front_wait.c       waiting for calls
 *
 * Single owner: one thread.
 */
#ifndef VIODMA_HOSTED_FRONT_H
#define VIODMA_HOSTED_FRONT_H

#include "hosted/base/descriptors.h"
#include "hosted/base/rate_limit.h"
#include "hosted/vhost_user/payload.h"

#include <viodma/feature.h>
#include <viodma/vhost_user_front.h>

#define VIODMA_FRONT_QUEUES_MAX 256u       /* an index is 8 bits wide */
#define VIODMA_FRONT_QUESTIONS_PER_TURN 64u /* of the back end, before anything else has its turn */
#define VIODMA_FRONT_QUESTIONS_DRAINED 4096u
#define VIODMA_FRONT_PIPELINE 32u           /* IOTLB messages sent before the first acknowledgement is waited for */
#define VIODMA_FRONT_LINES_PER_SECOND 16u   /* of what a back end can have logged at will */

/* Memory handed over. */
struct viodma_front_region {
	struct viodma_object object;
	uint64_t user; /* the user address of its first byte: invented, neither a pointer nor physical */
	int fd;        /* ours */
	uint64_t fd_offset;
	uint64_t grants; /* entries of the table that lead here */
};

/* One entry of the table. */
struct viodma_front_grant {
	uint64_t first, last; /* bus addresses, inclusive */
	uint64_t user;        /* of the first */
	struct viodma_front_region *region;
	uint8_t permission;
	uint8_t handed; /* what the device was told of, and may use until it acknowledges an invalidation */
	bool live;      /* false: withdrawn, and handed: waits for the invalidation */
	bool advance;   /* told without being asked for */
	uint32_t priority;
	struct viodma_front_grant *left, *right;
};

#define VIODMA_FRONT_BLOCK_GRANTS 128u
struct viodma_front_block {
	struct viodma_front_block *next;
	struct viodma_front_grant grants[VIODMA_FRONT_BLOCK_GRANTS];
};

struct viodma_front_table {
	struct viodma_front_grant *root, *free_list;
	struct viodma_front_block *blocks;
	uint32_t random;
};

struct viodma_front_queue {
	uint32_t size;              /* 0: not set up */
	uint64_t desc, avail, used; /* as the driver gave them */
	bool enabled;
	int kick_fd, call_fd, err_fd; /* -1: none yet, or notifications are messages */
};

/* Of what is in flight: the back end's memory, which only back ends look into. */
struct viodma_front_record {
	int fd; /* -1: there is none */
	struct vhost_user_inflight inflight;
};

/* What the driver wrote into the configuration since the last reset: bytes, and by offset how many one write had. */
struct viodma_front_written {
	unsigned char bytes[VHOST_USER_CONFIG_BYTES];
	uint16_t len_bytes[VHOST_USER_CONFIG_BYTES];
};

/* The back end's own requests. */
#define VIODMA_FRONT_BATCH 32u /* questions that are read at once, and answered at once */

struct viodma_front_channel {
	int fd; /* -1: the back end cannot ask */
	unsigned char in[VIODMA_FRONT_BATCH * (sizeof(struct vhost_user_header) + sizeof(struct vhost_user_iotlb))];
	size_t in_at, in_bytes; /* of what was read, so much was dealt with */
	/* Answers to what is being dealt with: updates for the main socket, then replies for this one. */
	unsigned char updates[VIODMA_FRONT_BATCH * (sizeof(struct vhost_user_header) + sizeof(struct vhost_user_iotlb))];
	unsigned char replies[VIODMA_FRONT_BATCH * (sizeof(struct vhost_user_header) + sizeof(uint64_t))];
	size_t update_bytes, reply_bytes;
};

struct viodma_front {
	struct viodma_front_options options;
	char name[64];
	struct viodma_transport transport;
	int fd, epoll_fd;
	struct viodma_front_channel channel;
	uint64_t turn_deadline_ns; /* questions are being answered: until then; 0: none are */
	enum viodma_result broken; /* not VIODMA_OK: the connection has ended, and why */
	bool negotiating;          /* the message in hand is one a back end may end the connection over: features */
	bool reconnecting, given_up; /* a successor is being told; none was found when one was due */
	bool news;                 /* a call, an error or a configuration came as a message, and nobody was told yet */

	uint64_t offered, protocol_features;
	unsigned queue_count;
	uint64_t slots; /* objects that can be handed over */

	uint64_t accepted;
	bool platform; /* addresses are the table's: bit 33 */
	uint8_t status; /* what was written last; the truth where the back end has no STATUS */
	struct viodma_front_written written;
	uint32_t config_generation, config_told; /* the second: what viodma_front_config_changed was asked last */
	struct viodma_front_queue *queues; /* queue_count of them */
	bool started;                      /* a ring was set up since the last reset */
	struct viodma_front_record record; /* since the first of them was */

	struct viodma_front_region **regions; /* by physical address */
	uint32_t region_count, region_capacity;
	uint64_t next_user;

	struct viodma_front_table table;
	struct viodma_rate_limit log_limit;
	struct viodma_front_statistics statistics;
	struct viodma_front_refusal refusals[VIODMA_FRONT_REFUSALS];
};

static inline bool viodma_front_has(const struct viodma_front *front, unsigned protocol_bit)
{
	return front->protocol_features >> protocol_bit & 1;
}

static inline bool viodma_front_has_bit_30(const struct viodma_front *front)
{
	return front->offered >> VHOST_USER_F_PROTOCOL_FEATURES_BIT & 1;
}

static inline bool viodma_front_is_packed(const struct viodma_front *front)
{
	return front->accepted >> VIRTIO_F_RING_PACKED_BIT & 1;
}

/* Notifications are messages. */
static inline bool viodma_front_is_inband(const struct viodma_front *front)
{
	return viodma_front_has(front, VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS_BIT);
}

/* front.c */
/*
 * A socket to options.socket_path. patient: nobody need listen there yet. VIODMA_E_IO (errno), VIODMA_E_TIMEOUT,
 * VIODMA_E_INVALID: logged.
 */
enum viodma_result viodma_front_connect_path(struct viodma_front *front, uint64_t deadline_ns, bool patient);
void viodma_front_log(struct viodma_front *front, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for what a back end can cause at will. */
void viodma_front_log_some(struct viodma_front *front, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The connection ends: logged, remembered, answered. The descriptors stay until viodma_front_free. */
enum viodma_result viodma_front_break(struct viodma_front *front, enum viodma_result result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The peer closed a socket. */
enum viodma_result viodma_front_hung_up(struct viodma_front *front, const char *what);

/* front_messages.c. Results besides those named: VIODMA_E_TIMEOUT, VIODMA_PEER_GONE, _MESSAGE, _FEATURES: it is broken. */

/* A message without an answer. */
enum viodma_result viodma_front_post(struct viodma_front *front, uint32_t request, bool need_reply, const void *payload,
				     size_t bytes, const int *fds, unsigned fd_count);
/* The answer to what was posted: its payload, of least to most bytes. */
enum viodma_result viodma_front_await(struct viodma_front *front, uint32_t request, void *payload, size_t least,
				      size_t most, size_t *got);
/* An acknowledgement. VIODMA_E_IO: the back end refuses. */
enum viodma_result viodma_front_await_ack(struct viodma_front *front, uint32_t request);
/* An answer of exactly so many bytes that brings one descriptor. */
enum viodma_result viodma_front_await_descriptor(struct viodma_front *front, uint32_t request, void *payload, size_t bytes,
						 int *fd);
/* A message, and the certainty that it was dealt with. VIODMA_E_IO: the back end refuses. */
enum viodma_result viodma_front_command(struct viodma_front *front, uint32_t request, const void *payload, size_t bytes,
					const int *fds, unsigned fd_count);
/* A message without payload that is answered with a number. */
enum viodma_result viodma_front_query(struct viodma_front *front, uint32_t request, uint64_t *word);
/* timeout_ms from now, in the clock of viodma_loop_now_ns. */
uint64_t viodma_front_deadline(const struct viodma_front *front);
/* Send all of it, waiting for room: timeout_ms at most, together with all that is sent in one turn of questions. */
enum viodma_result viodma_front_send(struct viodma_front *front, int fd, const void *data, size_t bytes, const int *fds,
				     unsigned fd_count);

/* front_transport.c */
extern const struct viodma_transport_ops viodma_front_ops;
/* Features and status as the driver has them, for a back end that knows nothing of them: up to FEATURES_OK. */
enum viodma_result viodma_front_features_again(struct viodma_front *front);
/* What the driver wrote into the configuration: a cache mode, say, that it relies on. */
enum viodma_result viodma_front_config_again(struct viodma_front *front);
/* DRIVER_OK, if the driver has come that far. */
enum viodma_result viodma_front_status_again(struct viodma_front *front);

/* front_queues.c: operations of the transport, */
enum viodma_result viodma_front_queue_size_max(void *context, unsigned queue, uint32_t *size);
enum viodma_result viodma_front_queue_enable(void *context, unsigned index, const struct viodma_transport_queue *where);
enum viodma_result viodma_front_queue_reset(void *context, unsigned index);
void viodma_front_notify(void *context, unsigned index);
/* and what they are made of: GET_VRING_BASE; SET_VRING_ENABLE; all rings once more, where they had come to. */
enum viodma_result viodma_front_queue_stop(struct viodma_front *front, unsigned index);
enum viodma_result viodma_front_queue_let_go(struct viodma_front *front, unsigned index);
enum viodma_result viodma_front_queues_again(struct viodma_front *front);
/* Kick them all: what was made available meanwhile may not have been seen. */
void viodma_front_queues_kick(struct viodma_front *front);

/* front_record.c */
/* Before a ring of that size is set up. VIODMA_E_BUSY: there is one for smaller rings. */
enum viodma_result viodma_front_record_get(struct viodma_front *front, uint32_t size);
/* Give it to the back end, if there is one. */
enum viodma_result viodma_front_record_set(struct viodma_front *front);
/* That queue has nothing in flight, and begins anew. */
void viodma_front_record_clear(struct viodma_front *front, unsigned index);
void viodma_front_record_drop(struct viodma_front *front);

/* front_reconnect.c */
/*
 * What became of a message. If the back end has gone, and options.reconnect_ms says so, it has a successor now, which is
 * where the last one was: VIODMA_OK. What the message was about may have to be said again.
 */
enum viodma_result viodma_front_recover(struct viodma_front *front, enum viodma_result result);

/* front_memory.c */
/* The region that holds all of it, or NULL. */
struct viodma_front_region *viodma_front_region_at(const struct viodma_front *front, viodma_phys phys,
						   uint64_t len_bytes);
/* All of it once more. */
enum viodma_result viodma_front_memory_again(struct viodma_front *front);
void viodma_front_memory_drop(struct viodma_front *front);

/* front_table.c */
struct viodma_front_grant *viodma_front_table_find(const struct viodma_front_table *table, uint64_t address);
/* The first entry that ends at or after the address, or NULL. */
struct viodma_front_grant *viodma_front_table_at_or_after(const struct viodma_front_table *table, uint64_t address);
/* An entry that is not in the tree; NULL: no memory. */
struct viodma_front_grant *viodma_front_table_new(struct viodma_front_table *table);
/* Pre: its range is free. */
void viodma_front_table_insert(struct viodma_front_table *table, struct viodma_front_grant *grant);
/* Take it out, and keep its memory for the next. */
void viodma_front_table_remove(struct viodma_front_table *table, struct viodma_front_grant *grant);
void viodma_front_table_drop(struct viodma_front_table *table);
/* The entry after this one, or NULL. */
static inline struct viodma_front_grant *viodma_front_table_next(const struct viodma_front_table *table,
								 const struct viodma_front_grant *grant)
{
	return grant->last == UINT64_MAX ? NULL : viodma_front_table_at_or_after(table, grant->last + 1);
}

/* front_grants.c */
/* Addresses are the table's from now on: tell what the device does not ask for. */
enum viodma_result viodma_front_grants_begin(struct viodma_front *front);
/* The device is another one, and knows of nothing. */
void viodma_front_grants_forgotten(struct viodma_front *front);
/* Our own view of a bus address, or NULL: nothing is granted there, or not len_bytes of it. */
void *viodma_front_grants_memory(const struct viodma_front *front, uint64_t bus, uint64_t len_bytes);
/* No ring runs: have everything forgotten that the device may hold. */
enum viodma_result viodma_front_grants_end(struct viodma_front *front);
/* Answer one miss: an update, or a refusal. *granted. */
enum viodma_result viodma_front_grants_miss(struct viodma_front *front, viodma_bus bus, enum viodma_permission wanted,
					    bool *granted);

/* front_channel.c */
/* Make the channel, and hand the back end its end. */
enum viodma_result viodma_front_channel_open(struct viodma_front *front);
/* Answer what has been asked by now, a bounded number. */
enum viodma_result viodma_front_channel_serve(struct viodma_front *front);
/* While a question is answered: send this update with the answers. */
enum viodma_result viodma_front_channel_update(struct viodma_front *front, const struct vhost_user_iotlb *iotlb);
/* Answer all that has been asked by now, as far as anybody sound asks. A connection that breaks is found out later. */
void viodma_front_channel_drain(struct viodma_front *front);

/* front_wait.c */
enum viodma_front_event {
	VIODMA_FRONT_EVENT_MAIN,
	VIODMA_FRONT_EVENT_CHANNEL,
	VIODMA_FRONT_EVENT_CALL,
	VIODMA_FRONT_EVENT_ERR
};
/* VIODMA_E_IO: errno says why. */
enum viodma_result viodma_front_watch(struct viodma_front *front, int fd, enum viodma_front_event event, unsigned queue);

#endif
