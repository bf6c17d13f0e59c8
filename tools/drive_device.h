/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drive_device.h - one device, driven: from the connection to driver_blk, and back; and once more when the platform has
 * become restricted.
 *
 * Every failure is logged where it is found, with the rule it is about. Single owner. Units: bytes.
 */
#ifndef VIODMA_TOOLS_DRIVE_DEVICE_H
#define VIODMA_TOOLS_DRIVE_DEVICE_H

#include "tools/drive_platform.h"

#include <viodma/dma_debug.h>
#include <viodma/driver_blk.h>

#define EXIT_REFUSED 3 /* by a rule, before anything was moved */

/* Private memory: what is where in it. */
#define DRIVE_ID_AT 0u
#define DRIVE_STRAY_AT 4096u
#define DRIVE_STRAY_BYTES 512u
#define DRIVE_SLOTS_AT 16384u

/* What one use of the device, from negotiation to reset, came to. */
struct drive_session {
	enum drive_domain domain;
	enum viodma_domain_kind kind;
	char platform[VIODMA_PLATFORM_TEXT_BYTES];
	const char *enforced;
	uint64_t offered;
	struct viodma_driver_decision decision;
	enum viodma_result result; /* of its beginning; then of its end */
	struct viodma_pool_statistics pool;
	struct viodma_domain_statistics dma;
	struct viodma_driver_blk_statistics blk;
	struct viodma_driver_queue_statistics queues; /* all of them together */
	unsigned queue_count;
	uint32_t queue_size;
	bool packed;
	struct viodma_front_statistics front; /* of the connection, so far */
	uint64_t shared_bytes, granted_bytes_peak;
};

struct drive_device {
	const char *name;
	const struct drive_options *options;
	uint64_t private_bytes;
	struct drive_platform platform;
	struct drive_memory memory;
	struct viodma_front *front;
	struct viodma_poller poller;
	struct viodma_driver driver;
	struct viodma_pool pool;
	struct viodma_domain domain;
	struct viodma_driver_queue queues[VIODMA_DRIVER_BLK_QUEUES_MAX];
	unsigned queue_count;
	struct viodma_driver_blk blk;
	void *queue_storages[VIODMA_DRIVER_BLK_QUEUES_MAX], *blk_storage, *iommu_storage, *waiting;
	struct viodma_debug debug;
	struct viodma_debug_entry *debug_entries;
	uint64_t debug_reports;
	uint64_t debug_counts[VIODMA_DEBUG_FULL + 1];
	bool negotiated, pool_made, domain_made, blk_made, running, exhaustion_told;
	bool begun; /* what it comes to is not in `sessions` yet */
	enum viodma_result said; /* the last failure that was logged */
	uint64_t change_said_ns; /* that the configuration changed; 0: never */
	bool late; /* --restrict-after has happened */
	bool raw;  /* queue 0 has requests that are not driver_blk's (drive_stray.c) */
	struct drive_session sessions[2];
	unsigned session_count;
};

/* The exit status for a result: 0, EXIT_FAILED, EXIT_REFUSED. */
int drive_exit_status(enum viodma_result result);

/*
 * Connect, hand memory over, negotiate, set everything up to DRIVER_OK. private_bytes: a multiple of 4096. What is
 * there after a failure goes with drive_device_close.
 */
enum viodma_result drive_device_open(struct drive_device *device, const struct drive_options *options, const char *name,
				     uint64_t private_bytes);

/* Status 0, and requests that are not driver_blk's taken back. */
enum viodma_result drive_device_reset(struct drive_device *device);

/* Reset it; what had not ended ends with VIODMA_E_RESET. Everything but memory and connection goes. */
enum viodma_result drive_device_stop(struct drive_device *device);

/* Late restriction: reset, unshare, negotiate again. */
enum viodma_result drive_device_restrict(struct drive_device *device);

/* Stop it if it runs, and free everything. The first thing that went wrong. */
enum viodma_result drive_device_close(struct drive_device *device);

/* Let the device work, and see what it did: until the next call, or the next deadline, 100 ms at most. */
enum viodma_result drive_device_turn(struct drive_device *device);

/* One request, waited for. */
enum viodma_result drive_device_run(struct drive_device *device, struct viodma_driver_blk_request *request);

/* Wait until nothing is in flight; a device that does not get there is given up. */
enum viodma_result drive_device_quiesce(struct drive_device *device);

/* What its rings are. */
static inline bool drive_device_is_packed(const struct drive_device *device)
{
	return device->driver.decision.accepted >> VIRTIO_F_RING_PACKED_BIT & 1;
}

/*
 * Reset each queue by itself, while the device goes on, and start it anew. Pre: RING_RESET accepted; nothing is in flight.
 */
enum viodma_result drive_device_reset_queues(struct drive_device *device);

/* Something has failed, or was interrupted: let nothing be with the device any more. */
void drive_device_give_up(struct drive_device *device, enum viodma_result why);

uint64_t drive_deadline_ns(const struct drive_device *device);

/* Log a failure: "what: VIODMA_...: DRV-4: text". */
void drive_failed(struct drive_device *device, const char *what, enum viodma_result result);
/* The same, if it is one; answers the result. */
enum viodma_result drive_check(struct drive_device *device, const char *what, enum viodma_result result);

/* SIGINT or SIGTERM came. */
extern volatile int drive_interrupted;

#endif
