/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench.h - what the files of this room share.
 *
 *   cells.c     names of what can be varied; which cells there are, and which of them were asked for
 *   platform.c  memory, platform, domain, space of one cell: both halves' views
 *   table.c     the IOMMU that stands between them: a flat table
 *   rig.c       both halves over one ring; rig_life.c makes and verifies it; compiled once for each build
 *   raw.h       what `raw` is: the DMA layer compiled out
 *   clock.c     time, quartiles, processors, the ping-pong calibrator
 *   rounds.c    cells that are compared, in interleaved rounds
 *   threads.c   a round on two cores
 *   process.c   both halves in two processes, over vhost-user
 *   report.c    text and JSON; html.c: one page with plots
 *
 * Units: bytes; nanoseconds.
 */
#ifndef VIODMA_BENCH_BENCH_H
#define VIODMA_BENCH_BENCH_H

#include <viodma/domain.h>
#include <viodma/driver.h>
#include <viodma/iotlb.h>
#include <viodma/vhost_user_front.h>

#include <stdio.h>

/* ---- cells.c: what is varied ---- */

enum bench_mode { BENCH_ONE_THREAD, BENCH_TWO_THREADS, BENCH_TWO_PROCESSES, BENCH_MODES };

enum bench_domain {
	BENCH_RAW,          /* addresses are pointers: the yardstick */
	BENCH_CLEAR,        /* direct platform, bit 33 clear */
	BENCH_DIRECT,       /* direct platform, bit 33 set */
	BENCH_OFFSET,       /* windows */
	BENCH_BOUNCE,       /* everything through the pool; the device half's own code keeps to it */
	BENCH_RESTRICTED,   /* the same, and the device half has nothing else */
	BENCH_STRICT,       /* IOMMU: map and unmap for each request */
	BENCH_DEFERRED,     /* ... invalidated together */
	BENCH_PREMAPPED,    /* IOMMU: buffers mapped once */
	BENCH_BOUNCE_IOMMU, /* everything through the pool, and each run entered in the IOMMU */
	BENCH_DOMAINS
};

enum bench_descriptors {
	BENCH_ONE,   /* the payload in one buffer */
	BENCH_CHAIN, /* in two, descriptors in the ring */
	BENCH_TABLE, /* in two, descriptors in an indirect table */
	BENCH_DESCRIPTORS
};

enum bench_build { BENCH_PLAIN, BENCH_RETPOLINE, BENCH_BUILDS };

struct bench_cell {
	enum bench_mode mode;
	enum bench_domain domain;
	enum bench_build build;
	enum bench_descriptors descriptors;
	bool packed, from_device;
	uint32_t batch; /* requests shown to the device at once; 1: one in flight */
	uint32_t bytes; /* payload of a request */
};

const char *bench_mode_name(enum bench_mode mode);
const char *bench_domain_name(enum bench_domain domain);
const char *bench_descriptors_name(enum bench_descriptors descriptors);
const char *bench_build_name(enum bench_build build);

/* "one-thread split one 64 to-device x32": what cells that are compared with each other have in common. */
#define BENCH_GROUP_NAME_BYTES 96
void bench_group_name(const struct bench_cell *cell, char *name);

/* What was asked for. */
struct bench_choice {
	const char *only; /* words; of each kind of word, those named; NULL: all */
	bool quick;
	uint32_t rounds;     /* odd */
	uint64_t round_ns;   /* about so long does a cell run in a round */
	uint32_t count;      /* not 0: so many requests of each cell, once, and no times */
	bool untouched;      /* nobody looks at the payload */
	bool alone;          /* no yardstick that was not asked for */
	void (*progress)(const char *line);
};

/* Is each word of `only` one that is known? If not, *unknown is it, with its length. */
bool bench_only_known(const char *only, const char **unknown, size_t *length);

/* Visit the cells asked for group by group: each call has the cells of one group, raw first. False ends it. */
bool bench_each_group(const struct bench_choice *choice,
		      bool (*visit)(void *context, const struct bench_cell *cells, uint32_t count), void *context);
