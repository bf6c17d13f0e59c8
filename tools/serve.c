/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve.c - `viodma serve`: how it works: one thread for each device, each with a loop of its own (serve_device.c), and
 * the main thread with a loop for signals:
 *
 *	SIGTERM, SIGINT   stop all devices, log and write the statistics, exit 0; 1 if a device does not stop in
 *	                  time, or a file cannot be written
 *	SIGUSR1           log and write the statistics
 *	SIGHUP            look at the disks again: they may have another size
 *
 * They are blocked everywhere and read from a descriptor. SIGPIPE and SIGXFSZ are ignored: writing then fails, and the
 * failure is dealt with where it happens.
 *
 * First everything behind the devices is opened, then every socket: a command line with one wrong path serves nothing.
 */
#include "tools/serve_device.h"

#include "tools/commands.h"
#include "tools/log.h"
#include "tools/test_requests.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRACE_FLUSH_NS 1000000000u

struct serve {
	const struct serve_type *type;
	struct serve_options options;
	struct serve_device *devices; /* options.device_count */
	const struct device_report **reports;
	struct trace *trace;
	struct viodma_loop *loop;
	struct viodma_loop_watch *signal_watch;
	struct viodma_loop_timer *flush_timer;
	int signal_fd;
};

/* ---- statistics and trace ---- */

static bool write_statistics(const struct serve *serve)
{
	for (unsigned i = 0; i < serve->options.device_count; i++)
		statistics_log(serve->reports[i]);
	if (!serve->options.stats_json ||
	    statistics_write(serve->options.stats_json, serve->reports, serve->options.device_count))
		return true;
	log_event(NULL, "%s: writing the statistics: %s", serve->options.stats_json, strerror(errno));
	return false;
}

static void flush_trace(void *context)
{
	struct serve *serve = context;

	trace_flush(serve->trace);
	viodma_loop_arm(serve->flush_timer, viodma_loop_now_ns() + TRACE_FLUSH_NS);
}

static bool end_trace(struct serve *serve)
{
	bool ok = !serve->trace || trace_close(serve->trace);

	if (!ok)
		log_event(NULL, "%s: writing the trace: %s", serve->options.trace_json, strerror(errno));
	serve->trace = NULL;
	return ok;
}

/* Two names of one file: each statistics file would take the trace's place. */
static bool files_differ(const struct serve_options *options)
{
	struct stat statistics, trace;

	if (!options->stats_json || !options->trace_json || stat(options->stats_json, &statistics) < 0 ||
	    stat(options->trace_json, &trace) < 0 || statistics.st_dev != trace.st_dev ||
	    statistics.st_ino != trace.st_ino)
		return true;
	log_event(NULL, "--stats-json %s: is the file of --trace-json, expected another one", options->stats_json);
	return false;
}

/* Whatever would only fail at the end is said at the start. */
static bool open_files(struct serve *serve)
{
	const struct serve_options *options = &serve->options;

	if (options->stats_json && !statistics_writable(options->stats_json)) {
		log_event(NULL, "--stats-json %s: cannot be written: %s", options->stats_json,
			  errno == EINVAL ? "is not a regular file" : strerror(errno));
		return false;
	}
	if (!files_differ(options))
		return false;
	if (!options->trace_json)
		return true;
	serve->trace = trace_open(options->trace_json);
	if (!serve->trace) {
		log_event(NULL, "--trace-json %s: cannot be written: %s", options->trace_json, strerror(errno));
		return false;
	}
	viodma_loop_arm(serve->flush_timer, 0);
	return files_differ(options); /* it is there now */
}

/* ---- signals ---- */

/* A device that does not answer must not keep the others, or the end, waiting for ever. */
static uint64_t in_patience(void)
{
	return viodma_loop_now_ns() + (uint64_t)SERVE_STOP_PATIENCE_MS * 1000000;
}

