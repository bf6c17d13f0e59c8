/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * demo_device.c - how it works: the child closes the driver half's end of the socket pair, so that it sees a hang-up
 * when the driver half is done, or dies; then it writes what it counted to a pipe and ends. Should it be busy for ever,
 * the kernel ends it with its parent.
 *
 * The disk is opened through /proc/self/fd: its file has no name, and goes when both processes have gone.
 */
#include "tools/demo_device.h"

#include "hosted/device/blk_on_disk.h"
#include "tools/log.h"

#include <viodma/loop.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_NS 2000000u
#define PATIENCE_MS 5000
#define BLOCK_BYTES 512u

/* ---- in the child ---- */

struct served {
	const char *name;
	struct viodma_loop *loop;
	struct viodma_loop_timer *timer;
	struct viodma_blk_on_disk *device;
	struct viodma_vhost_user *backend;
	struct viodma_vhost_user_statistics statistics;
};

/* Until the driver half has gone, and the disk has answered everything. */
static void look_whether_finished(void *context)
{
	struct served *served = context;

	if (viodma_vhost_user_finished(served->backend)) {
		viodma_vhost_user_statistics(served->backend, &served->statistics);
		if (viodma_vhost_user_free(served->backend) == VIODMA_OK) {
			viodma_blk_on_disk_set_backend(served->device, NULL);
			viodma_loop_stop(served->loop);
			return;
		}
	}
	viodma_loop_arm(served->timer, viodma_loop_now_ns() + LOOK_NS);
}

static bool make_device(struct served *served, int image)
{
	struct viodma_blk_on_disk_options options = { .loop = served->loop, .blk_size = BLOCK_BYTES };
	struct viodma_disk_options disk = { .engine = VIODMA_DISK_AUTO };
	char path[32], text[512];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", image);
	disk.path = path;
	if (viodma_disk_open(&disk, &options.disk, text, sizeof(text)) != VIODMA_OK) {
		log_line(served->name, text);
		return false;
	}
	if (viodma_blk_on_disk_new(&options, &served->device) == VIODMA_OK)
		return true;
	(void)!viodma_disk_close(options.disk);
	return false;
}

static bool serve(struct served *served, int image, int socket, bool offer)
{
	struct viodma_vhost_user_options options = {
		.name = served->name,
		.socket_fd = socket,
		.platform_dma = offer ? VIODMA_PLATFORM_DMA_OFFER : VIODMA_PLATFORM_DMA_OFF,
	};

	viodma_blk_on_disk_limits(&options);
	if (viodma_loop_new(&served->loop) != VIODMA_OK ||
	    viodma_loop_timer(served->loop, look_whether_finished, served, &served->timer) != VIODMA_OK ||
	    !make_device(served, image) ||
	    viodma_vhost_user_new(served->loop, &viodma_blk_on_disk_ops, served->device, &options,
				  &served->backend) != VIODMA_OK)
		return false;
	viodma_blk_on_disk_set_backend(served->device, served->backend);
	viodma_loop_arm(served->timer, 0);
	viodma_loop_run(served->loop);
	(void)!viodma_blk_on_disk_free(served->device);
	viodma_loop_free(served->loop);
	return true;
}

static void be_device(const char *name, int image, int socket, int report, bool offer)
{
	struct served served = { .name = name };
	const char *at = (const char *)&served.statistics;
	size_t left = sizeof(served.statistics);

	if (!serve(&served, image, socket, offer)) {
		log_event(name, "the device half: %s", strerror(errno));
		_exit(1);
	}
	while (left) {
		const ssize_t put = write(report, at, left);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			_exit(1);
		at += put;
		left -= (size_t)put;
	}
	_exit(0);
}

/* ---- in the parent ---- */

/* A file without a name. -1: errno. */
static int new_image(uint64_t bytes)
{
	const char *directory = getenv("TMPDIR") && *getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
	char path[4096];
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0) { /* a file system that has none such */
		if ((size_t)snprintf(path, sizeof(path), "%s/viodma-XXXXXX", directory) >= sizeof(path)) {
			errno = ENAMETOOLONG;
			return -1;
		}
		fd = mkostemp(path, O_CLOEXEC);
		if (fd >= 0)
			unlink(path);
	}
	if (fd >= 0 && ftruncate(fd, (off_t)bytes) < 0) {
		const int reason = errno;

		close(fd);
		errno = reason;
		return -1;
	}
	return fd;
}

