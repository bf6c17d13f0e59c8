/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * clock.c - how it works: time on a machine that is not ours alone. The same binary is twice as fast in one second as
 * in the next, so nothing here is an average: of a few short rounds the quartiles are kept, and what is compared is
 * compared within one round. The ping-pong says what a cache line costs between the two processors at that moment.
 */
#include "bench/bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PING_PONGS 5000u
#define SPINS_MAX 50000000u

uint64_t bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int by_size(const void *one, const void *other)
{
	const double a = *(const double *)one, b = *(const double *)other;

	return a < b ? -1 : a > b;
}

static double at(const double *sorted, uint32_t count, double part)
{
	const double position = part * (count - 1);
	const uint32_t below = (uint32_t)position;

	return below + 1 < count ? sorted[below] + (position - below) * (sorted[below + 1] - sorted[below]) :
				   sorted[below];
}

struct bench_spread bench_spread(double *numbers, uint32_t count)
{
	if (!count)
		return (struct bench_spread){ 0, 0, 0 };
	qsort(numbers, count, sizeof(*numbers), by_size);
	return (struct bench_spread){ at(numbers, count, 0.25), at(numbers, count, 0.5), at(numbers, count, 0.75) };
}

/* ---- processors ---- */

static cpu_set_t allowed;
static unsigned allowed_count;

static int processor(unsigned which)
{
	if (!allowed_count && sched_getaffinity(0, sizeof(allowed), &allowed) == 0)
		allowed_count = (unsigned)CPU_COUNT(&allowed);
	for (int cpu = 0; cpu < CPU_SETSIZE && which < allowed_count; cpu++)
		if (CPU_ISSET(cpu, &allowed) && which-- == 0)
			return cpu;
	return -1;
}

bool bench_pin(unsigned which)
{
	const int cpu = processor(which);
	cpu_set_t one;

	if (cpu < 0)
		return false;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	return pthread_setaffinity_np(pthread_self(), sizeof(one), &one) == 0;
}

/* ---- a cache line, to and fro ---- */

struct line {
	_Alignas(128) uint64_t word;
	_Alignas(128) bool failed;
};

static bool wait_for(struct line *line, uint64_t word)
{
	for (uint32_t spins = 0; __atomic_load_n(&line->word, __ATOMIC_ACQUIRE) != word; spins++) {
		if (spins == SPINS_MAX)
			return false;
		if (spins % 4096 == 4095)
			sched_yield();
	}
	return true;
}

static void *answer(void *context)
{
	struct line *line = context;

	bench_pin(1);
	for (uint64_t i = 0; i < PING_PONGS; i++) {
		if (!wait_for(line, 2 * i + 1)) {
			line->failed = true;
			break;
		}
		__atomic_store_n(&line->word, 2 * i + 2, __ATOMIC_RELEASE);
	}
	return NULL;
}

double bench_ping_pong(void)
{
	struct line line = { 0, false };
	uint64_t began = 0, i;
	pthread_t other;

	if (processor(1) < 0 || pthread_create(&other, NULL, answer, &line) != 0)
		return 0;
	for (i = 0; i < PING_PONGS; i++) {
		if (i == PING_PONGS / 5)
			began = bench_now_ns(); /* the other thread runs by now */
		__atomic_store_n(&line.word, 2 * i + 1, __ATOMIC_RELEASE);
		if (!wait_for(&line, 2 * i + 2))
			break;
	}
	began = bench_now_ns() - began;
	pthread_join(other, NULL);
	return line.failed || i < PING_PONGS ? 0 : (double)began / (PING_PONGS - PING_PONGS / 5);
}

/* ---- memcpy ---- */

double bench_memcpy_ns(const struct bench_arena *arena, unsigned char *to, uint32_t bytes, uint64_t round_ns)
{
	const unsigned char *from = arena->memory.object.memory;
	const uint64_t began = bench_now_ns();
	uint64_t copies = 0, took;

	do {
		for (uint32_t i = 0; i < 64; i++) {
			const uint64_t slot = arena->stride * (copies++ % arena->slots);

			memcpy(to + slot, from + slot, bytes);
			__asm__ volatile("" : : : "memory");
		}
		took = bench_now_ns() - began;
	} while (took < round_ns / 2);
	return (double)took / (double)copies;
}
