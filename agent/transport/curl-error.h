/* SPDX-License-Identifier: MIT */
/* curl-error: what an error of libcurl means. Pure. */
#pragma once

#include <curl/curl.h>

/* The errno of it, as http_perform() returns it. os_error: CURLINFO_OS_ERRNO. */
int curl_error_code(CURLcode c, long os_error);
/* Removes libcurl's " after 12 ms" or " after 12 milliseconds": a failure with the same text is not recorded again. */
void curl_error_drop_time(char *text);
