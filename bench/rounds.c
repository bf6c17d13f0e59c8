/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rounds.c - how it works: a group is what differs in domain and build alone. All of its cells are made, verified and
 * warmed up; then each round runs every cell once, beginning with another one each time, and memcpy of the payload. A
 * ratio is of two cells in the same round. What a row says is the quartiles over the rounds.
 *
 * A cell that fails its checks has no numbers.
 */
#include "bench/bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CALIBRATE_NS 200000u
#define ROUNDS_MAX 101u

struct running {
	struct bench_platform platform;
	const struct bench_engine *engine;
	struct bench_rig *rig;
	struct bench_remote remote;
	bench_fault fault;
	uint64_t requests; /* in a round */
	struct bench_counts before;
	uint64_t copied_before;
	double ns[ROUNDS_MAX];
};

struct group {
	const struct bench_choice *choice;
	const struct bench_cell *cells;
	uint32_t count;
	struct bench_arena arena;
	unsigned char *copy_to;
	struct running *running;
	double memcpy_ns[ROUNDS_MAX], ping_pong_ns[ROUNDS_MAX];
	double ratios[ROUNDS_MAX];
};

/* ---- life ---- */

static bool begin_group(struct group *group)
{
	uint32_t slots = 1;

	for (uint32_t i = 0; i < group->count; i++)
		if (bench_slots(&group->cells[i]) > slots)
			slots = bench_slots(&group->cells[i]);
	if (!bench_arena_new(&group->arena, &group->cells[0], slots))
		return false;
	group->copy_to = malloc(group->arena.stride * slots);
	group->running = aligned_alloc(128, (group->count * sizeof(*group->running) + 127) / 128 * 128);
	if (!group->copy_to || !group->running)
		return false;
	memset(group->running, 0, group->count * sizeof(*group->running));
	memset(group->copy_to, 1, group->arena.stride * slots);
	return true;
}

static void begin_cell(struct group *group, uint32_t at)
{
	struct running *running = &group->running[at];

	running->engine = bench_engine(&group->cells[at]);
	if (group->cells[at].mode == BENCH_TWO_PROCESSES)
		running->fault = bench_remote_new(&running->platform, &group->cells[at], &group->arena, &running->remote);
	else if (!bench_platform_new(&running->platform, &group->cells[at], &group->arena))
		running->fault = "its platform cannot be made";
	if (running->fault)
		return;
	running->rig = running->engine->make(&running->platform, group->choice->untouched, &running->fault);
	if (running->rig)
		running->fault = running->engine->verify(running->rig);
}

static void end_group(struct group *group)
{
	for (uint32_t i = 0; group->running && i < group->count; i++) {
		if (group->running[i].rig)
			group->running[i].engine->end(group->running[i].rig);
		bench_remote_free(&group->running[i].remote);
		bench_platform_free(&group->running[i].platform);
	}
	free(group->running);
	free(group->copy_to);
	bench_arena_free(&group->arena);
}

/* ---- running ---- */

/* Nanoseconds of a request. Again until least_ns have passed, where that takes no new thread. */
static double run_cell(const struct group *group, struct running *running, uint64_t requests, uint64_t least_ns)
{
	const uint64_t began = bench_now_ns();
	uint64_t done = 0, took;
	double ns;

	if (group->cells[0].mode == BENCH_TWO_THREADS) {
		running->fault = bench_two_threads(running->engine, running->rig, &running->platform, requests, &ns);
		return ns;
	}
	do {
		running->fault = running->platform.remote ? running->engine->remote(running->rig, requests) :
							    running->engine->run(running->rig, requests);
		done += requests;
		took = bench_now_ns() - began;
	} while (!running->fault && took < least_ns);
	return (double)took / (double)done;
}

static uint64_t copied(const struct running *running)
{
	const struct viodma_pool_statistics *pool = &running->platform.pool.statistics;

	return pool->copied_in_bytes + pool->copied_out_bytes;
}

