/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * trace.h - --trace-json: one line of JSON for each mapping granted or revoked, access, refusal, ring start and stop.
 *
 * One trace serves all devices. Thread: any; lines do not mix.
 */
#ifndef VIODMA_TOOLS_TRACE_H
#define VIODMA_TOOLS_TRACE_H

#include <viodma/queue.h>

struct trace;

/* A device's part of a trace: the context of its events. */
struct trace_device {
	struct trace *trace; /* NULL: nothing is traced */
	const char *name;
};

/* NULL: the file could not be opened; errno says why. An existing one is emptied. */
struct trace *trace_open(const char *path);
/* Writes what is buffered. False: something could not be written; errno says why. */
bool trace_close(struct trace *trace);
/* Write what has been buffered for a second. Call now and then, since a quiet device calls nothing else. */
void trace_flush(struct trace *trace);

/* For viodma_vhost_user_options.events; context is a struct trace_device. */
struct viodma_space_events trace_events(struct trace_device *device);
void trace_ring(struct trace_device *device, unsigned queue, const struct viodma_queue_setup *setup, bool start);

#endif
