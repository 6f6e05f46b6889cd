/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "engine.h"
#include "fetch.h"
#include "pass.h"
#include "recreate.h"
#include "record.h"
#include "ref.h"
#include "unit-start.h"
#include "verify.h"

#define IMAGE_OLD "sha256:0000000000000000000000000000000000000000000000000000000000000001"
#define IMAGE_NEW "sha256:0000000000000000000000000000000000000000000000000000000000000002"
#define TAG	  "reg.example/app:stable"
#define REPO	  "reg.example/app"

struct box { /* a container */
	char id[8], name[32], policy[24], target[80], final_policy[24];
	char shares[8];	   /* id of the container whose network it has */
	int64_t joined_at; /* start of that one which it has joined */
	bool exists, running, started, stopped_by_hand;
	int image; /* 0 old, 1 new */
	int exit_code, health;
	int64_t started_at, finished_at;
};

static struct {
	struct sim_setup setup;
	struct box boxes[24];
	unsigned int n_boxes;
	bool present[2], torn[2], synced[2];
	bool layer;    /* the new image's only one is in the store, with or without the image */
	bool lost;     /* the record was */
	int tag, kept; /* image or -1 */
	uint64_t clock_ms;
	unsigned int boot, changes, calls, at, saves, host_kills;
	unsigned int signatures; /* questions for them */
	bool replay;
	bool after, struck, idle, excused, ordered, asked[HOOK_MAX];
	enum sim_fault fault;
	char broken[160], dir[64];
	int dirfd;
	jmp_buf out;
} sim = {.dirfd = -1};

static const char *const image_ids[2] = {IMAGE_OLD, IMAGE_NEW};
static const enum sim_nature *nature(int image)
{
	return image ? &sim.setup.new_nature : &sim.setup.old_nature;
}

static struct box *find(const char *name_or_id)
{
	for (unsigned int i = 0; i < sim.n_boxes; i++) {
		struct box *b = &sim.boxes[i];

		if (b->exists && (streq(b->name, name_or_id) || streq(b->id, name_or_id)))
			return b;
	}
	return NULL;
}

static void check_copies(bool followers)
{
	unsigned int running = 0, startable = 0, there = 0;

	for (unsigned int i = 0; i < sim.n_boxes; i++) {
		const struct box *b = &sim.boxes[i];

		if (!b->exists || (b->shares[0] != '\0') != followers)
			continue;
		running += b->running;
		startable += !sim.torn[b->image];
		there++;
	}
	if (running > 1 && !sim.broken[0])
		(void)snprintf(sim.broken, sizeof(sim.broken), "two copies run");
	if (startable == 0 && !sim.broken[0])
		(void)snprintf(sim.broken, sizeof(sim.broken), "no startable container of %u",
			       there);
}

static void check_promises(void)
{
	if (!sim.setup.first)
		check_copies(false);
	if (sim.setup.follower)
		check_copies(true);
}

/* Whose network it has; NULL: its own. */
static const struct box *host_of(const struct box *b)
{
	return b->shares[0] ? find(b->shares) : NULL;
}

static bool can_run(const struct box *b)
{
	const struct box *host = host_of(b);

	if (sim.torn[b->image] || (b->shares[0] && (!host || !host->running)))
		return false;
	return !b->shares[0] ? *nature(b->image) != SIM_WONT_START
			     : !sim.setup.allergic || host->image == 0;
}

static void run_box(struct box *b)
{
	enum sim_nature n = *nature(b->image);

	b->started = b->running = true;
	b->started_at = (int64_t)++sim.clock_ms * 1000000;
	b->joined_at = host_of(b) ? host_of(b)->started_at : 0;
	b->exit_code = 0;
	if (b->shares[0])
		return;
	b->health = n == SIM_SICK || n == SIM_HEALTHY ? 1 : 0;
	if (n == SIM_FINISHES || n == SIM_FAILS) {
		b->running = false;
		b->exit_code = n == SIM_FAILS ? 1 : 0;
		b->finished_at = (int64_t)++sim.clock_ms * 1000000;
	}
}

