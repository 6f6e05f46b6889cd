/* SPDX-License-Identifier: MIT */
#include "der.h"

/* The length of the contents behind a tag; *d moves behind it. Two bytes of it are more than any key needs. */
static bool take_length(struct der *d, size_t *ret)
{
	size_t count, n = 0;

	if (d->n == 0)
		return false;
	count = d->data[0] & 0x80 ? d->data[0] & 0x7f : 0;
	if (count > 2 || d->n < 1 + count || d->data[0] == 0x80)
		return false;
	for (size_t i = 1; i <= count; i++)
		n = n << 8 | d->data[i];
	if (count == 0)
		n = d->data[0];
	else if (n < (count == 1 ? 0x80 : 0x100))
		return false;
	d->data += 1 + count;
	d->n -= 1 + count;
	*ret = n;
	return n <= d->n;
}

bool der_take(struct der *d, unsigned char tag, struct der *ret)
{
	struct der rest = *d;
	size_t n;

	if (rest.n == 0 || rest.data[0] != tag)
		return false;
	rest.data++;
	rest.n--;
	if (!take_length(&rest, &n))
		return false;
	*ret = (struct der){rest.data, n};
	*d = (struct der){rest.data + n, rest.n - n};
	return true;
}

bool der_take_positive(struct der *d, struct der *ret)
{
	if (!der_take(d, DER_INTEGER, ret) || ret->n == 0 || (ret->data[0] & 0x80))
		return false;
	if (ret->data[0] != 0)
		return true;
	if (ret->n == 1 || !(ret->data[1] & 0x80))
		return false;
	ret->data++;
	ret->n--;
	return true;
}

size_t der_bits(const struct der *number)
{
	size_t bits = 8 * number->n;

	for (unsigned char mask = 0x80; !(number->data[0] & mask); mask >>= 1)
		bits--;
	return bits;
}
