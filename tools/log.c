/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log.c - how it works: a line is put together in a buffer and written with one call. A standard error that cannot be
 * written is nobody's reason to stop serving.
 */
#include "tools/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 1024

void log_line(const char *device, const char *line)
{
	char text[LINE_BYTES];
	int length = snprintf(text, sizeof(text) - 1, "viodma: %s%s%s", device ? device : "", device ? ": " : "", line);
	size_t bytes;
	ssize_t written;

	if (length < 0)
		return;
	bytes = (size_t)length < sizeof(text) - 2 ? (size_t)length : sizeof(text) - 2;
	for (size_t i = 0; i < bytes; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?';
	text[bytes] = '\n';
	written = write(STDERR_FILENO, text, bytes + 1);
	(void)written;
}

void log_event(const char *device, const char *format, ...)
{
	char line[LINE_BYTES];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	log_line(device, line);
}
