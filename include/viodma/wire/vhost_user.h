/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/wire/vhost_user.h - vhost-user messages exactly as the protocol's document lays them out (QEMU's
 * docs/interop/vhost-user.rst). All numbers are in the machine's own byte order.
 */
#ifndef VIODMA_WIRE_VHOST_USER_H
#define VIODMA_WIRE_VHOST_USER_H

#include <viodma/types.h>

/* Requests a front end sends. 35 and 41 on belong to extensions. */
#define VHOST_USER_GET_FEATURES 1u
#define VHOST_USER_SET_FEATURES 2u
#define VHOST_USER_SET_OWNER 3u
#define VHOST_USER_RESET_OWNER 4u
#define VHOST_USER_SET_MEM_TABLE 5u
#define VHOST_USER_SET_LOG_BASE 6u
#define VHOST_USER_SET_LOG_FD 7u
#define VHOST_USER_SET_VRING_NUM 8u
#define VHOST_USER_SET_VRING_ADDR 9u
#define VHOST_USER_SET_VRING_BASE 10u
#define VHOST_USER_GET_VRING_BASE 11u
#define VHOST_USER_SET_VRING_KICK 12u
#define VHOST_USER_SET_VRING_CALL 13u
#define VHOST_USER_SET_VRING_ERR 14u
#define VHOST_USER_GET_PROTOCOL_FEATURES 15u
#define VHOST_USER_SET_PROTOCOL_FEATURES 16u
#define VHOST_USER_GET_QUEUE_NUM 17u
#define VHOST_USER_SET_VRING_ENABLE 18u
#define VHOST_USER_SEND_RARP 19u
#define VHOST_USER_NET_SET_MTU 20u
#define VHOST_USER_SET_BACKEND_REQ_FD 21u
#define VHOST_USER_IOTLB_MSG 22u
#define VHOST_USER_SET_VRING_ENDIAN 23u
#define VHOST_USER_GET_CONFIG 24u
#define VHOST_USER_SET_CONFIG 25u
#define VHOST_USER_CREATE_CRYPTO_SESSION 26u
#define VHOST_USER_CLOSE_CRYPTO_SESSION 27u
#define VHOST_USER_POSTCOPY_ADVISE 28u
#define VHOST_USER_POSTCOPY_LISTEN 29u
#define VHOST_USER_POSTCOPY_END 30u
#define VHOST_USER_GET_INFLIGHT_FD 31u
#define VHOST_USER_SET_INFLIGHT_FD 32u
#define VHOST_USER_GPU_SET_SOCKET 33u
#define VHOST_USER_RESET_DEVICE 34u
#define VHOST_USER_VRING_KICK 35u
#define VHOST_USER_GET_MAX_MEM_SLOTS 36u
#define VHOST_USER_ADD_MEM_REG 37u
#define VHOST_USER_REM_MEM_REG 38u
#define VHOST_USER_SET_STATUS 39u
#define VHOST_USER_GET_STATUS 40u
#define VHOST_USER_GET_SHARED_OBJECT 41u
#define VHOST_USER_SET_DEVICE_STATE_FD 42u
#define VHOST_USER_CHECK_DEVICE_STATE 43u
#define VHOST_USER_GET_SHMEM_CONFIG 44u

/* Requests a back end sends. */
#define VHOST_USER_BACKEND_IOTLB_MSG 1u
#define VHOST_USER_BACKEND_CONFIG_CHANGE_MSG 2u
#define VHOST_USER_BACKEND_VRING_CALL 4u
#define VHOST_USER_BACKEND_VRING_ERR 5u

/* Flags of the header. */
#define VHOST_USER_VERSION 1u
#define VHOST_USER_VERSION_MASK 3u
#define VHOST_USER_REPLY 4u
#define VHOST_USER_NEED_REPLY 8u

/* The feature bit that says: there are protocol features. */
#define VHOST_USER_F_PROTOCOL_FEATURES_BIT 30

