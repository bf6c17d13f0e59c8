/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_rng.c - `viodma serve rng`: a served device that is a virtio entropy device over a source of random bytes.
 */
#include "tools/serve_device.h"

#include "hosted/device/rng_on_file.h"
#include "tools/log.h"

static bool make(struct serve_device *serve)
{
	const struct serve_device_options *device = serve->device_options;
	const struct viodma_rng_on_file_options options = {
		.loop = serve->loop,
		.path = device->rng.source,
		.max_bytes = device->rng.max_bytes,
		.period_ms = device->rng.period_ms,
		.log = serve_device_log,
		.context = serve,
	};
	struct viodma_rng_on_file *made;

	if (viodma_rng_on_file_new(&options, &made) != VIODMA_OK)
		return false;
	serve->device = made;
	serve->report.file = device->rng.source;
	if (device->rng.max_bytes)
		log_event(serve->name, "%s: at most %u bytes every %u ms", device->rng.source,
			  (unsigned)device->rng.max_bytes, (unsigned)device->rng.period_ms);
	else
		log_event(serve->name, "%s: no limit", device->rng.source);
	return true;
}

static void set_backend(void *device, struct viodma_vhost_user *backend)
{
	viodma_rng_on_file_set_backend(device, backend);
}

static void report(void *device, struct device_report *report_)
{
	report_->rng = *viodma_rng_on_file_statistics(device);
}

static void busy(const void *device, char *text, size_t bytes)
{
	(void)device;
	snprintf(text, bytes, "requests");
}

static enum viodma_result free_all(void *device, void *behind)
{
	(void)behind;
	return viodma_rng_on_file_free(device);
}

const struct serve_type serve_rng = {
	.options = &serve_rng_options,
	.ops = &viodma_rng_on_file_ops,
	.make = make,
	.set_backend = set_backend,
	.report = report,
	.busy = busy,
	.free = free_all,
};
