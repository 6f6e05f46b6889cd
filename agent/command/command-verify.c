/* SPDX-License-Identifier: MIT */
/* Shows what pullet-update finds of an image: that program alone judges signatures. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/wait.h>

#include "command.h"
#include "log.h"
#include "program.h"
#include "protocol.h"

#define LIMIT_MS             \
	((uint64_t)30 * 60 * \
	 1000) /* a registry may take its time; pullet-update has limits of its own */

enum column {
	KEY,
	FORMAT,
	SEQ,
	EXPIRES,
	COUNTS,
	COLUMN_MAX,
};

/* A signature, or the heading; the texts are the row's own. */
struct row {
	char *cells[COLUMN_MAX];
};

static void free_row(struct row *r)
{
	for (size_t i = 0; i < COLUMN_MAX; i++)
		free(r->cells[i]);
}

/* For a terminal: names and reasons come from a configuration and a registry. Caller frees. */
static char *shown(const char *text)
{
	return text_printable(xstrdup(text ? text : "-"));
}

/* image: the digest of the tag. */
static struct row make_row(const json_t *signature, const char *image)
{
	const json_t *seq = json_object_get(signature, "seq");
	const char *reason = json_get_string(signature, "reason");
	bool counts = json_is_true(json_object_get(signature, "counts"));
	bool is_part = !streq_null(json_get_string(signature, "digest"), image);
	_cleanup_free_ char *why = shown(reason);

	return (struct row){{
		[KEY] = shown(json_get_string(signature, "key")),
		[FORMAT] = shown(json_get_string(signature, "format")),
		[SEQ] = json_is_integer(seq)
				? xasprintf("%" JSON_INTEGER_FORMAT, json_integer_value(seq))
				: xstrdup("-"),
		[EXPIRES] = shown(json_get_string(signature, "expires")),
		[COUNTS] = xasprintf("%s%s%s", counts ? "yes" : "no: ", counts ? "" : why,
				     counts && is_part ? ", for this platform alone" : ""),
	}};
}

/* The last column is not filled up, and is as long as it is. */
static void print_rows(const struct row *rows, size_t n)
{
	int width[COLUMN_MAX] = {0};

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < COLUMN_MAX; k++) {
			int columns = (int)strlen(rows[i].cells[k]);

			width[k] = columns > width[k] ? columns : width[k];
		}
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < COUNTS; k++)
			printf("%-*s  ", width[k], rows[i].cells[k]);
		puts(rows[i].cells[COUNTS]);
	}
}

/* The signatures that were found for a container. names: several containers follow the image. */
static void print_signatures(const json_t *container, const char *image, bool names)
{
	const json_t *signatures = json_object_get(container, "signatures"), *one;
	json_int_t left = json_integer_value(json_object_get(container, "left"));
	size_t n = json_array_size(signatures), i;
	_cleanup_free_ struct row *rows = xcalloc(n + 1, sizeof(*rows));

	if (n > 0) {
		rows[0] = (struct row){{xstrdup("KEY"), xstrdup("FORMAT"), xstrdup("SEQ"),
					xstrdup("EXPIRES"), xstrdup("COUNTS")}};
		json_array_foreach (signatures, i, one)
			rows[i + 1] = make_row(one, image);
		printf("\n%s%s", names ? json_get_string(container, "container") : "",
		       names ? ":\n" : "");
		print_rows(rows, n + 1);
	}
	if (left > 0)
		printf("%" JSON_INTEGER_FORMAT " more were not looked at; the newest count\n",
		       left);
	for (i = 0; n > 0 && i <= n; i++)
		free_row(&rows[i]);
}

/* "yes, signed by prod.pub and cto.pub", or why not. Caller frees. */
static char *explain(const json_t *container)
{
	const json_t *signers = json_object_get(container, "signed_by"), *name;
	const char *reason = json_get_string(container, "reason");
	char *text = xstrdup("yes, signed by ");
	size_t i;

	if (reason || json_array_size(signers) == 0) {
		free(text);
		return shown(reason ? reason : "yes (no key is set, so no signature is required)");
	}
	json_array_foreach (signers, i, name) {
		char *more = xasprintf("%s%s%s", text, i ? " and " : "", json_string_value(name));

		free(text);
		text = more;
	}
	return text_printable(text);
}

static void print_image(const json_t *j)
{
	const json_t *containers = json_object_get(j, "containers"), *one;
	const char *digest = json_get_string(j, "digest"), *fault = json_get_string(j, "fault");
	_cleanup_free_ char *size =
		text_bytes((uint64_t)json_integer_value(json_object_get(j, "layer_bytes")));
	size_t n = json_array_size(containers), i;
	bool judged = false;

	printf("   Image: %s\n  Digest: %s\nManifest: %s\nPlatform: %s\n    Size: %s compressed\n",
	       json_get_string(j, "image"), digest, json_get_string(j, "manifest"),
	       json_get_string(j, "platform"), size);
	json_array_foreach (containers, i, one) {
		_cleanup_free_ char *text = explain(one);

		printf(" May run: %s: %s\n", json_get_string(one, "container"), text);
	}
	if (n == 0)
		printf(" May run: %s\n",
		       fault ? fault : "no container in the configuration follows this image");
	json_array_foreach (containers, i, one) {
		print_signatures(one, digest, n > 1);
		judged |= json_array_size(json_object_get(one, "signatures")) > 0;
	}
	/* An update knows more. */
	if (judged && geteuid() != 0)
		puts("\nWithout root, what this device has seen before was not considered, such as "
		     "a higher seq");
}

/* Starts pullet-update, and reads the object that it prints; *ret is NULL without one. Returns its exit status, or a negative
 * errno. The caller owns *ret. */
static int ask(const char **argv, json_t **ret, struct error *ret_error)
{
	struct protocol_reader reader = {.fd = -1};
	pid_t pid;
	int status = 0, r;

	reader.fd = program_spawn(argv, STDOUT_FILENO, &pid, ret_error);
	if (reader.fd < 0)
		return reader.fd;
	r = protocol_read(&reader, now_ms() + LIMIT_MS, ret, ret_error);
	protocol_reader_free(&reader);
	close(reader.fd);
	/* Without an object it has said why, and ends. */
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return error_set(ret_error, -ECHILD, "pullet-update ended without an answer");
	return r < 0 && r != -EPIPE ? r : WEXITSTATUS(status);
}

int command_verify(const struct command_options *o, const char *const *operands)
{
	const char *argv[12] = {"pullet-update", "--config", o->config,	 "--state-dir",
				o->state_dir,	 "--verify", operands[0]};
	_cleanup_json_ json_t *j = NULL;
	struct error e;
	int status;

	if (o->platform) {
		argv[7] = "--platform";
		argv[8] = o->platform;
	}
	status = ask(argv, &j, &e);
	if (status < 0) {
		log_error("%s", e.text);
		return 1;
	}
	if (!j)
		return status ? status : 1;
	if (o->json)
		command_print_json(json_incref(j));
	else
		print_image(j);
	return status;
}