#define BENCH_GROUP_MAX (BENCH_DOMAINS * BENCH_BUILDS)

/* ---- table.c: the IOMMU ---- */

#define BENCH_GRANULES 65536u

struct bench_table_entry {
	unsigned char *memory; /* of the range that was entered: its first byte */
	uint64_t phys;
	uint32_t first, count; /* granules of it */
	uint32_t permission;   /* 0: nothing is there */
};

struct bench_table {
	struct bench_table_entry *entries; /* BENCH_GRANULES */
	const struct viodma_memory *memory;
	struct viodma_space *space;
	bool threaded;  /* the device half has a thread: an invalidation waits until it has heard of it */
	bool abandoned; /* ... and has ended */
	_Alignas(64) uint64_t asked;
	_Alignas(64) uint64_t heard;
};

extern const struct viodma_iommu_ops bench_table_ops;
bool bench_table_new(struct bench_table *table, const struct viodma_memory *memory, struct viodma_space *space);
void bench_table_free(struct bench_table *table);
void bench_table_translator(struct bench_table *table, struct viodma_translator *translator);
/* Device half, between requests: an invalidation is asked for; forget. */
void bench_table_hear(struct bench_table *table);

/* ---- platform.c ---- */

/* Memory that all cells of a group use: payloads, one slot for each request in flight. */
struct bench_arena {
	struct viodma_front_memory memory;
	uint64_t stride; /* from slot to slot */
	uint64_t second; /* where in a slot the second buffer is; 0: there is one buffer */
	uint32_t slots;
};

struct bench_platform {
	const struct bench_cell *cell;
	const struct bench_arena *arena;
	struct viodma_platform description;
	struct viodma_front_memory pool_memory;
	void *pool_storage, *ring_storage;
	struct viodma_object objects[2];
	struct viodma_memory memory;
	struct viodma_pool pool, ring_pool;
	bool has_ring_pool;
	struct viodma_domain domain;
	struct viodma_iommu_waiting *waiting;
	void *iova_storage;
	_Alignas(128) struct bench_table table; /* each half's on lines of its own */
	bool has_domain, has_table;
	struct bench_remote *remote; /* the device half is there; NULL: here */
	/* the device half's */
	_Alignas(128) struct viodma_space space;
	void *regions;
	struct viodma_iotlb iotlb;
	struct viodma_iotlb_entry *entries;
	struct viodma_iotlb_miss misses[8];
};

bool bench_arena_new(struct bench_arena *arena, const struct bench_cell *cell, uint32_t slots);
void bench_arena_free(struct bench_arena *arena);
uint32_t bench_slots(const struct bench_cell *cell);

bool bench_platform_new(struct bench_platform *platform, const struct bench_cell *cell, const struct bench_arena *arena);
void bench_platform_free(struct bench_platform *platform);

/* The parts of it, for who has the device half elsewhere. */
void bench_platform_describe(struct bench_platform *platform, const struct bench_cell *cell);
bool bench_platform_pool(struct bench_platform *platform);
bool bench_platform_domain(struct bench_platform *platform, const struct viodma_iommu_ops *ops, void *context);

/* Where the driver's CPU has a slot's payload, as a physical address: what is mapped. */
viodma_phys bench_slot_phys(const struct bench_platform *platform, uint32_t slot);

/* Must each bus address differ from the physical one of the same byte? */
bool bench_must_differ(enum bench_domain domain);

/* ---- process.c ---- */

/* What the process of the device half tells of itself: memory of both. */
struct bench_told {
	uint64_t translations, identity_translations;
	bool stray_tried, stray_refused, failed;
};

struct bench_remote {
	int pid;
	struct viodma_front *front;
	struct viodma_driver driver;
	struct bench_told *told;
};

/* The device half of a cell in a process of its own, negotiated with; the platform's domain. NULL: it is there. */
const char *bench_remote_new(struct bench_platform *platform, const struct bench_cell *cell,
			     const struct bench_arena *arena, struct bench_remote *remote);
void bench_remote_reset(struct bench_remote *remote);
void bench_remote_free(struct bench_remote *remote);
/* After verification: what is wrong with what it told. */
const char *bench_remote_fault(const struct bench_remote *remote, enum bench_domain domain);

