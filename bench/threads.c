/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * threads.c - how it works: the driver half stays in this thread, the device half gets one of its own on the other
 * processor, for one round. Both poll. The rings go on where the last round left them.
 */
#include "bench/bench.h"

#include <pthread.h>

struct serving {
	const struct bench_engine *engine;
	struct bench_rig *rig;
	struct bench_platform *platform;
	int stop, started;
};

static void *serve(void *context)
{
	struct serving *serving = context;

	bench_pin(1);
	__atomic_store_n(&serving->started, 1, __ATOMIC_RELEASE);
	serving->engine->serve(serving->rig, &serving->stop);
	__atomic_store_n(&serving->platform->table.abandoned, true, __ATOMIC_RELEASE);
	return NULL;
}

bench_fault bench_two_threads(const struct bench_engine *engine, struct bench_rig *rig, struct bench_platform *platform,
			      uint64_t requests, double *ns)
{
	struct serving serving = { engine, rig, platform, 0, 0 };
	pthread_t thread;
	bench_fault fault;
	uint64_t began;

	platform->table.threaded = true;
	platform->table.abandoned = false;
	if (pthread_create(&thread, NULL, serve, &serving) != 0)
		return "no second thread";
	while (!__atomic_load_n(&serving.started, __ATOMIC_ACQUIRE))
		;
	fault = engine->drive(rig, requests / 8 + 1);
	began = bench_now_ns();
	if (!fault)
		fault = engine->drive(rig, requests);
	*ns = (double)(bench_now_ns() - began) / (double)requests;
	__atomic_store_n(&serving.stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	platform->table.threaded = false;
	return fault;
}
