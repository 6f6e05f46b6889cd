/* SPDX-License-Identifier: MIT */
#include "crypto.h"
#include "oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Embedded content is what its descriptor says. */
static void check_data(const char *data, uint64_t size, const struct digest *digest)
{
	struct digest got;

	if (!data)
		return;
	got = hash_bytes(data, size);
	if (size > OCI_DATA_MAX || !digest_eq(&got, digest))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct oci_platform host = {"linux", "arm64", "v8"};
	struct digest d = hash_bytes(data, n);
	struct oci_artifact artifact;
	struct oci_document document;
	char text[96];
	struct error e;

	if (oci_parse_artifact((const char *)data, n, NULL, "application/x", &artifact, &e) == 0) {
		check_data(artifact.data, artifact.size, &artifact.digest);
		free(artifact.data);
	}
	if (oci_parse((const char *)data, n, NULL, &d, &document, &e) < 0)
		return 0;
	if (document.n_entries > OCI_INDEX_ENTRIES_MAX || document.n_layers > OCI_LAYERS_MAX ||
	    document.layer_bytes > INT64_MAX ||
	    document.is_index == digest_is_set(&document.config))
		abort();
	check_data(document.config_data, document.config_size, &document.config);
	for (size_t i = 0; i < document.n_layers; i++)
		check_data(document.layers[i].data, document.layers[i].size,
			   &document.layers[i].digest);
	(void)oci_choose(&document, &host);
	for (size_t i = 0; i < document.n_entries; i++) {
		(void)oci_platform_rank(&document.entries[i].platform, &host);
		(void)oci_platform_text(&document.entries[i].platform, text, sizeof(text));
	}
	oci_document_free(&document);
	return 0;
}
