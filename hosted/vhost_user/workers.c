/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * workers.c - how it works: with one worker there is one thread, no lock, and one turn that does the rings' work and the
 * back end's (rings.c). With several, each worker's loop has its lock (viodma_loop_share), so that the worker holds it
 * except while it waits; the loop's thread takes all of them, in order, for whatever it does, so that the code of this
 * room is the same for either. A turn is bounded (DEV-17), and so is the wait for the locks.
 *
 * A mutex is not fair: a worker that polls gives it back and has it again before anybody else has woken up. So the
 * loop's thread announces itself (wanted), and the worker does not come back before it has been; and a worker that had
 * to wait has one round before the loop's thread may come again (owed), so that a front end that sends without end stops
 * no queue.
 *
 * News of workers (questions, in-band calls, a completion that a revocation may wait for) are a bit of theirs, and an
 * eventfd that the loop watches. The other way round, whoever holds a worker's lock may schedule its turn.
 */
#include "hosted/vhost_user/messages.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static _Thread_local struct viodma_worker *here;

struct viodma_worker *viodma_worker_here(const struct viodma_vhost_user *backend)
{
	return here && here->backend == backend ? here : NULL;
}

/* ---- the lock ---- */

/* The worker's thread. */
static void take(void *context)
{
	struct viodma_worker *worker = context;

	worker->waits = true; /* also for the mutex itself */
	pthread_mutex_lock(&worker->lock);
	while (worker->wanted && !worker->owed)
		pthread_cond_wait(&worker->changed, &worker->lock);
	worker->waits = false;
	if (worker->owed)
		pthread_cond_signal(&worker->changed);
	worker->owed = false;
}

static void drop(void *context)
{
	struct viodma_worker *worker = context;

	pthread_mutex_unlock(&worker->lock);
}

void viodma_workers_hold(struct viodma_vhost_user *backend)
{
	if (!viodma_workers_several(backend))
		return;
	if (backend->held) {
		backend->held++;
		return;
	}
	for (unsigned i = 0; i < backend->worker_count; i++)
		backend->workers[i].wanted = true;
	for (unsigned i = 0; i < backend->worker_count; i++) {
		struct viodma_worker *worker = &backend->workers[i];

		pthread_mutex_lock(&worker->lock);
		while (worker->owed)
			pthread_cond_wait(&worker->changed, &worker->lock);
	}
	backend->held = 1;
}

void viodma_workers_release(struct viodma_vhost_user *backend)
{
	if (!viodma_workers_several(backend) || --backend->held)
		return;
	for (unsigned i = 0; i < backend->worker_count; i++) {
		struct viodma_worker *worker = &backend->workers[i];

		worker->wanted = false;
		worker->owed = worker->waits;
		if (worker->owed)
			pthread_cond_signal(&worker->changed);
		pthread_mutex_unlock(&worker->lock);
	}
}

void viodma_vhost_user_hold(struct viodma_vhost_user *backend)
{
	viodma_workers_hold(backend);
}

void viodma_vhost_user_release(struct viodma_vhost_user *backend)
{
	viodma_workers_release(backend);
}

/* ---- news ---- */

void viodma_workers_schedule(struct viodma_vhost_user *backend)
{
	for (unsigned i = 0; i < backend->worker_count; i++)
		viodma_worker_schedule(&backend->workers[i]);
}

void viodma_worker_tell(struct viodma_worker *worker)
{
	struct viodma_vhost_user *backend = worker->backend;

	if (worker->news && !atomic_exchange(&backend->told, true))
		viodma_eventfd_tick(backend->news_fd);
	worker->news = false;
}

static void told(void *context, unsigned events)
{
	struct viodma_vhost_user *backend = context;

	(void)events;
	(void)viodma_eventfd_take(backend->news_fd);
	atomic_store(&backend->told, false);
	viodma_backend_turn(backend);
}

/* ---- making ---- */

static enum viodma_result result_of(int error)
{
	errno = error;
	return error == 0 ? VIODMA_OK : error == ENOMEM || error == EAGAIN ? VIODMA_E_NO_MEMORY : VIODMA_E_IO;
}

static void copy_again(void *context)
{
	struct viodma_worker *worker = context;

	worker->copy_room = true;
	viodma_worker_schedule(worker);
}

/* What rings need of their worker, and its loop has. */
static enum viodma_result make_turns(struct viodma_worker *worker)
{
	enum viodma_result result = viodma_loop_deferred(worker->loop, viodma_worker_turn, worker, &worker->turn);

	if (result == VIODMA_OK)
		result = viodma_loop_timer(worker->loop, viodma_worker_poll, worker, &worker->poll_timer);
	if (result == VIODMA_OK)
		result = viodma_loop_timer(worker->loop, copy_again, worker, &worker->copy_timer);
	return result;
}

/* Its share of the mappings remembered, but no less than its rings need. */
static uint32_t capacity_of(const struct viodma_worker *worker)
{
	const struct viodma_vhost_user_options *options = &worker->backend->options;
	const uint32_t share = options->iotlb_entries / worker->backend->worker_count;
	const uint32_t least = viodma_iotlb_least_capacity(options->queue_size_max, options->request_bytes_max,
							   options->segments_max);

	return share > least ? share : least;
}

static enum viodma_result make_space(struct viodma_worker *worker)
{
	struct viodma_vhost_user *backend = worker->backend;
	const struct viodma_space_events events = viodma_backend_events_of_rings(backend);
	struct viodma_iotlb_config config = {
		.space = &worker->own_space,
		.capacity = capacity_of(worker),
		.miss_capacity = VIODMA_BACKEND_MISSES,
		.ask = viodma_worker_ask,
		.context = worker,
	};

