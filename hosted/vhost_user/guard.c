/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guard.c - how it works: a front end can truncate the file behind memory we have mapped; the next access to it raises
 * SIGBUS. The handler looks the address up in a table of guarded ranges. If it finds it, it maps private zeros over
 * that page, notes that this memory is gone, and returns: the access goes on, on zeros, and the owner ends the
 * connection at its next turn (VIODMA_PEER_MEMORY_GONE, PLT-10). Any other SIGBUS has the fate it had before.
 *
 * The table is fixed and its slots are atomic, because a handler may not take a lock: a slot counts while `bytes` is
 * not 0, and `bytes` is written last when a range is added, first when it is removed. A range is removed only when
 * nobody accesses it any more, so no handler is looking at its slot then.
 */
#include "hosted/vhost_user/guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

#define GUARDS 4096

struct guard {
	_Atomic uintptr_t start;
	_Atomic size_t bytes; /* 0: free */
	_Atomic size_t granule;
	_Atomic(_Atomic int *) gone;
};

static struct guard guards[GUARDS];
static _Atomic int guards_used; /* slots at and beyond it were never used */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* writers of the table */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct sigaction before;
static bool installed;

static bool put_zeros(uintptr_t address)
{
	const int used = atomic_load(&guards_used);

	for (int i = 0; i < used; i++) {
		struct guard *guard = &guards[i];
		const size_t bytes = atomic_load(&guard->bytes);
		const uintptr_t start = atomic_load(&guard->start);
		size_t granule;
		void *page;

		if (address - start >= bytes)
			continue;
		granule = atomic_load(&guard->granule);
		page = (void *)(address & ~(uintptr_t)(granule - 1));
		if (mmap(page, granule, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
		    page)
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

int viodma_guard_add(void *memory, size_t bytes, size_t granule, _Atomic int *gone)
{
	int slot, used;

	pthread_once(&once, install);
	if (!installed)
		return -1;
	pthread_mutex_lock(&lock);
	used = atomic_load(&guards_used);
	for (slot = 0; slot < used; slot++)
		if (atomic_load(&guards[slot].bytes) == 0)
			break;
	if (slot < GUARDS) {
		atomic_store(&guards[slot].start, (uintptr_t)memory);
		atomic_store(&guards[slot].granule, granule);
		atomic_store(&guards[slot].gone, gone);
		atomic_store(&guards[slot].bytes, bytes);
		if (slot == used)
			atomic_store(&guards_used, used + 1);
	}
	pthread_mutex_unlock(&lock);
	return slot < GUARDS ? slot : -1;
}

void viodma_guard_remove(int handle)
{
	if (handle < 0)
		return;
	pthread_mutex_lock(&lock);
	atomic_store(&guards[handle].bytes, 0);
	pthread_mutex_unlock(&lock);
}
