/* SPDX-License-Identifier: MIT */
#include "curl-error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int curl_error_code(CURLcode c, long os_error)
{
	switch ((int)c) {
	case CURLE_COULDNT_CONNECT:
		if (os_error == EHOSTUNREACH || os_error == ENETUNREACH || os_error == ENETDOWN)
			return -EHOSTUNREACH;
		return os_error == ETIMEDOUT ? -ETIMEDOUT : -ECONNREFUSED;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return -EHOSTUNREACH;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_HTTP2_STREAM:
		return -ECONNRESET;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -EPROTO;
	}
}

void curl_error_drop_time(char *text)
{
	char *p = strstr(text, " after ");
	int n = 0;

	if (p && sscanf(p, " after %*[0-9] m%*[a-z]%n", &n) == 0 && n > 0)
		memmove(p, p + n, strlen(p + n) + 1);
}
