/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front.h - what the files of this room share: one front end and its parts.
 *
 *   front.c            life: connect, agree on the protocol, log, the end
 *   front_messages.c   one request at a time: whole messages out, replies in, checked and timed
 *   front_transport.c  features, status, configuration, queues: struct viodma_transport_ops
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
	int kick_fd, call_fd, err_fd; /* -1: none yet */
};

/* The back end's own requests. */
struct viodma_front_channel {
	int fd; /* -1: the back end cannot ask */
	unsigned char in[sizeof(struct vhost_user_header) + sizeof(union viodma_payload)];
	size_t in_bytes;
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

	uint64_t offered, protocol_features;
	unsigned queue_count;
	uint64_t slots; /* objects that can be handed over */

	uint64_t accepted;
	bool platform; /* addresses are the table's: bit 33 */
	uint8_t status; /* what was written last; the truth where the back end has no STATUS */
	uint32_t config_generation;
	struct viodma_front_queue *queues; /* queue_count of them */
	bool started;                      /* a ring was set up since the last reset */

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

/* front.c */
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

/* front_memory.c */
/* The region that holds all of it, or NULL. */
struct viodma_front_region *viodma_front_region_at(const struct viodma_front *front, viodma_phys phys,
						   uint64_t len_bytes);
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