static void power_cut(void)
{
	sim.boot++;
	for (unsigned int i = 0; i < 2; i++) {
		if ((sim.present[i] || (i == 1 && sim.layer)) && !sim.synced[i])
			sim.torn[i] = true;
	}
	for (unsigned int i = 0; i < sim.n_boxes; i++) {
		struct box *b = &sim.boxes[i];
		bool was = b->running;

		if (was) {
			/* Not in our hands, and its own policy says that nobody brings it back. */
			sim.excused |= sim.idle && b->exists && streq(b->policy, "no");
			b->running = false;
			b->exit_code = 255;
		}
		/* What dockerd does at boot. */
		if (b->exists && b->started && can_run(b) &&
		    (streq(b->policy, "always") ||
		     (streq(b->policy, "unless-stopped") && !b->stopped_by_hand) ||
		     (was && after_prefix(b->policy, "on-failure"))))
			run_box(b);
	}
	check_promises();
}

static void strike(void)
{
	char path[96];

	sim.struck = true;
	sim.at = 0;
	if (sim.fault == SIM_POWER_CUT)
		power_cut();
	if (sim.fault == SIM_LOSE_RECORD) {
		sim.lost = true;
		(void)snprintf(path, sizeof(path), "%s/app.json", sim.dir);
		(void)unlink(path);
	}
	longjmp(sim.out, 1);
}

static bool is_due(unsigned int count, bool engine_error, bool after)
{
	return sim.at == count && sim.after == after &&
	       (sim.fault == SIM_ENGINE_ERROR) == engine_error;
}

/* Every change of the world is a point where something can go wrong, on either side of it. */
static void before_change(void)
{
	sim.changes++;
	if (is_due(sim.changes, false, false))
		strike();
}

static void after_change(void)
{
	sim.clock_ms += 3;
	check_promises();
	if (is_due(sim.changes, false, true))
		strike();
}

/* Every call of the engine may fail: before anything is done, or its answer is lost. */
static bool call_fails(struct error *e)
{
	sim.calls++;
	if (!is_due(sim.calls, true, false))
		return false;
	sim.struck = true;
	sim.at = 0;
	(void)error_set(e, -EIO, "the engine answers 500: it is busy");
	return true;
}

static int answer(struct error *e)
{
	if (!is_due(sim.calls, true, true))
		return 0;
	sim.struck = true;
	sim.at = 0;
	return error_set(e, -ETIMEDOUT, "the engine does not answer");
}

/* engine.h */

struct engine {
	struct version version;
};

int engine_open(const char *socket, const volatile sig_atomic_t *cancel, struct engine **ret,
		struct error *ret_error)
{
	if (call_fails(ret_error))
		return ret_error->code;
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->version = (struct version){.api_minor = 41, .platform = {"linux", "amd64", ""}};
	return answer(ret_error);
}

void engine_close(struct engine *e)
{
	free(e);
}

const struct version *engine_version(const struct engine *e)
{
	return &e->version;
}

static int missing(struct error *e, const char *what)
{
	return error_set(e, -ENOENT, "no such %s", what);
}

