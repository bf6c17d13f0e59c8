/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inflight.h - one ring's part of the in-flight region: which requests are with the device, in memory the front end keeps,
 * so that the next back end can go on where this one was killed. Layouts and order of stores are those of vhost-user's
 * document; both ways of writing it down are pure functions on memory, which know neither rings nor sockets.
 *
 * The region is the front end's, and may say anything: it is read in `resume` only, each word once, and what does not
 * agree is VIODMA_PEER_RECORD. From then on it is only written, from private memory.
 *
 * What makes a kill at any instruction harmless is the order of stores in program order: a process that was killed has
 * made all stores before some instruction, and none behind it. So each is made by one instruction, and the compiler
 * keeps their order; processors need no barrier for it. In test builds a hook runs before and after each.
 *
 * Single owner: the ring's thread.
 */
#ifndef VIODMA_HOSTED_VHOST_USER_INFLIGHT_H
#define VIODMA_HOSTED_VHOST_USER_INFLIGHT_H

#include <viodma/queue.h>
#include <viodma/wire/ring.h>
#include <viodma/wire/vhost_user.h>

#include <string.h>

/* Nobody counts that far; whoever says so would have what comes next be the oldest. */
#define VIODMA_INFLIGHT_COUNTER_MAX ((uint64_t)INT64_MAX)

/* Bytes of one ring's part, a multiple of VHOST_USER_INFLIGHT_ALIGN. */
uint64_t viodma_inflight_bytes(bool packed, uint32_t desc_num);

struct viodma_inflight_split {
	struct vhost_user_inflight_split *header;
	struct vhost_user_inflight_split_state *states; /* desc_num of them, by head */
	uint32_t desc_num;
	uint64_t *order; /* private, desc_num: counters, for resume */
	uint64_t counter;
	uint16_t last_batch_head, used_idx;
};

/* What is known of an entry, privately; entry: by buffer id. */
struct viodma_inflight_entry {
	uint16_t next, last, num, entry;
	bool seen;
	uint64_t counter;
};

struct viodma_inflight_packed {
	struct vhost_user_inflight_packed *header;
	struct vhost_user_inflight_packed_state *states; /* desc_num of them */
	uint32_t desc_num, ring_size;
	struct viodma_inflight_entry *entries; /* private, desc_num */
	uint16_t *heads;                       /* private, desc_num: of chains, for resume */
	struct virtq_packed_desc *descriptors; /* private, desc_num: of the chains resume listed */
	uint64_t counter;
	uint16_t free_head, used_idx; /* what is settled: `old` in the region */
	bool used_wrap;
	uint16_t next_used_idx; /* if the request that is being returned arrives */
	bool next_used_wrap;
};

/* Has the device used that place in that lap? viodma_queue_peek_used, or a test's. */
struct viodma_inflight_peek {
	enum viodma_result (*used)(void *context, uint16_t position, bool wrap, bool *used);
	void *context;
};

/*
 * Settle the record against the ring, and list what is in flight, oldest first: struct viodma_queue_record_ops, resume.
 * used_index: of the used ring. A record that was never written (version 0) is begun. VIODMA_PEER_RECORD.
 */
enum viodma_result viodma_inflight_split_resume(struct viodma_inflight_split *record, uint32_t ring_size,
						uint16_t used_index, struct viodma_queue_chain *chains, uint32_t *count,
						uint32_t *base);
/* The others of struct viodma_queue_record_ops. Pre: resume answered VIODMA_OK. */
void viodma_inflight_split_taken(struct viodma_inflight_split *record, uint16_t head);
void viodma_inflight_split_returning(struct viodma_inflight_split *record, uint16_t head);
void viodma_inflight_split_returned(struct viodma_inflight_split *record, uint16_t head);
void viodma_inflight_split_given_back(struct viodma_inflight_split *record, uint16_t head);

/* The same; the answers of `peek` that are no answers are its own. Chains point to record->descriptors. */
enum viodma_result viodma_inflight_packed_resume(struct viodma_inflight_packed *record, uint32_t ring_size,
						 const struct viodma_inflight_peek *peek,
						 struct viodma_queue_chain *chains, uint32_t *count, uint32_t *base);
void viodma_inflight_packed_taken(struct viodma_inflight_packed *record, const struct viodma_queue_chain *chain);
void viodma_inflight_packed_returning(struct viodma_inflight_packed *record, uint16_t id);
void viodma_inflight_packed_returned(struct viodma_inflight_packed *record, uint16_t id);
void viodma_inflight_packed_given_back(struct viodma_inflight_packed *record, uint16_t id);

/* ---- stores ---- */

#ifdef VIODMA_TEST_BUILD
/* Defined by tests/support/hooks.c. */
void viodma_inflight_store_hook(void);
#else
static inline void viodma_inflight_store_hook(void)
{
}
#endif

#define VIODMA_INFLIGHT_PUT(bits)                                                                                     \
	static inline void viodma_inflight_put##bits(void *at, uint##bits##_t value)                                  \
	{                                                                                                             \
		__asm__ volatile("" : : : "memory");                                                                  \
		viodma_inflight_store_hook();                                                                         \
		__atomic_store_n((uint##bits##_t *)at, value, __ATOMIC_RELAXED);                                      \
		__asm__ volatile("" : : : "memory");                                                                  \
		viodma_inflight_store_hook();                                                                         \
	}
VIODMA_INFLIGHT_PUT(8)
VIODMA_INFLIGHT_PUT(16)
VIODMA_INFLIGHT_PUT(32)
VIODMA_INFLIGHT_PUT(64)
#undef VIODMA_INFLIGHT_PUT

/* What the region says, once: the copy is looked at afterwards. */
static inline void viodma_inflight_get(void *to, const void *at, size_t bytes)
{
	memcpy(to, at, bytes);
	__asm__ volatile("" : : : "memory");
}

#endif