static void close_all(struct demo_device *device)
{
	if (device->socket >= 0)
		close(device->socket);
	if (device->image >= 0)
		close(device->image);
	if (device->report >= 0)
		close(device->report);
	device->socket = device->image = device->report = -1;
}

static bool not_started(struct demo_device *device, const char *what)
{
	log_event(device->name, "%s: %s", what, strerror(errno));
	close_all(device);
	return false;
}

bool demo_device_start(struct demo_device *device, const char *name, uint64_t disk_bytes, bool offer)
{
	const pid_t parent = getpid();
	int sockets[2], reports[2];

	*device = (struct demo_device){ .name = name, .socket = -1, .report = -1 };
	device->image = new_image(disk_bytes);
	if (device->image < 0)
		return not_started(device, "making a disk in $TMPDIR or /tmp");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		return not_started(device, "making a socket pair");
	device->socket = sockets[0];
	if (pipe2(reports, O_CLOEXEC) < 0) {
		close(sockets[1]);
		return not_started(device, "making a pipe");
	}
	device->report = reports[0];
	fflush(NULL); /* the child has a copy of what is not written yet */
	device->pid = fork();
	if (device->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		close(sockets[0]);
		close(reports[0]);
		be_device(name, device->image, sockets[1], reports[1], offer);
	}
	close(sockets[1]);
	close(reports[1]);
	if (device->pid > 0)
		return true;
	device->pid = 0;
	return not_started(device, "starting the device half");
}

static bool same_file(int fd, unsigned major_number, unsigned minor_number, uint64_t inode)
{
	struct stat found;

	return fd >= 0 && fstat(fd, &found) == 0 && major(found.st_dev) == major_number &&
	       minor(found.st_dev) == minor_number && found.st_ino == inode;
}

bool demo_device_maps(const struct demo_device *device, int private_fd, int pool_fd, struct demo_maps *maps)
{
	unsigned major_number, minor_number;
	uint64_t first, behind, inode;
	char path[64], *line = NULL;
	size_t room = 0;
	bool whole;
	FILE *file;

	*maps = (struct demo_maps){ 0 };
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)device->pid);
	file = fopen(path, "re");
	while (file && getline(&line, &room, file) >= 0) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %*x %x:%x %" SCNu64, &first, &behind, &major_number,
			   &minor_number, &inode) != 5)
			continue;
		if (strstr(line, "/memfd:"))
			maps->memfd_bytes += behind - first;
		if (same_file(private_fd, major_number, minor_number, inode))
			maps->private_bytes += behind - first;
		if (same_file(pool_fd, major_number, minor_number, inode))
			maps->pool_bytes += behind - first;
	}
	whole = file && !ferror(file);
	if (!whole)
		log_event(device->name, "%s: %s", path, strerror(errno));
	if (file)
		fclose(file);
	free(line);
	return whole;
}

/* All of it, within PATIENCE_MS. */
static bool take_report(const struct demo_device *device, struct viodma_vhost_user_statistics *statistics)
{
	const uint64_t deadline = viodma_loop_now_ns() + UINT64_C(1000000) * PATIENCE_MS;
	struct pollfd ready = { .fd = device->report, .events = POLLIN };
	size_t have = 0;

	while (have < sizeof(*statistics)) {
		const uint64_t now = viodma_loop_now_ns();
		ssize_t got;

		if (now >= deadline || poll(&ready, 1, (int)((deadline - now) / 1000000) + 1) <= 0)
			return false;
		got = read(device->report, (char *)statistics + have, sizeof(*statistics) - have);
		if (got <= 0)
			return false;
		have += (size_t)got;
	}
	return true;
}

bool demo_device_end(struct demo_device *device, struct viodma_vhost_user_statistics *statistics)
{
	bool whole;
	int status = 0;

	if (device->socket >= 0)
		close(device->socket); /* nobody has it: this is the hang-up */
	device->socket = -1;
	memset(statistics, 0, sizeof(*statistics));
	whole = take_report(device, statistics);
	if (!whole)
		kill(device->pid, SIGKILL);
	while (waitpid(device->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!whole || !WIFEXITED(status) || WEXITSTATUS(status)) {
		log_event(device->name, "the device half did not end as it should (%s %d)",
			  WIFSIGNALED(status) ? "signal" : "exit status",
			  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		whole = false;
	}
	device->pid = 0;
	close_all(device);
	return whole;
}