static json_t *time_text(int64_t ns)
{
	struct tm tm;
	time_t t = (time_t)(ns / 1000000000);
	char date[32], text[64];

	if (ns == 0)
		return json_string("0001-01-01T00:00:00Z");
	(void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", gmtime_r(&t, &tm));
	(void)snprintf(text, sizeof(text), "%s.%09lldZ", date, (long long)(ns % 1000000000));
	return json_string(text);
}

static json_t *healthcheck(const struct box *b)
{
	static const char *const status[] = {"none", "starting", "healthy", "unhealthy"};

	return b->health ? json_pack("{s:s}", "Status", status[b->health]) : json_null();
}

int engine_inspect_container(struct engine *e, const char *name_or_id, json_t **ret,
			     struct error *ret_error)
{
	const struct box *b = find(name_or_id);
	_cleanup_free_ char *mode = NULL;
	json_t *labels, *state, *config;

	if (call_fails(ret_error))
		return ret_error->code;
	if (!b)
		return missing(ret_error, "container");
	labels = json_object();
	if (b->target[0]) {
		json_object_set_new(labels, "pullet.target", json_string(b->target));
		json_object_set_new(labels, "pullet.policy", json_string(b->final_policy));
	}
	state = json_pack("{s:s, s:b, s:b, s:b, s:i, s:s, s:o, s:o, s:o}", "Status",
			  b->running   ? "running"
			  : b->started ? "exited"
				       : "created",
			  "Running", b->running, "Restarting", 0, "Paused", 0, "ExitCode",
			  b->exit_code, "Error", "", "StartedAt", time_text(b->started_at),
			  "FinishedAt", time_text(b->finished_at), "Health", healthcheck(b));
	config = json_pack("{s:s, s:o, s:s}", "Image", TAG, "Labels", labels, "Hostname", "h");
	mode = b->shares[0] ? xasprintf("container:%s", b->shares) : xstrdup("none");
	*ret = json_pack("{s:s, s:s, s:s, s:o, s:o, s:{s:{s:s, s:i}, s:s}, s:{s:{}}, s:[]}", "Id",
			 b->id, "Name", b->name, "Image", image_ids[b->image], "State", state,
			 "Config", config, "HostConfig", "RestartPolicy", "Name", b->policy,
			 "MaximumRetryCount", 0, "NetworkMode", mode, "NetworkSettings", "Networks",
			 "Mounts");
	return answer(ret_error);
}

static int image_of(const char *reference)
{
	for (int i = 0; i < 2; i++) {
		if (sim.present[i] && strstr(reference, image_ids[i]))
			return i;
	}
	if (streq(reference, TAG))
		return sim.tag;
	if (after_prefix(reference, "localhost/pullet/previous"))
		return sim.kept;
	return -1;
}

int engine_inspect_image(struct engine *e, const char *reference, json_t **ret,
			 struct error *ret_error)
{
	int i = image_of(reference);
	_cleanup_free_ char *pinned = NULL;

	if (call_fails(ret_error))
		return ret_error->code;
	if (i < 0)
		return missing(ret_error, "image");
	pinned = xasprintf(REPO "@%s", image_ids[i]);
	*ret = json_pack("{s:s, s:[s], s:s, s:s, s:{}, s:{s:[s]}}", "Id", image_ids[i],
			 "RepoDigests", pinned, "Os", "linux", "Architecture", "amd64", "Config",
			 "RootFS", "Layers", image_ids[i]);
	return answer(ret_error);
}

int engine_inspect_platform(struct engine *e, const char *reference,
			    const struct oci_platform *platform, json_t **ret,
			    struct error *ret_error)
{
	(void)platform;
	return engine_inspect_image(e, reference, ret, ret_error);
}

int engine_identify_image(struct engine *e, const char *reference, json_t **ret,
			  struct error *ret_error)
{
	return engine_inspect_image(e, reference, ret, ret_error);
}

int engine_inspect_neighbour(struct engine *e, const char *id, json_t **ret,
			     struct error *ret_error)
{
	return engine_inspect_container(e, id, ret, ret_error);
}

int engine_inspect_podman(struct engine *e, const char *id, json_t **ret, struct error *ret_error)
{
	return engine_inspect_container(e, id, ret, ret_error);
}

int engine_list_images(struct engine *e, json_t **ret, struct error *ret_error)
{
	if (call_fails(ret_error))
		return ret_error->code;
	*ret = json_array();
	for (int i = 0; i < 2; i++) {
		if (sim.present[i])
			json_array_append_new(*ret, json_pack("{s:s}", "Id", image_ids[i]));
	}
	return answer(ret_error);
}

int engine_changes(struct engine *e, const char *id, json_t **ret, struct error *ret_error)
{
	if (call_fails(ret_error))
		return ret_error->code;
	*ret = json_array();
	return answer(ret_error);
}

int engine_stat(struct engine *e, const char *id, const char *path, json_t **ret,
		struct error *ret_error)
{
	if (call_fails(ret_error))
		return ret_error->code;
	return missing(ret_error, path);
}

int engine_pull(struct engine *e, const struct ref *ref, const struct verified *v,
		const struct pull_options *o, size_t *ret_found, struct error *ret_error)
{
	if (call_fails(ret_error))
		return ret_error->code;
	/* A torn one stays torn, whether the engine says "Already exists" or learns it by unpacking. Both
	 * that and a lost record are more than can be mended. */
	*ret_found = sim.layer && (!sim.torn[1] || sim.lost);
	before_change();
	sim.layer = true;
	after_change();
	before_change();
	sim.present[1] = true;
	after_change();
	engine_sync(e);
	return answer(ret_error);
}

int engine_tag(struct engine *e, const char *image, const char *repository, const char *tag,
	       struct error *ret_error)
{
	int i = image_of(image);

	if (call_fails(ret_error))
		return ret_error->code;
	if (i < 0)
		return missing(ret_error, "image");
	before_change();
	if (streq(repository, REPO))
		sim.tag = i;
	else
		sim.kept = i;
	after_change();
	return answer(ret_error);
}

int engine_remove_image(struct engine *e, const char *reference, struct error *ret_error)
{
	int i = image_of(reference);

	if (call_fails(ret_error))
		return ret_error->code;
	if (i < 0)
		return missing(ret_error, "image");
	for (unsigned int b = 0; b < sim.n_boxes; b++) {
		if (sim.boxes[b].exists && sim.boxes[b].image == i)
			return error_set(ret_error, -EEXIST, "image is in use");
	}
	before_change();
	if (streq(reference, TAG)) {
		sim.tag = -1;
	} else {
		sim.present[i] = sim.torn[i] = sim.synced[i] = false;
		sim.layer &= i != 1;
		sim.tag = sim.tag == i ? -1 : sim.tag;
		sim.kept = sim.kept == i ? -1 : sim.kept;
	}
	after_change();
	return answer(ret_error);
}

int engine_create(struct engine *e, const char *name, const char *platform, const json_t *body,
		  char **ret_id, struct error *ret_error)
{
	const json_t *labels = json_object_get(body, "Labels");
	const json_t *host = json_object_get(body, "HostConfig");
	const char *mode = json_get_string(host, "NetworkMode");
	const char *shares = mode ? after_prefix(mode, "container:") : NULL;
	_cleanup_free_ char *text = recreate_policy_text(json_object_get(host, "RestartPolicy"));
	int i = image_of(json_get_string(body, "Image"));
	struct box *b;

	if (call_fails(ret_error))
		return ret_error->code;
	if (i < 0)
		return missing(ret_error, "image");
	if (find(name) || sim.n_boxes == ARRAY_SIZE(sim.boxes))
		return error_set(ret_error, -EEXIST, "name in use");
	before_change();
	b = &sim.boxes[sim.n_boxes];
	*b = (struct box){.exists = true, .image = i};
	(void)snprintf(b->id, sizeof(b->id), "c%u", sim.n_boxes++);
	(void)snprintf(b->name, sizeof(b->name), "%s", name);
	(void)snprintf(b->policy, sizeof(b->policy), "%s", text);
	if (shares && find(shares))
		(void)snprintf(b->shares, sizeof(b->shares), "%s", find(shares)->id);
	(void)snprintf(b->target, sizeof(b->target), "%s",
		       json_get_string(labels, "pullet.target"));
	(void)snprintf(b->final_policy, sizeof(b->final_policy), "%s",
		       json_get_string(labels, "pullet.policy"));
	*ret_id = NULL;
	if (!streq(b->policy, "no") && !sim.broken[0])
		(void)snprintf(sim.broken, sizeof(sim.broken), "created with policy %s", b->policy);
	after_change();
	*ret_id = xstrdup(b->id);
	return answer(ret_error);
}

int engine_connect(struct engine *e, const char *network, const char *id, const json_t *body,
		   struct error *ret_error)
{
	if (call_fails(ret_error))
		return ret_error->code;
	return answer(ret_error);
}

int engine_start(struct engine *e, const char *id, struct error *ret_error)
{
	struct box *b = find(id);

	if (call_fails(ret_error))
		return ret_error->code;
	if (!b)
		return missing(ret_error, "container");
	before_change();
	b->stopped_by_hand = false;
	if (!can_run(b)) {
		b->exit_code = 127;
		after_change();
		(void)error_set(ret_error, -EINVAL, "exec format error");
		ret_error->origin = ERROR_IMAGE;
		return ret_error->code;
	}
	run_box(b);
	if (!b->shares[0] && *nature(b->image) == SIM_KILLS_HOST && ++sim.host_kills < 20) {
		sim.fault = SIM_POWER_CUT;
		strike();
	}
	after_change();
	return answer(ret_error);
}

int engine_stop(struct engine *e, const char *id, int timeout_s, struct error *ret_error)
{
	struct box *b = find(id);

	if (call_fails(ret_error))
		return ret_error->code;
	if (!b)
		return missing(ret_error, "container");
	before_change();
	b->running = false;
	b->stopped_by_hand = true;
	b->exit_code = 0;
	b->finished_at = (int64_t)++sim.clock_ms * 1000000;
	after_change();
	return answer(ret_error);
}

int engine_rename(struct engine *e, const char *id, const char *name, struct error *ret_error)
{
	struct box *b = find(id);

	if (call_fails(ret_error))
		return ret_error->code;
	if (!b)
		return missing(ret_error, "container");
	if (find(name))
		return error_set(ret_error, -EEXIST, "name in use");
	before_change();
	(void)snprintf(b->name, sizeof(b->name), "%s", name);
	after_change();
	return answer(ret_error);
}

int engine_set_policy(struct engine *e, const char *id, const json_t *policy,
		      struct error *ret_error)
{
	_cleanup_free_ char *text = recreate_policy_text(policy);
	struct box *b = find(id);

	if (call_fails(ret_error))
		return ret_error->code;
	if (!b)
		return missing(ret_error, "container");
	before_change();
	(void)snprintf(b->policy, sizeof(b->policy), "%s", text);
	after_change();
	return answer(ret_error);
}

int engine_remove(struct engine *e, const char *id, struct error *ret_error)
{
	struct box *b = find(id);

	if (call_fails(ret_error))
		return ret_error->code;
	if (!b)
		return missing(ret_error, "container");
	if (b->running)
		return error_set(ret_error, -EEXIST, "container is running");
	before_change();
	b->exists = false;
	after_change();
	return answer(ret_error);
}

/* Time flies to the next thing that happens. */
int engine_wait_event(struct engine *e, const char *id, int64_t since_ns, unsigned int timeout_ms,
		      struct error *ret_error)
{
	struct box *b = find(id);

	if (call_fails(ret_error))
		return ret_error->code;
	before_change();
	if (b && b->health == 1) {
		b->health = *nature(b->image) == SIM_SICK ? 3 : 2;
		sim.clock_ms += timeout_ms / 2;
	} else {
		sim.clock_ms += timeout_ms;
	}
	after_change();
	return answer(ret_error);
}

int engine_info(struct engine *e, json_t **ret, struct error *ret_error)
{
	if (call_fails(ret_error))
		return ret_error->code;
	*ret = json_object();
	return answer(ret_error);
}

int engine_list(struct engine *e, const char *service, json_t **ret, struct error *ret_error)
{
	if (call_fails(ret_error))
		return ret_error->code;
	*ret = json_array();
	for (unsigned int i = 0; i < sim.n_boxes; i++) {
		if (sim.boxes[i].exists && !service)
			json_array_append_new(*ret, json_pack("{s:s}", "Id", sim.boxes[i].id));
	}
	return answer(ret_error);
}

int engine_look_up(struct engine *e, const char *kind, const char *name, json_t **ret,
		   struct error *ret_error)
{
	*ret = json_object();
	return 0;
}

void engine_sync(struct engine *e)
{
	before_change();
	sim.synced[0] = sim.present[0];
	sim.synced[1] = sim.layer;
	after_change();
}

enum ending engine_find_ending(struct engine *e, const char *id, int64_t since_ns)
{
	const struct box *b = find(id);

	return b && b->stopped_by_hand ? ENDING_STOPPED : ENDING_OWN;
}

bool engine_ended_by_itself(struct engine *e, const char *id, int64_t since_ns)
{
	return true;
}

int engine_log(struct engine *e, const char *id, json_t **ret, char *last, size_t size)
{
	last[0] = '\0';
	return 0;
}

/* fetch.h */

struct fetch *fetch_new(const struct fetch_options *o, const char *host)
{
	return NULL;
}

void fetch_free(struct fetch *f)
{
}

int fetch_ask(struct fetch *f, const struct fetch_request *request, struct fetch_reply *ret,
	      struct error *ret_error)
{
	*ret = (struct fetch_reply){0};
	/* The tag stays on what is rolled back. */
	if (digest_parse(image_ids[!sim.setup.rollback && !sim.replay], &ret->digest) < 0)
		abort();
	for (size_t i = 0; i < request->n_known; i++)
		ret->known |= digest_eq(&request->known[i], &ret->digest);
	if (!ret->known)
		ret->manifest = ret->config = ret->digest;
	return 0;
}

int fetch_ask_rollout(struct fetch *f, const char *image, const char *ring, bool with_text,
		      struct rollout_reply *ret, struct error *ret_error)
{
	*ret = (struct rollout_reply){0};
	return 0;
}

/* Both images are signed at the place that is asked last. A signature is the text of the digest. */
int fetch_ask_signatures(struct fetch *f, const char *image, const struct digest *d,
			 enum signature_place place, struct signatures *ret,
			 struct error *ret_error)
{
	*ret = (struct signatures){0};
	sim.signatures++;
	if (!sim.setup.key)
		abort();
	if (place == SIGNATURES_FALLBACK) {
		ret->pairs[0].payload = xstrdup(d->text);
		ret->n = 1;
	}
	return 0;
}

/* verify.h: as much of it as a pass needs, without a cipher. */

struct verified {
	struct digest digest;
};

const struct digest *verified_digest(const struct verified *v)
{
	return &v->digest;
}

static int make_verified(const struct digest *d, struct verified **ret)
{
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->digest = *d;
	return 0;
}

int verify_unsigned(const struct container_config *c, const struct digest *d, struct verified **ret,
		    struct error *ret_error)
{
	return c->keys ? error_set(ret_error, -EKEYREJECTED, "key") : make_verified(d, ret);
}

static struct signed_key sign_as_ours(const struct digest *d)
{
	struct signed_key key = {.name = "prod.pub",
				 .id = {IMAGE_OLD},
				 .seq = streq(d->text, IMAGE_NEW) != sim.setup.rollback ? 2 : 1};

	return key;
}

static int check_sequence(const struct verify_rule *rule, const struct signed_key *key,
			  struct error *ret_error)
{
	uint64_t seen = rule->record ? record_sequence(rule->record, &key->id) : 0;

	return rule->exempt || key->seq >= seen
		       ? 0
		       : error_set(ret_error, -EKEYREJECTED, "seq is below the one that was seen");
}

int verify_signatures(const struct verify_rule *rule, const struct digest *d,
		      const struct signature_pair *pairs, size_t n, struct judgement *judged,
		      struct signature *ret_signature, struct verified **ret,
		      struct error *ret_error)
{
	const struct signed_key key = sign_as_ours(d);

	if (n == 0 || !streq(pairs[0].payload, d->text))
		return error_set(ret_error, -EKEYREJECTED, "there is no signature");
	judged[0] = (struct judgement){.key_id = key.id, .seq = key.seq};
	copy_text(judged[0].key, sizeof(judged[0].key), key.name);
	if (check_sequence(rule, &key, ret_error) < 0) {
		copy_text(judged[0].fault, sizeof(judged[0].fault), ret_error->text);
		return -EKEYREJECTED;
	}
	*ret_signature = (struct signature){.keys = {key}, .n_keys = 1};
	return make_verified(d, ret);
}

int verify_count_keys(const struct container_config *c, size_t *ret, struct error *ret_error)
{
	*ret = 1;
	return 0;
}

int verify_recorded(const struct verify_rule *rule, const struct digest *d,
		    const struct signature *s, bool any_key, struct verified **ret,
		    struct error *ret_error)
{
	if (s->n_keys == 0)
		return error_set(ret_error, -EKEYREJECTED, "unsigned");
	return check_sequence(rule, &s->keys[0], ret_error) < 0 ? -EKEYREJECTED
								: make_verified(d, ret);
}

/* Here the engine pulls (lib/no-download.c). */

int engine_save(struct engine *e, const char *image, int fd, struct save_layer *layers, size_t n,
		uint64_t max, json_t **ret_manifest, struct error *ret_error)
{
	abort();
}

int engine_load(struct engine *e, const struct load *l, size_t *ret_found, struct error *ret_error)
{
	abort();
}

/* Wrapped by the linker: the durable write, the clock, the boot. */

int __real_record_save(int dir, const char *name, const struct record *r, struct error *ret_error);
int __wrap_record_save(int dir, const char *name, const struct record *r, struct error *ret_error);
uint64_t __wrap_now_ms(void);
void __wrap_boot_id(char ret[BOOT_ID_SIZE]);
int __wrap_unit_run(const char *socket, const struct container_config *c, enum hook_kind kind,
		    const volatile sig_atomic_t *cancel, struct unit_end *ret,
		    struct error *ret_error);

int __wrap_record_save(int dir, const char *name, const struct record *r, struct error *ret_error)
{
	int q;

	before_change();
	sim.saves++;
	q = __real_record_save(dir, name, r, ret_error);
	sim.idle = r->phase == PHASE_IDLE || r->phase == PHASE_PREPARE;
	sim.ordered |= r->rollback;
	after_change();
	return q;
}

uint64_t __wrap_now_ms(void)
{
	return sim.clock_ms;
}

void __wrap_boot_id(char ret[BOOT_ID_SIZE])
{
	(void)snprintf(ret, BOOT_ID_SIZE, "boot-%u", sim.boot);
}

/* The units of the operator. Each runs at a time when it finds what it is for; health-unit judges. */
int __wrap_unit_run(const char *socket, const struct container_config *c, enum hook_kind kind,
		    const volatile sig_atomic_t *cancel, struct unit_end *ret,
		    struct error *ret_error)
{
	const struct box *app = find("app");
	bool unfit;

	before_change();
	unfit = app && kind == HOOK_HEALTH && *nature(app->image) == SIM_UNFIT;
	if (!sim.broken[0] && (!app || !app->running || (kind == HOOK_BEFORE && app->image != 0) ||
			       (kind == HOOK_HEALTH && app->image != 1)))
		(void)snprintf(sim.broken, sizeof(sim.broken), "%s at the wrong time",
			       unit_keys[kind]);
	sim.asked[kind] = true;
	*ret = (struct unit_end){.result = "success"};
	if (unfit)
		*ret = (struct unit_end){"exit-code", 7};
	after_change();
	return 0;
}

/* The scenario. */

static void remove_record(void)
{
	(void)unlinkat(sim.dirfd, "app.json", 0);
	(void)unlinkat(sim.dirfd, ".app.json.new", 0);
	(void)unlinkat(sim.dirfd, "app.json.broken", 0);
}

/* An update was made before: image 1 ran, and now image 0 does. */
static void make_past(void)
{
	struct record r;
	struct error e;

	record_init(&r);
	r.current.brought = r.previous.brought = true;
	(void)snprintf(r.current.image, sizeof(r.current.image), "%s", IMAGE_OLD);
	(void)snprintf(r.previous.image, sizeof(r.previous.image), "%s", IMAGE_NEW);
	if (digest_parse(IMAGE_OLD, &r.current.digest) < 0 ||
	    digest_parse(IMAGE_NEW, &r.previous.digest) < 0 ||
	    __real_record_save(sim.dirfd, "app", &r, &e) < 0)
		abort();
	sim.present[1] = sim.synced[1] = sim.layer = true;
	sim.kept = 1;
}

void sim_reset(const struct sim_setup *setup)
{
	struct box *b = &sim.boxes[0], *side = &sim.boxes[1];

	if (sim.dirfd < 0) {
		(void)snprintf(sim.dir, sizeof(sim.dir), "/dev/shm/pullet-sim.XXXXXX");
		if (!mkdtemp(sim.dir))
			abort();
		sim.dirfd = open(sim.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	remove_record();
	sim.setup = *setup;
	sim.n_boxes = 0;
	sim.clock_ms = (uint64_t)1700000000 * 1000;
	sim.boot = 1;
	sim.changes = sim.calls = sim.at = sim.saves = sim.host_kills = 0;
	sim.struck = sim.excused = sim.ordered = sim.replay = false;
	sim.signatures = 0;
	memset(sim.asked, false, sizeof(sim.asked));
	sim.idle = true;
	sim.broken[0] = '\0';
	sim.present[0] = sim.synced[0] = !setup->first;
	sim.present[1] = sim.synced[1] = sim.torn[0] = sim.torn[1] = sim.layer = sim.lost = false;
	sim.tag = setup->first ? -1 : 0;
	sim.kept = -1;
	if (setup->first)
		return;
	if (setup->rollback)
		make_past();
	*b = (struct box){.exists = true, .id = "c0", .name = "app"};
	sim.n_boxes = 1;
	(void)snprintf(b->policy, sizeof(b->policy), "%s", setup->policy);
	run_box(b);
	if (!setup->follower)
		return;
	*side = *b;
	(void)snprintf(side->id, sizeof(side->id), "c%u", sim.n_boxes++);
	(void)snprintf(side->name, sizeof(side->name), "side");
	(void)snprintf(side->shares, sizeof(side->shares), "%s", b->id);
	run_box(side);
}

void sim_plant(unsigned int at, bool after, enum sim_fault fault)
{
	sim.changes = sim.calls = 0;
	sim.at = at;
	sim.after = after;
	sim.fault = fault;
	sim.struck = false;
}

unsigned int sim_changes(void)
{
	return sim.changes;
}

unsigned int sim_calls(void)
{
	return sim.calls;
}

bool sim_struck(void)
{
	return sim.struck;
}

unsigned int sim_saves(void)
{
	unsigned int n = sim.saves;

	sim.saves = 0;
	return n;
}

static void ignore_event(json_t *event)
{
	json_decref(event);
}

bool sim_pass(struct result *ret)
{
	static const volatile sig_atomic_t never;
	static char *keys[] = {(char *)"prod.pub", NULL};
	static struct config config = {.engine = (char *)"sim", .download = DOWNLOAD_ENGINE};
	static struct container_config container = {
		.name = (char *)"app",
		.image = (char *)TAG,
		.health_period_ms = 30000,
		.stop_timeout_s = -1,
	};
	struct task task = {
		.config = &config,
		.state_dir = sim.dirfd,
		.cancel = &never,
		.on_event = ignore_event,
	};

	/* Once it is written down, it is carried out whatever a pass is made for. */
	if (sim.setup.rollback && !sim.ordered)
		task.operation = OPERATION_ROLLBACK;
	for (int i = 0; i < HOOK_MAX; i++)
		container.hooks[i].unit = sim.setup.hooks ? (char *)"hook.service" : NULL;
	container.create = sim.setup.first ? (char *)SIM_CREATE_FILE : NULL;
	container.keys = sim.setup.key ? keys : NULL;
	if (setjmp(sim.out) != 0)
		return false;
	pass_run(&task, &container, ret);
	return true;
}

void sim_replay(void)
{
	sim.replay = true;
}

unsigned int sim_asked_signatures(void)
{
	return sim.signatures;
}

const char *sim_broken_promise(void)
{
	return sim.broken[0] ? sim.broken : NULL;
}

bool sim_serves(void)
{
	const struct box *b = find("app");

	return b && (b->running || sim.excused || *nature(b->image) == SIM_FINISHES ||
		     *nature(b->image) == SIM_FAILS);
}

static const char *verify_follower(void)
{
	const struct box *b = find("side"), *app = find("app");

	if (!b)
		return "the follower is gone";
	if (find("side.next") || find("side.prev"))
		return "something of the follower is left over";
	if (!streq(b->policy, sim.setup.policy))
		return "wrong restart policy of the follower";
	if (!streq(b->shares, app->id))
		return "the follower shares the network of another container";
	/* Whether one that a power cut ended had run is not known without the record. */
	if (!b->running && !sim.excused &&
	    !(sim.lost && sim.boot > 1 && streq(sim.setup.policy, "no")))
		return "the follower does not run";
	/* Started before its host came up again, its network is that of the life before. */
	return b->running && b->joined_at != app->started_at ? "the follower was left behind"
							     : NULL;
}

const char *sim_verify_end(bool expect_new)
{
	const struct box *b = find("app");
	const char *policy = sim.setup.first ? "always" : sim.setup.policy;

	if (sim.setup.first && !expect_new)
		return b || find("app.next") || find("app.prev") ? "something is left over" : NULL;
	if (!b)
		return "no container has the name";
	if (find("app.next") || find("app.prev"))
		return "NAME.next or NAME.prev is left over";
	for (int i = 0; sim.setup.hooks && i < HOOK_MAX; i++) {
		if (!sim.asked[i])
			return unit_keys[i];
	}
	if (b->image != (expect_new ? 1 : 0))
		return expect_new ? "the old image runs" : "the new image runs";
	if (!streq(b->policy, policy))
		return "wrong restart policy";
	if (!sim_serves())
		return "the container does not run";
	if (sim.tag != b->image)
		return "the local tag is on the wrong image";
	if (expect_new && !sim.setup.first && sim.kept != 0)
		return "the previous image is not kept";
	if (!expect_new && !sim.setup.rollback && sim.present[1])
		return "the rejected image is still there";
	if (!expect_new && sim.setup.rollback && sim.kept != 1)
		return "the previous image is not kept";
	return sim.setup.follower ? verify_follower() : NULL;
}
