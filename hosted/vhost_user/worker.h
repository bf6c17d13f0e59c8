/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * worker.h - who serves the queues: one worker, which is the loop's own thread and uses the back end's own space; or
 * several, each a thread with a loop, a space and an IOTLB of its own. Ring i belongs to worker i % worker_count.
 *
 * Everything of a worker but `thread` and the lock itself is touched under its lock: by its thread in its turns, and by
 * the loop's thread, which holds the locks of all (viodma_workers_hold) while it does anything. So what the loop's
 * thread writes (connection, rings' set-up, revocation) a worker may read at any time, and the other way round. What two
 * workers may write at once is under backend->shared.
 *
 * workers.c         life, locks, news
 * worker_spaces.c   what becomes of the back end's memory and mappings in the spaces of several workers
 */
#ifndef VIODMA_HOSTED_VHOST_USER_WORKER_H
#define VIODMA_HOSTED_VHOST_USER_WORKER_H

#include <viodma/loop.h>
#include <viodma/vhost_user.h>

#include <pthread.h>
#include <stdatomic.h>

#define VIODMA_BACKEND_WORKERS_MAX 64u

/* A question of a worker's IOTLB that the back end's has not answered. */
struct viodma_need {
	uint64_t bus;
	uint32_t number; /* counted up */
	uint8_t permission;
};

struct viodma_worker {
	struct viodma_vhost_user *backend;
	unsigned index;
	void *device; /* its half */
	struct viodma_loop *loop;
	struct viodma_space *space; /* of its rings */
	struct viodma_iotlb *iotlb;
	struct viodma_loop_deferred *turn;
	struct viodma_loop_timer *poll_timer;
	struct viodma_loop_timer *copy_timer; /* armed while the system has no memory */
	size_t copy_bytes;
	bool copy_wanted, copy_room; /* some was refused; some was freed since */
	bool news; /* the loop's thread has something to do because of it */

	/* One of several. */
	struct viodma_space own_space;
	struct viodma_iotlb own_iotlb;
	void *region_storage;
	struct viodma_need *needs; /* in the order of their numbers */
	uint32_t need_count, needs_put;
	uint32_t refused_until; /* refusals are remembered until all needs before this one are answered */
	pthread_t thread;
	bool begun, runs;

	/* The lock, and who is next: when both want it, they take turns. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	_Atomic bool wanted; /* by the loop's thread */
	_Atomic bool waits;  /* the worker, for its lock */
	bool owed;           /* it is the worker's turn */
};

/* ---- workers.c ---- */

/* Everything but the threads. */
enum viodma_result viodma_workers_make(struct viodma_vhost_user *backend);
/* Threads begin; there is no front end yet. */
enum viodma_result viodma_workers_begin(struct viodma_vhost_user *backend);
/* Threads end; nothing is in flight. However far it came. */
void viodma_workers_end(struct viodma_vhost_user *backend);
void viodma_workers_free(struct viodma_vhost_user *backend);

/* The loop's thread: no worker does anything until release. They nest. */
void viodma_workers_hold(struct viodma_vhost_user *backend);
void viodma_workers_release(struct viodma_vhost_user *backend);

/* A turn soon. With the worker's lock. */
static inline void viodma_worker_schedule(struct viodma_worker *worker)
{
	viodma_loop_schedule(worker->turn);
}
void viodma_workers_schedule(struct viodma_vhost_user *backend);
/* At the end of a worker's turn: if it has news, the loop's thread has a turn soon. */
void viodma_worker_tell(struct viodma_worker *worker);
/* Is this thread one of its workers'? NULL: no. */
struct viodma_worker *viodma_worker_here(const struct viodma_vhost_user *backend);

/* ---- worker_spaces.c: each does to the space of the back end, and those of its workers, what its name says ---- */

void viodma_spaces_set_closed(struct viodma_vhost_user *backend);
void viodma_spaces_set_physical(struct viodma_vhost_user *backend);
void viodma_spaces_set_iotlb(struct viodma_vhost_user *backend);
enum viodma_result viodma_spaces_add_region(struct viodma_vhost_user *backend, const struct viodma_region *region);
enum viodma_result viodma_spaces_retire_region(struct viodma_vhost_user *backend, viodma_phys phys);
enum viodma_result viodma_spaces_remove_region(struct viodma_vhost_user *backend, viodma_phys phys,
					       struct viodma_region *removed);
bool viodma_spaces_in_use(const struct viodma_vhost_user *backend, viodma_bus first, viodma_bus last);
enum viodma_result viodma_spaces_update(struct viodma_vhost_user *backend, const struct vhost_user_iotlb *update);
enum viodma_result viodma_spaces_invalidate(struct viodma_vhost_user *backend, viodma_bus bus, uint64_t len_bytes);
void viodma_spaces_clear_iotlb(struct viodma_vhost_user *backend);
/* Counts of all. */
struct viodma_space_statistics viodma_spaces_statistics(const struct viodma_vhost_user *backend);
struct viodma_iotlb_statistics viodma_spaces_iotlb_statistics(const struct viodma_vhost_user *backend);

/* The back end's IOTLB took mappings away, or replaced them: the event of its space. */
void viodma_spaces_revoked(struct viodma_vhost_user *backend, viodma_bus first, viodma_bus last);
/* A worker's IOTLB asks. context: the worker. */
void viodma_worker_ask(void *context, viodma_bus bus, enum viodma_permission wanted);
/* The loop's thread: answer what workers asked as far as the back end's IOTLB knows, and ask for the rest. */
void viodma_workers_answer(struct viodma_vhost_user *backend);
/* Every queue of this one has tried what waited: forget refusals that nobody waits for any more. */
void viodma_worker_settle(struct viodma_worker *worker);

#endif