static void take_signal(void *context, unsigned events)
{
	struct serve *serve = context;
	struct signalfd_siginfo taken;
	uint64_t deadline;

	(void)events;
	if (read(serve->signal_fd, &taken, sizeof(taken)) != (ssize_t)sizeof(taken))
		return;
	deadline = in_patience();
	if (taken.ssi_signo == SIGHUP) {
		for (unsigned i = 0; i < serve->options.device_count; i++)
			(void)serve_device_look_again(&serve->devices[i], deadline);
		return;
	}
	if (taken.ssi_signo != SIGUSR1) {
		log_event(NULL, "%s: stopping", taken.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
		viodma_loop_stop(serve->loop);
		return;
	}
	for (unsigned i = 0; i < serve->options.device_count; i++)
		(void)serve_device_report(&serve->devices[i], deadline); /* else what it had counted before */
	(void)write_statistics(serve);
}

static bool prepare_signals(struct serve *serve)
{
	sigset_t taken;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	sigemptyset(&taken);
	sigaddset(&taken, SIGTERM);
	sigaddset(&taken, SIGINT);
	sigaddset(&taken, SIGUSR1);
	sigaddset(&taken, SIGHUP);
	sigprocmask(SIG_BLOCK, &taken, NULL);
	serve->signal_fd = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
	return serve->signal_fd >= 0;
}

/* A front end that came on --fd has gone; the only device has no more to do. In the device's thread. */
static void front_end_gone(void *context)
{
	struct serve *serve = context;

	log_event(NULL, "the front end has gone: stopping");
	viodma_loop_stop(serve->loop);
}

/* ---- everything together ---- */

static bool set_up(struct serve *serve)
{
	const unsigned count = serve->options.device_count;

	serve->devices = calloc(count, sizeof(*serve->devices));
	serve->reports = calloc(count, sizeof(*serve->reports));
	if (!serve->devices || !serve->reports || !prepare_signals(serve) ||
	    viodma_loop_new(&serve->loop) != VIODMA_OK ||
	    viodma_loop_watch(serve->loop, serve->signal_fd, VIODMA_LOOP_IN, take_signal, serve,
			      &serve->signal_watch) != VIODMA_OK ||
	    viodma_loop_timer(serve->loop, flush_trace, serve, &serve->flush_timer) != VIODMA_OK) {
		log_event(NULL, "setting up: %s", strerror(errno));
		return false;
	}
	if (!open_files(serve))
		return false;
	for (unsigned i = 0; i < count; i++) {
		struct serve_device *device = &serve->devices[i];

		snprintf(device->name, sizeof(device->name), "%s%u", serve->type->options->name, i);
		device->type = serve->type;
		device->options = &serve->options;
		device->device_options = &serve->options.devices[i];
		device->trace = (struct trace_device){ serve->trace, device->name };
		device->finished = front_end_gone;
		device->finished_context = serve;
		serve->reports[i] = &device->report;
		if (!serve_device_open(device))
			return false;
	}
	for (unsigned i = 0; i < count; i++)
		if (!serve_device_listen(&serve->devices[i]))
			return false;
	if (serve->options.test_socket) {
		struct serve_device *first = &serve->devices[0];

		if (!test_requests_new(first->loop, first->backend, serve->options.test_socket,
				       &first->test_requests)) {
			log_event(NULL, "--test-socket %s: %s", serve->options.test_socket, strerror(errno));
			return false;
		}
	}
	for (unsigned i = 0; i < count; i++)
		if (!serve_device_start(&serve->devices[i]))
			return false;
	return true;
}

/* False: the trace could not be written. *stuck: something did not end. */
static bool tear_down(struct serve *serve, bool *stuck)
{
	bool written;

	for (unsigned i = 0; serve->devices && i < serve->options.device_count; i++)
		*stuck = !serve_device_free(&serve->devices[i]) || *stuck;
	written = end_trace(serve); /* the devices write until they are freed */
	viodma_loop_free(serve->loop);
	if (serve->signal_fd >= 0)
		close(serve->signal_fd);
	free(serve->devices);
	free(serve->reports);
	serve_options_free(&serve->options);
	return written;
}

static int serve_main(const struct serve_type *type, int argc, char **argv)
{
	struct serve serve = { .type = type, .signal_fd = -1 };
	bool ready, written = true, stuck = false, unreachable = false;
	uint64_t deadline;
	int status;

	if (!serve_options_parse(type->options, argc, argv, &serve.options, &status)) {
		serve_options_free(&serve.options);
		return status;
	}
	ready = set_up(&serve);
	if (ready)
		viodma_loop_run(serve.loop);
	deadline = in_patience();
	for (unsigned i = 0; serve.devices && i < serve.options.device_count; i++)
		serve_device_stop(&serve.devices[i], deadline);
	for (unsigned i = 0; serve.devices && i < serve.options.device_count; i++) {
		serve_device_join(&serve.devices[i]);
		stuck = stuck || serve.devices[i].stuck;
		unreachable = unreachable || serve.devices[i].unreachable;
	}
	if (ready)
		written = write_statistics(&serve);
	if (stuck || unreachable) {
		if (!unreachable)
			(void)end_trace(&serve);
		_exit(EXIT_FAILED); /* the kernel may still use the memory of what did not end */
	}
	written = tear_down(&serve, &stuck) && written;
	if (stuck)
		_exit(EXIT_FAILED);
	return ready && written ? 0 : EXIT_FAILED;
}

static int help(void)
{
	puts("usage: viodma serve TYPE [OPTION]...\n"
	     "\n"
	     "  blk    virtio disks; see viodma serve blk --help\n"
	     "  rng    virtio entropy devices; see viodma serve rng --help");
	return 0;
}

int viodma_serve_main(int argc, char **argv)
{
	static const struct serve_type *const types[] = { &serve_blk, &serve_rng };
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name) {
		fprintf(stderr, "viodma serve: expected a device type (blk, rng); see viodma serve --help\n");
		return EXIT_USAGE;
	}
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(name, types[i]->options->name))
			return serve_main(types[i], argc - 1, argv + 1);
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help"))
		return help();
	fprintf(stderr, "viodma serve: unknown device type '%s', expected blk or rng\n", name);
	return EXIT_USAGE;
}
