/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * payload.h - what both ends of a vhost-user connection share: room for any payload, and the names of messages.
 */
#ifndef VIODMA_HOSTED_VHOST_USER_PAYLOAD_H
#define VIODMA_HOSTED_VHOST_USER_PAYLOAD_H

#include <viodma/wire/vhost_user.h>

/* The largest payload of a message that is accepted or sent. */
union viodma_payload {
	uint64_t u64;
	struct vhost_user_vring_state state;
	struct vhost_user_vring_addr addr;
	struct vhost_user_memory memory;
	struct vhost_user_single_region single;
	struct vhost_user_iotlb iotlb;
	struct vhost_user_config config;
	struct vhost_user_inflight inflight;
	unsigned char bytes[sizeof(struct vhost_user_config)];
};

/* "SET_FEATURES", or the number of an unknown one. The text lives until the thread's next call. */
const char *viodma_message_name(uint32_t request);

#endif