/* Protocol features, as bit numbers. */
#define VHOST_USER_PROTOCOL_F_MQ_BIT 0
#define VHOST_USER_PROTOCOL_F_LOG_SHMFD_BIT 1
#define VHOST_USER_PROTOCOL_F_RARP_BIT 2
#define VHOST_USER_PROTOCOL_F_REPLY_ACK_BIT 3
#define VHOST_USER_PROTOCOL_F_MTU_BIT 4
#define VHOST_USER_PROTOCOL_F_BACKEND_REQ_BIT 5
#define VHOST_USER_PROTOCOL_F_CROSS_ENDIAN_BIT 6
#define VHOST_USER_PROTOCOL_F_CRYPTO_SESSION_BIT 7
#define VHOST_USER_PROTOCOL_F_PAGEFAULT_BIT 8
#define VHOST_USER_PROTOCOL_F_CONFIG_BIT 9
#define VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD_BIT 10
#define VHOST_USER_PROTOCOL_F_HOST_NOTIFIER_BIT 11
#define VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD_BIT 12
#define VHOST_USER_PROTOCOL_F_RESET_DEVICE_BIT 13
#define VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS_BIT 14
#define VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS_BIT 15
#define VHOST_USER_PROTOCOL_F_STATUS_BIT 16
#define VHOST_USER_PROTOCOL_F_XEN_MMAP_BIT 17
#define VHOST_USER_PROTOCOL_F_SHARED_OBJECT_BIT 18
#define VHOST_USER_PROTOCOL_F_DEVICE_STATE_BIT 19
#define VHOST_USER_PROTOCOL_F_SHMEM_BIT 20

struct vhost_user_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the payload, bytes */
};

struct vhost_user_vring_state {
	uint32_t index;
	uint32_t num;
};

struct vhost_user_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t descriptor; /* ring addresses: bus addresses with bit 33 accepted, else user addresses */
	uint64_t used;
	uint64_t available;
	uint64_t log;
};

/* Of the u64 of SET_VRING_KICK, SET_VRING_CALL and SET_VRING_ERR. */
#define VHOST_USER_VRING_INDEX_MASK 0xffu
#define VHOST_USER_VRING_NOFD_MASK 0x100u

struct vhost_user_region {
	uint64_t guest_address;
	uint64_t size;
	uint64_t user_address;
	uint64_t mmap_offset;
};

#define VHOST_USER_MEMORY_REGIONS 8u

struct vhost_user_memory {
	uint32_t num_regions;
	uint32_t padding;
	struct vhost_user_region regions[VHOST_USER_MEMORY_REGIONS]; /* num_regions of them are sent */
};

struct vhost_user_single_region {
	uint64_t padding;
	struct vhost_user_region region;
};

/* Types of an IOTLB message. */
#define VHOST_USER_IOTLB_MISS 1u
#define VHOST_USER_IOTLB_UPDATE 2u
#define VHOST_USER_IOTLB_INVALIDATE 3u
#define VHOST_USER_IOTLB_ACCESS_FAIL 4u

/* The kernel's struct vhost_iotlb_msg. Permissions: 1 read, 2 write, 3 both. */
struct vhost_user_iotlb {
	uint64_t iova;
	uint64_t size;
	uint64_t user_address;
	uint8_t permissions;
	uint8_t type;
	uint8_t unused[6];
};

#define VHOST_USER_CONFIG_BYTES 256u
#define VHOST_USER_CONFIG_HEADER_BYTES 12u
#define VHOST_USER_CONFIG_WRITABLE 0u  /* flags: the driver changes a writable field */
#define VHOST_USER_CONFIG_MIGRATION 1u /* flags: live migration */

struct vhost_user_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t payload[VHOST_USER_CONFIG_BYTES]; /* size of them are sent */
};

struct vhost_user_log {
	uint64_t size;
	uint64_t offset;
};

struct vhost_user_inflight {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t num_queues;
	uint16_t queue_size;
	uint8_t unused[4];
};

/* The in-flight region: one of these for each queue, aligned to 64 bytes; then the array. In the machine's byte order. */
#define VHOST_USER_INFLIGHT_ALIGN 64u
#define VHOST_USER_INFLIGHT_VERSION 1u

struct vhost_user_inflight_split_state {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;
	uint64_t counter;
};

struct vhost_user_inflight_split {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	/* desc_num of struct vhost_user_inflight_split_state */
};

struct vhost_user_inflight_packed_state {
	uint8_t inflight;
	uint8_t padding;
	uint16_t next;
	uint16_t last;
	uint16_t num;
	uint64_t counter;
	uint16_t id;
	uint16_t flags;
	uint32_t len;
	uint64_t addr;
};

struct vhost_user_inflight_packed {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head;
	uint16_t old_free_head;
	uint16_t used_idx;
	uint16_t old_used_idx;
	uint8_t used_wrap_counter;
	uint8_t old_used_wrap_counter;
	uint8_t padding[7];
	/* desc_num of struct vhost_user_inflight_packed_state */
};

#endif