/*
 * How many requests take a round's time; it warms up, too. By the fastest of a few tries: one that the machine has
 * interrupted would make rounds too short to be warm.
 */
static void calibrate(struct group *group, struct running *running)
{
	const uint32_t batch = group->cells[0].batch;
	uint64_t requests = batch;
	double ns = 1, again;

	while (!running->fault) {
		ns = run_cell(group, running, requests, 0);
		if (ns * (double)requests > CALIBRATE_NS || requests > 1000000)
			break;
		requests *= 4;
	}
	for (unsigned i = 0; i < 3 && !running->fault; i++) {
		again = run_cell(group, running, requests, 0);
		ns = again < ns ? again : ns;
	}
	running->requests = (uint64_t)((double)group->choice->round_ns / (ns > 0.1 ? ns : 0.1)) / batch * batch + batch;
}

static void run_rounds(struct group *group)
{
	const struct bench_choice *choice = group->choice;
	const bool two = group->cells[0].mode != BENCH_ONE_THREAD;

	for (uint32_t i = 0; i < group->count; i++) {
		struct running *running = &group->running[i];

		if (!running->fault)
			calibrate(group, running);
		if (!running->fault)
			running->engine->counts(running->rig, &running->before);
		running->copied_before = copied(running);
	}
	for (uint32_t round = 0; round < choice->rounds; round++) {
		group->ping_pong_ns[round] = two ? bench_ping_pong() : 0;
		group->memcpy_ns[round] = bench_memcpy_ns(&group->arena, group->copy_to, group->cells[0].bytes,
							  choice->round_ns);
		for (uint32_t i = 0; i < group->count; i++) {
			struct running *running = &group->running[(i + round) % group->count];

			if (!running->fault)
				running->ns[round] =
					run_cell(group, running, running->requests, choice->round_ns / 2);
		}
	}
}

/* ---- what came of it ---- */

static struct bench_spread ratio(struct group *group, const double *of, const double *to)
{
	const uint32_t rounds = group->choice->rounds;

	for (uint32_t i = 0; i < rounds; i++)
		group->ratios[i] = to[i] > 0 ? of[i] / to[i] : 0;
	return bench_spread(group->ratios, rounds);
}

static struct bench_spread added(struct group *group, const double *of, const double *direct)
{
	const uint32_t rounds = group->choice->rounds;

	for (uint32_t i = 0; i < rounds; i++)
		group->ratios[i] = (of[i] - direct[i]) / group->memcpy_ns[i];
	return bench_spread(group->ratios, rounds);
}

/* The cell of the same build in another domain, if it was measured. */
static struct running *other(struct group *group, uint32_t at, enum bench_domain domain)
{
	for (uint32_t i = 0; i < group->count; i++)
		if (group->cells[i].domain == domain && group->cells[i].build == group->cells[at].build &&
		    !group->running[i].fault)
			return &group->running[i];
	return NULL;
}

static void counts_of(const struct running *running, struct bench_row *row)
{
	struct bench_counts now;
	double requests;

	running->engine->counts(running->rig, &now);
	row->requests = now.requests - running->before.requests;
	requests = row->requests ? (double)row->requests : 1;
	row->segments = (double)(now.segments - running->before.segments) / requests;
	row->kicks = (double)(now.kicks - running->before.kicks) / requests;
	row->calls = (double)(now.calls - running->before.calls) / requests;
	row->copied_bytes = (double)(copied(running) - running->copied_before) / requests;
	row->maps = row->cell.domain == BENCH_PREMAPPED || row->cell.domain == BENCH_RAW ? 0 : 1;
}

