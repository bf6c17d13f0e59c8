/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_half_linux.c - the driver half of Linux: its virtio_ring.c in user space, by the headers of its tools/virtio,
 * which stand in for the kernel's. Without VIRTIO_F_ACCESS_PLATFORM: physical addresses, no DMA API.
 */
#include "driver_half.h"

#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <malloc.h>

/* What tools/virtio expects of whoever uses it. */
void *__kmalloc_fake, *__kfree_ignore_start, *__kfree_ignore_end;

/* Exported by virtio_ring.c, and not declared in tools/virtio. */
dma_addr_t virtqueue_get_desc_addr(struct virtqueue *vq);
dma_addr_t virtqueue_get_avail_addr(struct virtqueue *vq);
dma_addr_t virtqueue_get_used_addr(struct virtqueue *vq);
bool virtqueue_kick_prepare(struct virtqueue *vq);

static struct virtio_device device;
static struct virtqueue *queue;
static unsigned char buffers[DRIVER_HALF_RING][DRIVER_HALF_BYTES] __attribute__((aligned(64)));
static uint32_t next;

static bool notify(struct virtqueue *vq)
{
	(void)vq;
	return true;
}

static void callback(struct virtqueue *vq)
{
	(void)vq;
}

static bool make(bool packed, struct driver_half_parts *parts)
{
	mallopt(M_MMAP_THRESHOLD, 1024); /* pages of their own, and clear, as the kernel's are */
	memset(&device, 0, sizeof(device));
	INIT_LIST_HEAD(&device.vqs);
	spin_lock_init(&device.vqs_list_lock);
	__virtio_set_bit(&device, VIRTIO_F_VERSION_1);
	__virtio_set_bit(&device, VIRTIO_RING_F_EVENT_IDX);
	if (packed)
		__virtio_set_bit(&device, VIRTIO_F_RING_PACKED);
	queue = vring_create_virtqueue(0, DRIVER_HALF_RING, 64, &device, true, false, false, notify, callback, "q");
	if (!queue)
		return false;
	parts->desc = (void *)(unsigned long)virtqueue_get_desc_addr(queue);
	parts->avail = (void *)(unsigned long)virtqueue_get_avail_addr(queue);
	parts->used = (void *)(unsigned long)virtqueue_get_used_addr(queue);
	next = 0;
	return true;
}

static bool send(uint32_t count)
{
	while (count--) {
		struct scatterlist sg;
		unsigned char *buffer = buffers[next++ % DRIVER_HALF_RING];

		sg_init_one(&sg, buffer, DRIVER_HALF_BYTES);
		if (virtqueue_add_outbuf(queue, &sg, 1, buffer, GFP_ATOMIC))
			return false;
	}
	virtqueue_kick_prepare(queue);
	return true;
}

static uint32_t collect(void)
{
	unsigned int length;
	uint32_t count = 0;

	while (virtqueue_get_buf(queue, &length))
		count++;
	virtqueue_enable_cb(queue);
	return count;
}

static void end(void)
{
	/* The process ends next, and with it the memory. */
}

const struct driver_half driver_half_linux = { "linux", make, send, collect, end };
