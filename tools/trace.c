/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * trace.c - how it works: lines go into a large buffer of stdio, whose lock keeps those of several threads apart. It is
 * written when it is full, and at most once a second besides; the program's main thread sees to that.
 */
#include "tools/trace.h"

#include "tools/statistics.h"

#include <viodma/loop.h>

#include <inttypes.h>
#include <stdlib.h>

#define BUFFER_BYTES (1u << 20)

struct trace {
	FILE *file;
};

struct trace *trace_open(const char *path)
{
	struct trace *trace = calloc(1, sizeof(*trace));

	if (!trace)
		return NULL;
	trace->file = fopen(path, "we");
	if (!trace->file) {
		free(trace);
		return NULL;
	}
	setvbuf(trace->file, NULL, _IOFBF, BUFFER_BYTES);
	return trace;
}

bool trace_close(struct trace *trace)
{
	bool ok = !ferror(trace->file);

	ok = fclose(trace->file) == 0 && ok;
	free(trace);
	return ok;
}

void trace_flush(struct trace *trace)
{
	fflush(trace->file);
}

static const char *permission_name(enum viodma_permission permission)
{
	switch (permission) {
	case VIODMA_READ:
		return "r";
	case VIODMA_WRITE:
		return "w";
	case VIODMA_READ_WRITE:
		return "rw";
	default:
		return "";
	}
}

static FILE *begin(const struct trace_device *device, const char *event)
{
	FILE *file = device->trace->file;

	flockfile(file);
	fprintf(file, "{\"t_ns\": %" PRIu64 ", \"event\": \"%s\", \"device\": \"%s\"", viodma_loop_now_ns(), event,
		device->name);
	return file;
}

static void end(FILE *file)
{
	fputs("}\n", file);
	funlockfile(file);
}

/* The length of first..last; the whole address space, which 64 bits cannot say, is one byte short. */
static uint64_t length_of(viodma_bus first, viodma_bus last)
{
	uint64_t length = last.v - first.v;

	return length == UINT64_MAX ? length : length + 1;
}

static void on_fault(void *context, const struct viodma_fault *fault)
{
	FILE *file = begin(context, "fault");

	if (fault->queue != VIODMA_QUEUE_NONE)
		fprintf(file, ", \"queue\": %u", fault->queue);
	fprintf(file,
		", \"bus\": \"0x%" PRIx64 "\", \"len\": %" PRIu64 ", \"perm\": \"%s\", \"requirement\": \"%s\""
		", \"reason\": \"%s\"",
		fault->bus.v, fault->len_bytes, permission_name(fault->permission),
		viodma_result_requirement(fault->reason), viodma_result_name(fault->reason));
	end(file);
}

static void on_touch(void *context, viodma_bus bus, viodma_phys phys, uint64_t len_bytes,
		     enum viodma_permission permission)
{
	FILE *file = begin(context, "touch");

	fprintf(file, ", \"bus\": \"0x%" PRIx64 "\", \"phys\": \"0x%" PRIx64 "\", \"len\": %" PRIu64 ", \"perm\": \"%s\"",
		bus.v, phys.v, len_bytes, permission_name(permission));
	end(file);
}

static void on_grant(void *context, const struct viodma_extent *extent)
{
	FILE *file = begin(context, "grant");

	fprintf(file, ", \"bus\": \"0x%" PRIx64 "\", \"phys\": \"0x%" PRIx64 "\", \"len\": %" PRIu64 ", \"perm\": \"%s\"",
		extent->first.v, extent->phys.v, length_of(extent->first, extent->last),
		permission_name(extent->permission));
	end(file);
}

static void on_revoke(void *context, viodma_bus first, viodma_bus last)
{
	FILE *file = begin(context, "revoke");

	fprintf(file, ", \"bus\": \"0x%" PRIx64 "\", \"len\": %" PRIu64, first.v, length_of(first, last));
	end(file);
}

struct viodma_space_events trace_events(struct trace_device *device)
{
	return (struct viodma_space_events){
		.fault = on_fault,
		.touch = on_touch,
		.grant = on_grant,
		.revoke = on_revoke,
		.context = device,
	};
}

void trace_ring(struct trace_device *device, unsigned queue, const struct viodma_queue_setup *setup, bool start)
{
	FILE *file;

	if (!device->trace)
		return;
	file = begin(device, start ? "start" : "stop");
	fprintf(file,
		", \"queue\": %u, \"size\": %" PRIu32 ", \"desc\": \"0x%" PRIx64 "\", \"avail\": \"0x%" PRIx64
		"\", \"used\": \"0x%" PRIx64 "\"",
		queue, setup->size, setup->desc.v, setup->avail.v, setup->used.v);
	end(file);
}
