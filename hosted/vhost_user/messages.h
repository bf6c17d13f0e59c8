/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * messages.h - THE TABLE: what is legal of each message, in which state, and who handles it.
 */
#ifndef VIODMA_HOSTED_VHOST_USER_MESSAGES_H
#define VIODMA_HOSTED_VHOST_USER_MESSAGES_H

#include "hosted/vhost_user/backend.h"

#define VIODMA_MESSAGE_LAST 45u

/* When a message is legal, besides its protocol feature. */
enum viodma_message_when {
	VIODMA_WHEN_ANY = 0,
	VIODMA_WHEN_FEATURES = 1,      /* after SET_FEATURES */
	VIODMA_WHEN_PROTOCOL = 2,      /* with feature bit 30 accepted */
	VIODMA_WHEN_BIT_33 = 4,        /* with bit 33 accepted */
	VIODMA_WHEN_RING_EXISTS = 8,   /* the payload begins with the index of a ring that exists */
	VIODMA_WHEN_RING_STOPPED = 16, /* ... and is stopped */
	VIODMA_WHEN_RING_FILE = 32     /* a u64 with a ring's index and, if it says so, one descriptor */
};

/* How a message is answered. */
enum viodma_message_reply {
	VIODMA_REPLY_ACK, /* a u64, 0 or not, where REPLY_ACK is negotiated and the message asks for it */
	VIODMA_REPLY_BODY /* always, with a body of its own; never acknowledged besides */
};

#define VIODMA_NO_PROTOCOL_FEATURE 255u

struct viodma_message_rule {
	const char *name;
	uint16_t least_bytes, most_bytes; /* of the payload */
	uint8_t least_fds, most_fds;
	uint8_t protocol_bit; /* the protocol feature it belongs to; VIODMA_NO_PROTOCOL_FEATURE: none */
	uint8_t when;         /* enum viodma_message_when, or'ed */
	uint8_t reply;        /* enum viodma_message_reply */
	/* NULL: nothing this back end offers lets a front end send it. Pre: everything above holds. */
	enum viodma_verdict (*handle)(struct viodma_vhost_user *backend, struct viodma_message *message);
};

/* NULL: there is no such message. */
const struct viodma_message_rule *viodma_message_rule(uint32_t request);

/* Is an acknowledgement due for this message, whatever becomes of it? */
bool viodma_message_wants_ack(const struct viodma_vhost_user *backend, const struct vhost_user_header *header);

/*
 * What can be said once the header is there: version, flags, whether it exists, is negotiated and legal now, its size.
 * VIODMA_DONE: the payload may be read. *well_formed: version and flags were right, so that it may be answered.
 */
enum viodma_verdict viodma_message_check_header(struct viodma_vhost_user *backend,
						const struct vhost_user_header *header, bool *well_formed);

/* Check the rest and call the handler. */
enum viodma_verdict viodma_message_handle(struct viodma_vhost_user *backend, struct viodma_message *message);

/* handlers.c */
enum viodma_verdict viodma_handle_get_features(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_set_features(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_owner(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_reset_owner(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_get_protocol(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_set_protocol(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_queue_num(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_get_config(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_set_config(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_mem_slots(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_set_status(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_reset_device(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_get_status(struct viodma_vhost_user *backend, struct viodma_message *message);

#endif
