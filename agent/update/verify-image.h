/* SPDX-License-Identifier: MIT */
/* verify-image: where a reference points, who has signed it, and whether it may run here, for pullet verify. Takes nothing and
 * writes nothing. */
#pragma once

#include "fetch.h"

struct verify_image {
	struct fetch_options fetch; /* its config is ours, too */
	const char *state_dir;
	const char *image;
	const char *platform; /* of another machine; NULL: this one */
};

/* Prints one JSON object, of which pullet(1) has the keys, or an error message. Returns the exit status: 1 if a container that
 * follows the image may not run it, or nothing is known of it; 2 for a wrong operand or configuration. */
int verify_image_run(const struct verify_image *v);
