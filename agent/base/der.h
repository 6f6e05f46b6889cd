/* SPDX-License-Identifier: MIT */
/* der: takes values off DER (X.690), strictly: lengths in the shortest form, numbers without leading zeros. Pure. */
#pragma once

#include "util.h"

#define DER_INTEGER    0x02
#define DER_BIT_STRING 0x03
#define DER_NULL       0x05
#define DER_OID	       0x06
#define DER_SEQUENCE   0x30

/* Borrowed bytes. */
struct der {
	const unsigned char *data;
	size_t n;
};

/* Takes the first value off d, if it has that tag; ret gets its contents. */
bool der_take(struct der *d, unsigned char tag, struct der *ret) warn_unused;
/* The same of an INTEGER above 0; ret gets its bytes without the leading 0 of a set sign bit. */
bool der_take_positive(struct der *d, struct der *ret) warn_unused;

/* Of what der_take_positive() returned. */
size_t der_bits(const struct der *number);

static inline bool der_is_odd(const struct der *number)
{
	return number->data[number->n - 1] & 1;
}

/* Whether the contents are those n bytes. */
static inline bool der_is(const struct der *d, const char *bytes, size_t n)
{
	return d->n == n && memcmp(d->data, bytes, n) == 0;
}
