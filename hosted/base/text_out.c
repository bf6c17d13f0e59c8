/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * text_out.c - how it works: byte by byte, a character of UTF-8 as a whole; what is none becomes U+FFFD, which both formats
 * can have.
 */
#include "hosted/base/text_out.h"

#include <stdint.h>

/* Bytes of the UTF-8 sequence at `text`; 0: not one. */
static unsigned utf8_bytes(const unsigned char *text)
{
	uint32_t code;
	unsigned bytes;

	if (text[0] < 0x80)
		return 1;
	if (text[0] >= 0xc2 && text[0] <= 0xdf)
		bytes = 2, code = text[0] & 0x1f;
	else if (text[0] >= 0xe0 && text[0] <= 0xef)
		bytes = 3, code = text[0] & 0x0f;
	else if (text[0] >= 0xf0 && text[0] <= 0xf4)
		bytes = 4, code = text[0] & 0x07;
	else
		return 0;
	for (unsigned i = 1; i < bytes; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (text[i] & 0x3fu);
	}
	if ((bytes == 3 && (code < 0x800 || (code >= 0xd800 && code <= 0xdfff))) ||
	    (bytes == 4 && (code < 0x10000 || code > 0x10ffff)))
		return 0;
	return bytes;
}

void viodma_text_json(FILE *file, const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	putc('"', file);
	while (*at) {
		unsigned bytes = utf8_bytes(at);

		if (!bytes) {
			fputs("\\ufffd", file);
			bytes = 1;
		} else if (*at == '"' || *at == '\\') {
			fprintf(file, "\\%c", *at);
		} else if (*at < 0x20 || *at == 0x7f) {
			fprintf(file, "\\u%04x", *at);
		} else {
			fwrite(at, 1, bytes, file);
		}
		at += bytes;
	}
	putc('"', file);
}

void viodma_text_xml(FILE *file, const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	while (*at) {
		unsigned bytes = utf8_bytes(at);

		if (!bytes || (*at < 0x20 && *at != '\t' && *at != '\n')) { /* XML has no other control characters */
			fputs("&#xfffd;", file);
			bytes = 1;
		} else if (*at == '<') {
			fputs("&lt;", file);
		} else if (*at == '>') {
			fputs("&gt;", file);
		} else if (*at == '&') {
			fputs("&amp;", file);
		} else if (*at == '"') {
			fputs("&quot;", file);
		} else {
			fwrite(at, 1, bytes, file);
		}
		at += bytes;
	}
}