	worker->space = &worker->own_space;
	worker->iotlb = &worker->own_iotlb;
	worker->region_storage = calloc(1, VIODMA_SPACE_REGION_BYTES(VIODMA_BACKEND_MEMORY_SLOTS));
	worker->needs = calloc(VIODMA_BACKEND_MISSES, sizeof(*worker->needs));
	config.entries = aligned_alloc(64, config.capacity * sizeof(*config.entries));
	config.misses = calloc(config.miss_capacity, sizeof(*config.misses));
	worker->iotlb->config.entries = config.entries; /* freed with the worker, whatever comes */
	worker->iotlb->config.misses = config.misses;
	if (!worker->region_storage || !worker->needs || !config.entries || !config.misses)
		return VIODMA_E_NO_MEMORY;
	viodma_space_init(worker->space, worker->region_storage, VIODMA_BACKEND_MEMORY_SLOTS, &events);
	return viodma_iotlb_init(worker->iotlb, &config);
}

static enum viodma_result make_one_of_several(struct viodma_worker *worker)
{
	const struct viodma_loop_lock lock = {take, drop, worker};
	enum viodma_result result = make_space(worker);

	if (result == VIODMA_OK)
		result = result_of(pthread_mutex_init(&worker->lock, NULL));
	if (result == VIODMA_OK)
		result = result_of(pthread_cond_init(&worker->changed, NULL));
	if (result == VIODMA_OK)
		result = viodma_loop_new(&worker->loop);
	if (result == VIODMA_OK)
		viodma_loop_share(worker->loop, &lock);
	return result == VIODMA_OK ? make_turns(worker) : result;
}

enum viodma_result viodma_workers_make(struct viodma_vhost_user *backend)
{
	enum viodma_result result = VIODMA_OK;

	backend->workers = calloc(backend->worker_count, sizeof(*backend->workers));
	if (!backend->workers)
		return VIODMA_E_NO_MEMORY;
	for (unsigned i = 0; i < backend->worker_count; i++) {
		backend->workers[i].backend = backend;
		backend->workers[i].index = i;
		backend->workers[i].device = backend->device;
	}
	if (!viodma_workers_several(backend)) {
		backend->workers->loop = backend->loop;
		backend->workers->space = &backend->space;
		backend->workers->iotlb = &backend->iotlb;
		return make_turns(backend->workers);
	}
	for (unsigned i = 0; result == VIODMA_OK && i < backend->worker_count; i++)
		result = make_one_of_several(&backend->workers[i]);
	if (result != VIODMA_OK)
		return result;
	backend->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (backend->news_fd < 0)
		return VIODMA_E_IO;
	return viodma_loop_watch(backend->loop, backend->news_fd, VIODMA_LOOP_IN, told, backend, &backend->news_watch);
}

void viodma_workers_free(struct viodma_vhost_user *backend)
{
	for (unsigned i = 0; backend->workers && i < backend->worker_count; i++) {
		struct viodma_worker *worker = &backend->workers[i];

		viodma_loop_timer_free(worker->poll_timer);
		viodma_loop_timer_free(worker->copy_timer);
		viodma_loop_deferred_free(worker->turn);
		if (!viodma_workers_several(backend))
			break;
		viodma_loop_free(worker->loop);
		free(worker->own_iotlb.config.entries);
		free(worker->own_iotlb.config.misses);
		free(worker->needs);
		free(worker->region_storage);
		pthread_cond_destroy(&worker->changed);
		pthread_mutex_destroy(&worker->lock);
	}
	viodma_loop_unwatch(backend->news_watch);
	viodma_descriptor_close(&backend->news_fd);
	free(backend->workers);
}

/* ---- threads ---- */

static void *run(void *context)
{
	here = context;
	viodma_loop_run(here->loop);
	return NULL;
}

static enum viodma_result begin(struct viodma_worker *worker)
{
	struct viodma_vhost_user *backend = worker->backend;
	enum viodma_result result =
		backend->ops.worker_begins(backend->device, worker->index, worker->loop, &worker->device);

	worker->begun = result == VIODMA_OK;
	return result;
}

static enum viodma_result start(struct viodma_worker *worker)
{
	enum viodma_result result = result_of(pthread_create(&worker->thread, NULL, run, worker));

	worker->runs = result == VIODMA_OK;
	return result;
}

enum viodma_result viodma_workers_begin(struct viodma_vhost_user *backend)
{
	static const int synchronous[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
	enum viodma_result result = VIODMA_OK;
	sigset_t blocked, before;

	if (!viodma_workers_several(backend))
		return VIODMA_OK;
	for (unsigned i = 0; result == VIODMA_OK && i < backend->worker_count; i++)
		result = begin(&backend->workers[i]);
	/* Signals are for the program's own threads; but an access to memory that is gone is the worker's to survive. */
	sigfillset(&blocked);
	for (unsigned i = 0; i < sizeof(synchronous) / sizeof(synchronous[0]); i++)
		sigdelset(&blocked, synchronous[i]);
	pthread_sigmask(SIG_SETMASK, &blocked, &before);
	for (unsigned i = 0; result == VIODMA_OK && i < backend->worker_count; i++)
		result = start(&backend->workers[i]);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return result;
}

void viodma_workers_end(struct viodma_vhost_user *backend)
{
	for (unsigned i = 0; backend->workers && i < backend->worker_count; i++) {
		struct viodma_worker *worker = &backend->workers[i];

		if (!worker->runs)
			continue;
		viodma_loop_stop(worker->loop);
		pthread_join(worker->thread, NULL);
		worker->runs = false;
	}
	for (unsigned i = 0; backend->workers && i < backend->worker_count; i++) {
		struct viodma_worker *worker = &backend->workers[i];

		if (worker->begun && backend->ops.worker_ends)
			backend->ops.worker_ends(worker->device);
		worker->begun = false;
	}
}