/* ---- rig.c: both halves over one ring ---- */

struct bench_counts {
	uint64_t requests, segments, kicks, calls;
};

/* Why a cell does not count. NULL: it does. */
typedef const char *bench_fault;

struct bench_rig;
struct viodma_queue;

struct bench_engine {
	/* NULL: *fault says why. The platform stays the caller's. */
	struct bench_rig *(*make)(struct bench_platform *platform, bool untouched, bench_fault *fault);
	void (*end)(struct bench_rig *rig);
	/* `requests` through both halves, batch by batch. */
	bench_fault (*run)(struct bench_rig *rig, uint64_t requests);
	/* The same, each half in its own thread; serve returns when *stop is set. */
	bench_fault (*drive)(struct bench_rig *rig, uint64_t requests);
	void (*serve)(struct bench_rig *rig, const int *stop);
	/* The same, for a platform whose device half is in another process. */
	bench_fault (*remote)(struct bench_rig *rig, uint64_t requests);
	/* In that process: a device half alone, and its work on a queue. False: something was wrong. */
	struct bench_rig *(*make_server)(const struct bench_cell *cell);
	bool (*process)(struct bench_rig *rig, struct viodma_queue *queue, bool *more);
	/* Every byte of requests in both directions compared; addresses looked at; an access nobody granted attempted. */
	bench_fault (*verify)(struct bench_rig *rig);
	void (*counts)(const struct bench_rig *rig, struct bench_counts *counts);
};

extern const struct bench_engine bench_engine_plain, bench_engine_raw;
#ifdef VIODMA_BENCH_RETPOLINE
extern const struct bench_engine bench_engine_retpoline, bench_engine_raw_retpoline;
#endif
/* NULL: this program was built without it. */
const struct bench_engine *bench_engine(const struct bench_cell *cell);

/* ---- clock.c ---- */

uint64_t bench_now_ns(void);
/* Of `count` numbers, which get sorted: the quartiles. */
struct bench_spread {
	double low, median, high;
};
struct bench_spread bench_spread(double *numbers, uint32_t count);
/* This thread, on one of two processors from now on. False: there is only one. */
bool bench_pin(unsigned which);
/* A cache line to the other processor and back: nanoseconds; 0 where there is no other. */
double bench_ping_pong(void);
/* memcpy of a payload, from slot to slot: nanoseconds. */
double bench_memcpy_ns(const struct bench_arena *arena, unsigned char *to, uint32_t bytes, uint64_t round_ns);

/* ---- rounds.c, threads.c ---- */

struct bench_row {
	struct bench_cell cell;
	char fault[120]; /* why it does not count */
	uint64_t requests;
	struct bench_spread ns;          /* of a request */
	struct bench_spread to_raw;      /* ratio, of the same build, round by round; 0: no yardstick */
	struct bench_spread to_memcpy;   /* ratio */
	struct bench_spread added_to_memcpy; /* (this - direct) / memcpy of the same bytes */
	struct bench_spread to_direct;   /* ratio to `direct` of the same build */
	double memcpy_ns, ping_pong_ns;
	double copied_bytes, maps, kicks, calls, segments; /* of a request */
};

struct bench_results {
	struct bench_row *rows;
	uint32_t count, capacity;
	double ping_pong_ns; /* median over the run; 0: one processor */
	uint32_t faults;
	uint64_t took_ns;
};

/* All of them. False: out of memory. */
bool bench_run(const struct bench_choice *choice, struct bench_results *results);
void bench_results_free(struct bench_results *results);

/* One round of a cell on two cores: nanoseconds of a request. */
bench_fault bench_two_threads(const struct bench_engine *engine, struct bench_rig *rig, struct bench_platform *platform,
			      uint64_t requests, double *ns);

/* ---- report.c, html.c ---- */

void bench_report_text(const struct bench_results *results, FILE *to);
bool bench_report_json(const struct bench_results *results, const struct bench_choice *choice, const char *path);
bool bench_report_html(const struct bench_results *results, const char *path);

#endif
