/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guard.c - how it works: a front end can truncate the file behind memory we have mapped; the next access to it raises
 * SIGBUS. The handler looks the address up in a table of guarded ranges. If it finds it, it maps private zeros over
 * that page, notes that this memory is gone, and returns: the access goes on, on zeros, and the owner ends the
 * connection at its next turn (VIODMA_PEER_MEMORY_GONE, PLT-10). Any other SIGBUS has the fate it had before.
 *
 * A page replaced splits a mapping, and a process may have 65530 of them (vm.max_map_count). So one range has at most
 * PAGES_OF_GUARD pages replaced one by one, and all ranges together PAGES_OF_PROCESS; from then on zeros are mapped
 * over the whole range at once, which leaves fewer mappings than there were.
 *
 * The slots of the table are atomic, because a handler may not take a lock: a slot counts while `bytes` is not 0, and
 * `bytes` is written last when a range is added, first when it is removed. A range is removed only when nobody accesses
 * it any more, so no handler is looking at its slot then. The table grows by chunks, which stay: no back end can use up
 * the room of another.
 */
#include "hosted/vhost_user/guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define CHUNK_GUARDS 512
#define CHUNKS 256 /* more ranges than a process may have mappings */
#define PAGES_OF_GUARD 64u
#define PAGES_OF_PROCESS 4096u

struct guard {
	_Atomic uintptr_t start;
	_Atomic size_t bytes; /* 0: free */
	_Atomic size_t granule;
	_Atomic unsigned pages; /* SIGBUS met in it */
	_Atomic(_Atomic int *) gone;
};

static _Atomic(struct guard *) chunks[CHUNKS];
static _Atomic int guards_used; /* slots at and beyond it were never used */
static _Atomic unsigned pages_replaced; /* one by one, in ranges guarded now */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* writers of the table */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct sigaction before;
static bool installed;

static struct guard *guard_at(int slot)
{
	return atomic_load(&chunks[slot / CHUNK_GUARDS]) + slot % CHUNK_GUARDS;
}

static bool map_zeros(uintptr_t start, size_t bytes)
{
	return mmap((void *)start, bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == (void *)start;
}

/* May this page be replaced alone? If so, it counts. */
static bool page_alone(struct guard *guard)
{
	if (atomic_load(&guard->pages) >= PAGES_OF_GUARD || atomic_load(&pages_replaced) >= PAGES_OF_PROCESS)
		return false;
	atomic_fetch_add(&guard->pages, 1);
	atomic_fetch_add(&pages_replaced, 1);
	return true;
}

static bool put_zeros(uintptr_t address)
{
	const int used = atomic_load(&guards_used);

	for (int i = 0; i < used; i++) {
		struct guard *guard = guard_at(i);
		const size_t bytes = atomic_load(&guard->bytes);
		const uintptr_t start = atomic_load(&guard->start);
		size_t granule;

		if (address - start >= bytes)
			continue;
		granule = atomic_load(&guard->granule);
		if ((!page_alone(guard) || !map_zeros(address & ~(uintptr_t)(granule - 1), granule)) &&
		    !map_zeros(start, bytes))
			return false;
		atomic_store(atomic_load(&guard->gone), 1);
		return true;
	}
	return false;
}

static void fate_as_before(int number, siginfo_t *info, void *context)
{
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(number, info, context);
	} else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(number);
	} else if (before.sa_handler == SIG_DFL || info->si_code > 0) {
		/* The access is made again, and ends the process; a signal somebody sent is sent again. */
		signal(number, SIG_DFL);
		if (info->si_code <= 0)
			raise(number);
	}
}

static void handler(int number, siginfo_t *info, void *context)
{
	if (info->si_code <= 0 || !put_zeros((uintptr_t)info->si_addr))
		fate_as_before(number, info, context);
}

static void install(void)
{
	struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};

	action.sa_sigaction = handler;
	sigemptyset(&action.sa_mask);
	/* Read what is there first: our handler may be called before sigaction has answered. */
	installed = sigaction(SIGBUS, NULL, &before) == 0 && sigaction(SIGBUS, &action, NULL) == 0;
}

/* Is there a chunk for a slot that was never used? */
static bool room_for(int slot)
{
	_Atomic(struct guard *) *chunk = &chunks[slot / CHUNK_GUARDS];
	struct guard *made;

	if (slot >= CHUNKS * CHUNK_GUARDS)
		return false;
	if (atomic_load(chunk))
		return true;
	made = calloc(CHUNK_GUARDS, sizeof(*made));
	if (made)
		atomic_store(chunk, made);
	return made != NULL;
}

int viodma_guard_add(void *memory, size_t bytes, size_t granule, _Atomic int *gone)
{
	int slot, used;

	pthread_once(&once, install);
	if (!installed)
		return -1;
	pthread_mutex_lock(&lock);
	used = atomic_load(&guards_used);
	for (slot = 0; slot < used; slot++)
		if (atomic_load(&guard_at(slot)->bytes) == 0)
			break;
	if (slot == used && !room_for(slot))
		slot = -1;
	if (slot >= 0) {
		struct guard *guard = guard_at(slot);

		atomic_store(&guard->start, (uintptr_t)memory);
		atomic_store(&guard->granule, granule);
		atomic_store(&guard->pages, 0);
		atomic_store(&guard->gone, gone);
		atomic_store(&guard->bytes, bytes);
		if (slot == used)
			atomic_store(&guards_used, used + 1);
	}
	pthread_mutex_unlock(&lock);
	return slot;
}

void viodma_guard_remove(int handle)
{
	struct guard *guard;

	if (handle < 0)
		return;
	pthread_mutex_lock(&lock);
	guard = guard_at(handle);
	atomic_store(&guard->bytes, 0);
	atomic_fetch_sub(&pages_replaced, atomic_load(&guard->pages));
	atomic_store(&guard->pages, 0);
	pthread_mutex_unlock(&lock);
}
