/* SPDX-License-Identifier: MIT */
/* spool: blobs on their way into the engine, in the directory spool of the state directory. Used under its lock.
 *   HEX        a blob, whole; HEX are the digits of its digest
 *   HEX.part   what has come of it
 *   HEX.tar    a layer that the engine cannot unpack as it came, as plain tar
 *   NAME.list  the blobs that the update of container NAME needs; a blob that no list names is removed
 *   NAME.load  the engine was given the image, and may keep parts of it; after that, how many layers it had before
 *   NAME.delta  what the registry said about a delta (delta.h)
 *   boot       of which boot the .part files are: those of another one are cut back to what was synced then
 *   budget.json  budget.h */
#pragma once

#include "budget.h"
#include "digest.h"
#include "error.h"

#define SPOOL_DIR	   "spool"
#define SPOOL_BLOBS_MAX	   1024
#define SPOOL_DELTA_SUFFIX ".delta"

/* One that an update needs. */
struct spool_blob {
	struct digest digest;
	uint64_t size; /* bytes */
	bool document; /* index, manifest or config */
};

/* Opens the directory, makes it if need be, and cuts .part files of another boot back to a multiple of FETCH_SYNC_BYTES. Returns
 * its descriptor. */
int spool_open(int state_dir, struct error *ret_error) warn_unused;

/* Writes the list of container name, and removes what no list names any more. */
int spool_need(int spool, const char *name, const struct spool_blob *blobs, size_t n,
	       struct error *ret_error) warn_unused;
/* The list of container name; its length, at most SPOOL_BLOBS_MAX; 0: there is none. */
size_t spool_list(int spool, const char *name, struct spool_blob ret[SPOOL_BLOBS_MAX]);
/* Bytes of the layers on the list, and how many of them are here. Both 0: there is no list. */
void spool_progress(int state_dir, const char *name, uint64_t *ret_bytes, uint64_t *ret_of);
/* How many bytes of the blob are here. */
uint64_t spool_here(int spool, const struct digest *d, uint64_t size);
/* Removes the list and all that is here for it alone. */
void spool_drop(int state_dir, const char *name);

/* The blob, whole and of that size, for reading; suffix: "" or ".tar", of any size. -ENOENT: it is not here. */
int spool_read(int spool, const struct digest *d, const char *suffix, uint64_t size) warn_unused;
/* The .part file (or .tar.part) for writing, made if need be. *ret_size: its bytes. */
int spool_write(int spool, const struct digest *d, const char *suffix, uint64_t *ret_size,
		struct error *ret_error) warn_unused;
/* It is whole and synced: it gets its name. */
int spool_finish(int spool, const struct digest *d, const char *suffix,
		 struct error *ret_error) warn_unused;
/* Writes a small blob that is at hand, unless it is here. */
int spool_put(int spool, const struct digest *d, const char *data, size_t n,
	      struct error *ret_error) warn_unused;
void spool_remove(int spool, const struct digest *d);

/* A file without a name, which is gone with its descriptor, open for reading and writing. */
int spool_temporary(int spool, struct error *ret_error) warn_unused;

/* From now on, after a power cut, the engine may have parts of the image that were not synced. found: the load is over, and
 * the engine had that many layers before; NULL: it begins. */
int spool_note_load(int spool, const char *name, const size_t *found,
		    struct error *ret_error) warn_unused;
/* 0: it is over; -EINPROGRESS: it began; -ENOENT: it did not. */
int spool_get_load(int spool, const char *name, size_t *ret_found) warn_unused;

/* What was used of the budgets; a file that cannot be read is set aside as budget.json.broken. */
void spool_read_budget(int state_dir, struct budget *ret);
void spool_write_budget(int spool, const struct budget *b);