static void report_cell(struct group *group, uint32_t at, struct bench_row *row)
{
	struct running *running = &group->running[at];
	const struct running *raw = other(group, at, BENCH_RAW), *direct = other(group, at, BENCH_DIRECT);
	double ns[ROUNDS_MAX];

	row->cell = group->cells[at];
	if (running->fault) {
		snprintf(row->fault, sizeof(row->fault), "%s", running->fault);
		return;
	}
	counts_of(running, row);
	if (raw)
		row->to_raw = ratio(group, running->ns, raw->ns);
	if (direct) {
		row->to_direct = ratio(group, running->ns, direct->ns);
		row->added_to_memcpy = added(group, running->ns, direct->ns);
	}
	row->to_memcpy = ratio(group, running->ns, group->memcpy_ns);
	memcpy(ns, group->memcpy_ns, sizeof(ns));
	row->memcpy_ns = bench_spread(ns, group->choice->rounds).median;
	memcpy(ns, group->ping_pong_ns, sizeof(ns));
	row->ping_pong_ns = bench_spread(ns, group->choice->rounds).median;
	memcpy(ns, running->ns, sizeof(ns));
	row->ns = bench_spread(ns, group->choice->rounds);
}

static bool run_group(const struct bench_choice *choice, const struct bench_cell *cells, uint32_t count,
		      struct bench_row *rows)
{
	struct group group = { .choice = choice, .cells = cells, .count = count };
	const bool made = begin_group(&group);

	for (uint32_t i = 0; made && i < count; i++)
		begin_cell(&group, i);
	if (made && choice->count) {
		for (uint32_t i = 0; i < count; i++)
			if (!group.running[i].fault)
				group.running[i].fault = group.running[i].engine->run(group.running[i].rig, choice->count);
	} else if (made) {
		run_rounds(&group);
	}
	for (uint32_t i = 0; made && i < count; i++) {
		if (!choice->count)
			report_cell(&group, i, &rows[i]);
		rows[i].cell = cells[i];
		if (group.running[i].fault)
			snprintf(rows[i].fault, sizeof(rows[i].fault), "%s", group.running[i].fault);
	}
	end_group(&group);
	return made;
}

/* ---- all groups ---- */

struct all {
	const struct bench_choice *choice;
	struct bench_results *results;
	bool two; /* there is a second processor */
};

static bool visit(void *context, const struct bench_cell *cells, uint32_t count)
{
	struct all *all = context;
	struct bench_results *results = all->results;
	char name[BENCH_GROUP_NAME_BYTES];
	struct bench_row *rows;
	bool done;

	if (cells[0].mode != BENCH_ONE_THREAD && !all->two)
		return true;
	if (results->count + count > results->capacity) {
		results->capacity = 2 * results->capacity + BENCH_GROUP_MAX;
		rows = realloc(results->rows, results->capacity * sizeof(*rows));
		if (!rows)
			return false;
		results->rows = rows;
	}
	rows = &results->rows[results->count];
	memset(rows, 0, count * sizeof(*rows));
	bench_group_name(&cells[0], name);
	if (all->choice->progress)
		all->choice->progress(name);
	done = run_group(all->choice, cells, count, rows);
	for (uint32_t i = 0; done && i < count; i++)
		results->faults += rows[i].fault[0] != 0;
	results->count += done ? count : 0;
	return done;
}

bool bench_run(const struct bench_choice *choice, struct bench_results *results)
{
	const uint64_t began = bench_now_ns();
	struct all all = { choice, results, bench_pin(1) };
	double ping_pongs[9];
	bool done;

	memset(results, 0, sizeof(*results));
	bench_pin(0);
	for (unsigned i = 0; i < 9 && all.two && !choice->count; i++)
		ping_pongs[i] = bench_ping_pong();
	results->ping_pong_ns = all.two && !choice->count ? bench_spread(ping_pongs, 9).median : 0;
	done = bench_each_group(choice, visit, &all);
	results->took_ns = bench_now_ns() - began;
	return done;
}

void bench_results_free(struct bench_results *results)
{
	free(results->rows);
	memset(results, 0, sizeof(*results));
}
