/* SPDX-License-Identifier: MIT */
/* layers: the uncompressed tars of an image's upper layers, put together in a file without a name. */
#pragma once

#include "source.h"

struct layers {
	int fd;		     /* -1: there is none */
	const uint8_t *data; /* the file in memory; NULL: it is empty */
	uint64_t size;	     /* bytes */
	size_t n;
	uint64_t sizes[OCI_LAYERS_MAX]; /* of each layer */
};

/* Brings the layers of i from number shared up, and checks each against its DiffID. on_progress gets the bytes that were
 * downloaded, of whole in all. The caller frees *ret with layers_free(), after an error too. */
int layers_bring(struct fetch *f, const struct source *s, const struct source_image *i,
		 size_t shared, void (*on_progress)(void *userdata, uint64_t bytes, uint64_t whole),
		 void *userdata, struct layers *ret, struct error *ret_error) warn_unused;
void layers_free(struct layers *l);

/* The compressed bytes of those layers. */
uint64_t layers_plain(const struct source_image *i, size_t shared);
