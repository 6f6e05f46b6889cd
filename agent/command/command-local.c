/* SPDX-License-Identifier: MIT */
/* Commands that work without pulletd. */
#include <stdio.h>

#include "command.h"
#include "config.h"
#include "fetch.h"
#include "json-build.h"
#include "log.h"
#include "platform.h"
#include "ref.h"
#include "terminal.h"
#include "verify.h"

static void add_fault(void *userdata, const char *text)
{
	json_append(userdata, json_string_lossy(text));
}

static void print_faults(const struct command_options *o, const struct config *c,
			 const json_t *faults)
{
	const json_t *fault;
	size_t i;

	json_array_foreach (faults, i, fault)
		printf("%s\n", json_string_value(fault));
	if (json_array_size(faults) > 0)
		printf("%zu error%s\n", json_array_size(faults),
		       json_array_size(faults) == 1 ? "" : "s");
	else
		printf("%s: no errors; %zu container%s, %zu registr%s\n", o->config,
		       c->n_containers, c->n_containers == 1 ? "" : "s", c->n_registries,
		       c->n_registries == 1 ? "y" : "ies");
}

int command_config_check(const struct command_options *o, const char *const *operands)
{
	_cleanup_json_ json_t *faults = json_need(json_array()), *j = NULL;
	struct config *c = config_read(o->config, add_fault, faults);
	int status = json_array_size(faults) ? 2 : 0;

	(void)operands;
	if (o->json) {
		_cleanup_free_ char *text = NULL;
		json_t *names = json_need(json_array());

		for (size_t i = 0; i < c->n_containers; i++)
			json_append(names, json_string(c->containers[i].name));
		j = json_pack("{s:s, s:o, s:O}", "config", o->config, "containers", names, "faults",
			      faults);
		text = json_text(j, JSON_COMPACT);
		puts(text);
	} else {
		print_faults(o, c, faults);
	}
	config_free(c);
	return status;
}

/* Whether two references, which may be written differently, name the same tag. */
static bool is_same_image(const char *a, const char *b)
{
	_cleanup_(ref_free) struct ref left = {0}, right = {0};
	const char *why;

	return ref_parse(a, &left, &why) == 0 && ref_parse(b, &right, &why) == 0 &&
	       streq(left.host, right.host) && streq(left.path, right.path) &&
	       streq_null(left.tag, right.tag);
}

struct verdict {
	json_t *containers; /* that follow the image: {"container", "allowed", "reason"} */
	bool refused;
};

/* Keys belong to containers: each container that follows the image decides. */
static struct verdict judge(const struct config *config, const char *image, const struct digest *d)
{
	struct verdict v = {.containers = json_need(json_array())};

	for (size_t i = 0; i < config->n_containers; i++) {
		const struct container_config *c = &config->containers[i];
		_cleanup_verified_ struct verified *verified = NULL;
		struct error e = {0};
		int r;

		if (!is_same_image(image, c->image))
			continue;
		r = verify_image(c, d, &verified, &e);
		v.refused |= r < 0;
		json_append(v.containers,
			    json_pack("{s:s, s:b, s:s?}", "container", c->name, "allowed", r == 0,
				      "reason", r < 0 ? e.text : NULL));
	}
	return v;
}

static void print_image(const char *image, const struct oci_platform *platform,
			const struct fetch_reply *reply, const struct verdict *v)
{
	_cleanup_free_ char *size = text_bytes(reply->layer_bytes);
	char text[96];
	const json_t *one;
	size_t i;

	printf("   Image: %s\n  Digest: %s\nManifest: %s\nPlatform: %s\n    Size: %s compressed\n",
	       image, reply->digest.text, reply->manifest.text,
	       oci_platform_text(platform, text, sizeof(text)), size);
	json_array_foreach (v->containers, i, one) {
		const char *reason = json_get_string(one, "reason");

		printf(" May run: %s: %s\n", json_get_string(one, "container"),
		       reason ? reason : "yes (no key is set, so no signature is required)");
	}
	if (i == 0)
		puts(" May run: no container in the configuration follows this image");
}

static void print_object(const char *image, const struct oci_platform *platform,
			 const struct fetch_reply *reply, const struct verdict *v)
{
	char text[96];
	_cleanup_json_ json_t *j = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:I, s:O}", "image", image, "digest", reply->digest.text,
		"manifest", reply->manifest.text, "config", reply->config.text, "platform",
		oci_platform_text(platform, text, sizeof(text)), "layer_bytes",
		(json_int_t)reply->layer_bytes, "containers", v->containers);
	_cleanup_free_ char *line = json_text(j, JSON_COMPACT);

	puts(line);
}

static int verify(const struct command_options *o, const struct config *config, const char *image,
		  struct fetch *fetch)
{
	struct oci_platform platform = {0};
	struct fetch_reply reply;
	struct verdict v;
	struct error e;

	platform_of_host(&platform);
	if (o->platform && platform_parse(o->platform, &platform) < 0) {
		log_error("--platform: '%s' is not of the form linux/arm/v7", o->platform);
		return 2;
	}
	if (fetch_ask(fetch, &(struct fetch_request){.image = image, .platform = platform}, &reply,
		      &e) < 0) {
		log_error("%s: %s", image, e.text);
		return 1;
	}
	v = judge(config, image, &reply.digest);
	if (o->json)
		print_object(image, &platform, &reply, &v);
	else
		print_image(image, &platform, &reply, &v);
	json_decref(v.containers);
	return v.refused ? 1 : 0;
}

int command_verify(const struct command_options *o, const char *const *operands)
{
	const struct fetch_options options = {.config = o->config};
	_cleanup_(ref_free) struct ref ref = {0};
	_cleanup_fetch_ struct fetch *fetch = NULL;
	struct config *config;
	struct error e;
	const char *why;
	int status;

	if (ref_parse(operands[0], &ref, &why) < 0) {
		log_error("%s: %s", operands[0], why);
		return 2;
	}
	if (config_load(o->config, &config, &e) < 0) {
		log_error("%s", e.text);
		return 2;
	}
	fetch = fetch_new(&options, ref.host);
	status = verify(o, config, operands[0], fetch);
	config_free(config);
	return status;
}
