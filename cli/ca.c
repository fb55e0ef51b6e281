/* holdfast ca: the fleet's certification authority, as files. No hub is needed. */
#include "pki/ca_crl.h"
#include "pki/ca_hub.h"
#include "pki/ca_roll.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"
#include "cli/hub_link.h"
#include "cli/save.h"
#include "cli/settings.h"
#include "cli/text.h"
#include "cli/when.h"

static int fail(struct cli *cli, enum err err, const char *explain)
{
    static const char *const words[ERR_COUNT] = {
        [ERR_EXISTS] = "exists",
        [ERR_REFUSED] = "refused",
        [ERR_NOT_FOUND] = "not-found",
        [ERR_SYNTAX] = "malformed",
    };
    const char *word = words[err] != NULL ? words[err] : err == ERR_IO ? "file" : "ca";
    return cli_fail(cli, cli_exit_of_err(err), word, "%s", explain);
}

/* ---- init ---- */

static int init_json(struct cli *cli, const char *state, const char *fleet)
{
    json_t *document CLEANUP(json_cleanup) =
        json_pack("{s:s, s:s}", "fleet", fleet, "state", state);
    return document == NULL ? cli_fail_memory(cli) : json_print(cli, document);
}

static int run_init(struct cli *cli)
{
    const char *fleet = cli_value(cli, "fleet"), *signer_user = cli_value(cli, "signer-user");
    char state[CONFIG_TEXT_MAX], explain[256] = "";
    uint8_t note[TRUST_BUNDLE_MAX];
    struct writer w = writer_over(note, sizeof note);
    int code = settings_state(cli, state);
    if (code != CLI_OK)
        return code;
    enum err err = ca_init(state, fleet, signer_user, explain);
    if (err == ERR_NONE)
        err = ca_bundle(state, fleet, &w, explain); /* the hub serves it from its first start on */
    if (err != ERR_NONE)
        return fail(cli, err, explain);
    if (cli->json)
        return init_json(cli, state, fleet);
    cli_say(cli, "The fleet %s has its authority, in %s.", fleet, state);
    cli_say(cli, "Take %s/offline off this machine: it holds the root's key and the", state);
    cli_say(cli, "trust bundle's, and the hub needs neither. `holdfast doctor` warns until then.");
    return CLI_OK;
}

/* ---- csr and install ---- */

static int run_csr(struct cli *cli)
{
    char state[CONFIG_TEXT_MAX], fleet[CONFIG_TEXT_MAX], explain[256] = "";
    char *pem = NULL;
    int code = settings_state(cli, state);
    if (code == CLI_OK)
        code = settings_fleet(cli, state, fleet);
    if (code != CLI_OK)
        return code;
    enum err err = ca_csr(state, fleet, &pem, explain);
    if (err != ERR_NONE)
        return fail(cli, err, explain);
    code = save_note(cli, cli_value(cli, "output"), slice_of_text(pem),
                     "request for the issuing authority; have your root sign it, with "
                     "basicConstraints CA:TRUE, pathlen:0",
                     "csr");
    free(pem);
    return code;
}

static int run_install(struct cli *cli)
{
    char state[CONFIG_TEXT_MAX], explain[256] = "";
    int code = settings_state(cli, state);
    if (code != CLI_OK)
        return code;
    enum err err = ca_install(state, cli->operands[0], explain);
    if (err != ERR_NONE)
        return fail(cli, err, explain);
    cli_say(cli, "Installed. Restart the hub, and sign a bundle that names the new root: "
                 "`holdfast ca bundle --install`.");
    return json_print_nothing(cli);
}

/* ---- the roll-over ---- */

static int run_prepare(struct cli *cli)
{
    char state[CONFIG_TEXT_MAX], fleet[CONFIG_TEXT_MAX], explain[256] = "";
    bool keep_root = cli_has(cli, "keep-root");
    int code = settings_state(cli, state);
    if (code == CLI_OK)
        code = settings_fleet(cli, state, fleet);
    if (code != CLI_OK)
        return code;
    enum err err = ca_roll_prepare(state, fleet, keep_root, explain);
    if (err != ERR_NONE)
        return fail(cli, err, explain);
    if (keep_root)
        cli_say(cli, "The next issuing authority is there, under the same root. Next: `holdfast ca "
                     "switch`, and restart the hub.");
    else
        cli_say(cli, "The next root and issuing authority are there. Next: a bundle that names "
                     "both roots, `holdfast ca bundle --install`; then `holdfast ca switch`.");
    return json_print_nothing(cli);
}

static int run_switch(struct cli *cli)
{
    char state[CONFIG_TEXT_MAX], explain[256] = "";
    int code = settings_state(cli, state);
    if (code != CLI_OK)
        return code;
    enum err err = ca_roll_switch(state, explain);
    if (err != ERR_NONE)
        return fail(cli, err, explain);
    cli_say(cli, "Restart the hub: it then issues under the new authority, and takes what the old "
                 "one issued. Next: `holdfast device rotate --all`, and wait until it is "
                 "complete.");
    return json_print_nothing(cli);
}

static int run_finish(struct cli *cli)
{
    char state[CONFIG_TEXT_MAX], explain[256] = "";
    int code = settings_state(cli, state);
    if (code == CLI_OK)
        code = cli_confirm(cli, "give up the old authority? A device that has not renewed since "
                                "the switch is refused from the hub's next start on.");
    if (code != CLI_OK)
        return code;
    enum err err = ca_roll_finish(state, explain);
    if (err != ERR_NONE)
        return fail(cli, err, explain);
    cli_say(cli, "The old authority is given up. Restart the hub, and sign a bundle without the "
                 "old root: `holdfast ca bundle --install`.");
    return json_print_nothing(cli);
}

/* ---- certify ---- */

static int say_certified(struct cli *cli, const struct ca_hub_answer *answer, const char *state)
{
    cli_say(cli,
            "Now, in this order: %s`holdfast hub admit` the card on a hub of the fleet, and "
            "`holdfast hub install` it on %s.",
            answer->bundle_changed ? "install the new trust bundle, which names its keys "
                                     "(`holdfast ca bundle --install --from STATE/bundle`), "
                                   : "",
            answer->name);
    if (answer->bundle_changed)
        cli_say(cli, "The bundle is %s/bundle.", state);
    return CLI_OK;
}

static int run_certify(struct cli *cli)
{
    char state[CONFIG_TEXT_MAX], explain[256] = "";
    const char *path = cli->operands[0];
    uint8_t *request = NULL, bytes[NOTE_MAX];
    size_t len = 0;
    struct writer card = writer_over(bytes, sizeof bytes);
    struct ca_hub_answer answer;
    int code = settings_state(cli, state);
    if (code != CLI_OK)
        return code;
    if (file_read(path, NOTE_MAX, &request, &len) != ERR_NONE)
        return cli_fail(cli, CLI_FILE, "file", "%s: %m", path);
    enum err err = ca_hub_card(state, slice_of(request, len), cli_value(cli, "chain"), &card,
                               &answer, explain);
    free(request);
    if (err != ERR_NONE)
        return fail(cli, err, explain);
    code = save_note(cli, cli_value(cli, "output"), writer_bytes(&card), "card", "card");
    return code == CLI_OK ? say_certified(cli, &answer, state) : code;
}

/* ---- crl ---- */

#define CRL_LIFETIME     (365 * 86400)
#define CRL_LIFETIME_MIN 3600 /* shorter ones are gone before they are handed out */

static int run_crl(struct cli *cli)
{
    char state[CONFIG_TEXT_MAX], explain[256] = "", until[WHEN_TEXT_MAX];
    const char *valid = cli_value(cli, "valid");
    int64_t lifetime = CRL_LIFETIME, next_update = 0;
    uint8_t bytes[CA_CRL_MAX];
    struct writer pem = writer_over(bytes, sizeof bytes);
    int code = settings_state(cli, state);
    if (code == CLI_OK && valid != NULL)
        code = cli_read_duration(cli, "--valid", valid, &lifetime);
    if (code != CLI_OK)
        return code;
    if (lifetime < CRL_LIFETIME_MIN)
        return cli_fail(cli, CLI_USAGE, "usage", "--valid must be 1h or longer");
    enum err err = ca_crl(state, lifetime, &pem, &next_update, explain);
    if (err != ERR_NONE)
        return fail(cli, err, explain);
    code = save_note(cli, cli_value(cli, "output"), writer_bytes(&pem), "root's revocation list",
                     "crl");
    when_full(next_update, clock_seconds(), until);
    if (code == CLI_OK)
        cli_say(cli, "It is good until %s: make the next one before.", until);
    return code;
}

/* ---- show ---- */

static void hex(const uint8_t *bytes, size_t n, char *text, size_t size)
{
    struct writer w = writer_over(text, size - 1);
    writer_hex(&w, slice_of(bytes, n));
    text[w.len] = '\0';
}

static void key_text(const struct note_key *key, char text[NOTE_KEY_TEXT_MAX + 1])
{
    struct writer w = writer_over(text, NOTE_KEY_TEXT_MAX);
    note_key_write(&w, key);
    text[w.len] = '\0';
}

static void show_other_json(struct json_writer *j, const char *name, const struct ca_other *o)
{
    if (!o->there)
        return;
    json_key(j, name);
    json_open_object(j);
    json_field_text(j, "subject", o->subject);
    json_field_hex(j, "sha256", slice_of(o->sha256, SHA256_SIZE));
    json_field_time(j, "not_after", o->not_after);
    json_close_object(j);
}

static void show_other(const char *label, const struct ca_other *o, int64_t now)
{
    char text[256];
    if (!o->there)
        return;
    text_pair(label, o->subject, COLOUR_BOLD);
    hex(o->sha256, SHA256_SIZE, text, sizeof text);
    text_pair("  SHA-256", text, COLOUR_NONE);
    when_full(o->not_after, now, text);
    text_pair("  until", text, o->not_after <= now ? COLOUR_BAD : COLOUR_NONE);
}

static int show_json(const struct ca_facts *f)
{
    uint8_t bytes[4096];
    char key[NOTE_KEY_TEXT_MAX + 1];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "root_subject", f->root_subject);
    json_field_hex(&j, "root_sha256", slice_of(f->root_sha256, SHA256_SIZE));
    json_field_time(&j, "root_not_after", f->root_not_after);
    json_field_text(&j, "issuing_subject", f->issuing_subject);
    json_field_hex(&j, "issuing_sha256", slice_of(f->issuing_sha256, SHA256_SIZE));
    json_field_time(&j, "issuing_not_after", f->issuing_not_after);
    show_other_json(&j, "next_issuing", &f->next);
    show_other_json(&j, "previous_issuing", &f->previous);
    json_field_bool(&j, "root_key_present", f->root_key_present);
    json_field_bool(&j, "bundle_key_present", f->bundle_key_present);
    key_text(&f->ledger_key, key);
    json_field_text(&j, "ledger_key", key);
    key_text(&f->policy_key, key);
    json_field_text(&j, "policy_key", key);
    key_text(&f->bundle_key, key);
    json_field_text(&j, "bundle_key", key);
    json_close_object(&j);
    if (w.err != ERR_NONE)
        return CLI_INTERNAL;
    (void)fwrite(w.start, 1, w.len, stdout);
    (void)fputc('\n', stdout);
    return CLI_OK;
}

static void show_presence(const char *label, bool present)
{
    text_pair(label, present ? "still on this machine: take it off" : "not on this machine",
              present ? COLOUR_WARN : COLOUR_GOOD);
}

static int run_show(struct cli *cli)
{
    char state[CONFIG_TEXT_MAX], explain[256] = "", text[256];
    struct ca_facts f;
    int code = settings_state(cli, state);
    if (code != CLI_OK)
        return code;
    enum err err = ca_show(state, &f, explain);
    if (err != ERR_NONE)
        return fail(cli, err, explain);
    if (cli->json)
        return show_json(&f);
    int64_t now = clock_seconds();
    text_pair("root", f.root_subject, COLOUR_BOLD);
    hex(f.root_sha256, SHA256_SIZE, text, sizeof text);
    text_pair("  SHA-256", text, COLOUR_NONE);
    when_full(f.root_not_after, now, text);
    text_pair("  until", text, f.root_not_after <= now ? COLOUR_BAD : COLOUR_NONE);
    show_presence("  its key", f.root_key_present);
    text_pair("issuing", f.issuing_subject, COLOUR_BOLD);
    hex(f.issuing_sha256, SHA256_SIZE, text, sizeof text);
    text_pair("  SHA-256", text, COLOUR_NONE);
    when_full(f.issuing_not_after, now, text);
    text_pair("  until", text, f.issuing_not_after <= now ? COLOUR_BAD : COLOUR_NONE);
    show_other("next issuing", &f.next, now);
    show_other("previous issuing", &f.previous, now);
    key_text(&f.ledger_key, text);
    text_pair("ledger key", text, COLOUR_NONE);
    key_text(&f.policy_key, text);
    text_pair("policy key", text, COLOUR_NONE);
    key_text(&f.bundle_key, text);
    text_pair("bundle key", text, COLOUR_NONE);
    show_presence("  its other half", f.bundle_key_present);
    return CLI_OK;
}

/* ---- bundle ---- */

static int make_bundle(struct cli *cli, struct writer *note)
{
    char state[CONFIG_TEXT_MAX], fleet[CONFIG_TEXT_MAX], explain[256] = "";
    int code = settings_state(cli, state);
    if (code == CLI_OK)
        code = settings_fleet(cli, state, fleet);
    if (code != CLI_OK)
        return code;
    const char *without = cli_value(cli, "without");
    struct note_key key;
    if (without != NULL && note_key_read(slice_of_text(without), crypto_sha256, &key) != ERR_NONE)
        return cli_fail(cli, CLI_USAGE, "usage",
                        "--without takes a verifier key, as `holdfast hub list --json` shows it");
    enum err err =
        ca_bundle_change(state, fleet, NULL, without != NULL ? &key : NULL, note, explain);
    return err == ERR_NONE ? CLI_OK : fail(cli, err, explain);
}

static int read_bundle(struct cli *cli, const char *path, struct writer *note)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = file_read(path, TRUST_BUNDLE_MAX, &bytes, &len);
    if (err != ERR_NONE)
        return cli_fail(cli, CLI_FILE, "file", "%s: %m", path);
    writer_put(note, slice_of(bytes, len));
    free(bytes);
    return CLI_OK;
}

/* Seen before it is sent: a bundle that does not verify is not one. */
static int bundle_version(struct cli *cli, struct slice note, uint64_t *ret_version)
{
    static uint8_t storage[TRUST_ROOTS_MAX * CERTIFICATE_MAX];
    struct trust_bundle b;
    enum err err = trust_bundle_read(note, NULL, crypto_sha256, crypto_ed25519_verify, storage,
                                     sizeof storage, &b);
    if (err != ERR_NONE)
        return cli_fail(cli, CLI_UNVERIFIED, "unverified", "this is no sound trust bundle: %s",
                        err_text(err));
    *ret_version = b.version;
    return CLI_OK;
}

static int put_bundle(struct cli *cli, struct slice note)
{
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = hub_ask(cli, "PUT", "/v1/trust-bundle", "text/plain", note, &answer);
    if (code == CLI_OK && answer.status >= 400)
        code = cli_fail_problem(cli, &answer.problem);
    return code;
}

static int run_bundle(struct cli *cli)
{
    const char *from = cli_value(cli, "from"), *to = cli_value(cli, "output");
    bool install = cli_has(cli, "install");
    uint8_t bytes[TRUST_BUNDLE_MAX];
    struct writer note = writer_over(bytes, sizeof bytes);
    uint64_t version = 0;
    if (from != NULL && !install)
        return cli_fail(cli, CLI_USAGE, "usage", "--from is for --install");
    if (from != NULL && cli_has(cli, "without"))
        return cli_fail(cli, CLI_USAGE, "usage", "--without is for a new bundle, not for --from");
    int code = from != NULL ? read_bundle(cli, from, &note) : make_bundle(cli, &note);
    if (code == CLI_OK)
        code = bundle_version(cli, writer_bytes(&note), &version);
    if (code == CLI_OK && install)
        code = put_bundle(cli, writer_bytes(&note));
    if (code != CLI_OK)
        return code;
    if (install)
        cli_say(cli, "The hub serves version %llu of the trust bundle.",
                (unsigned long long)version);
    if (!install || to != NULL)
        return save_note(cli, to, writer_bytes(&note), "trust bundle", "bundle");
    if (!cli->json)
        return CLI_OK;
    json_t *document CLEANUP(json_cleanup) = json_pack("{s:I}", "version", (json_int_t)version);
    return document == NULL ? cli_fail_memory(cli) : json_print(cli, document);
}

/* ---- table ---- */

static const struct cli_option init_options[] = {
    {.name = "fleet",
     .value = "NAME",
     .required = true,
     .help = "the fleet's name, in the form of a DNS name; it stands in every certificate"},
    {.name = "signer-user",
     .value = "USER",
     .help = "whose the signer's keys are to be; only root can say it"},
};

static const struct cli_option prepare_options[] = {
    {.name = "keep-root", .help = "a new issuing authority under the root that is there"},
};

static const struct cli_option output_options[] = {
    {.name = "output",
     .letter = 'o',
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "write it there; standard: to standard output"},
};

static const struct cli_option bundle_options[] = {
    {.name = "output",
     .letter = 'o',
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "write it there; standard: to standard output, unless it is installed"},
    {.name = "install", .help = "hand it to the hub, which serves it to devices from then on"},
    {.name = "from",
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "with --install: this one, signed elsewhere, instead of a new one"},
    {.name = "without",
     .value = "KEY",
     .help = "leave out this ledger key: of a hub that has left the fleet"},
};

static const struct cli_option crl_options[] = {
    {.name = "output",
     .letter = 'o',
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "write it there; standard: to standard output"},
    {.name = "valid",
     .value = "DURATION",
     .help = "how long it may be gone by, such as 90d; standard: 365d"},
};

static const struct cli_option certify_options[] = {
    {.name = "output",
     .letter = 'o',
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "write the card there; standard: to standard output"},
    {.name = "chain",
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "the issuing certificate that your own root made, with its chain"},
};

static const struct cli_command commands[] = {
    {.verb = "init",
     CLI_OPTIONS(init_options),
     .summary = "make root, issuing authority, ledger key, bundle key and a first trust bundle",
     .help =
         "They go to the state folder (--state). What is in its folder offline/ is to be taken\n"
         "off the machine. Nothing that is there is replaced.\n",
     .run = run_init},
    {.verb = "csr",
     CLI_OPTIONS(output_options),
     .summary = "a request for the issuing authority, to be signed by your own root",
     .run = run_csr},
    {.verb = "install",
     .operands = {{.name = "FILE", .complete = COMPLETE_FILE}},
     .summary = "take an issuing certificate that was signed elsewhere, with its chain",
     .run = run_install},
    {.verb = "certify",
     .operands = {{.name = "FILE", .complete = COMPLETE_FILE}},
     CLI_OPTIONS(certify_options),
     .summary = "answer a further hub's request with a card; needs the keys in offline/",
     .help =
         "The request is made by `holdfast hub join`. Its issuing key is certified with the root,\n"
         "and the next trust bundle names its ledger and policy key.\n",
     .run = run_certify},
    {.verb = "crl",
     CLI_OPTIONS(crl_options),
     .summary = "the root's own revocation list; needs its key in offline/",
     .help = "For those who check whole chains by lists (nginx with ssl_crl, openssl verify\n"
             "-crl_check_all), beside the hub's own list. Nothing is on it.\n",
     .run = run_crl},
    {.verb = "show", .summary = "the authority's certificates and keys", .run = run_show},
    {.verb = "prepare",
     CLI_OPTIONS(prepare_options),
     .summary = "make the next root and issuing authority, beside those in use",
     .help = "The first act of a roll-over; needs the root's key in offline/. Nothing changes for "
             "the\nhub yet, but the next trust bundle names both roots.\n",
     .run = run_prepare},
    {.verb = "switch",
     .summary = "have the hub issue under the next authority, from its next start on",
     .help = "The second act: what the old authority issued stays good.\n",
     .run = run_switch},
    {.verb = "finish",
     .summary = "give up the authority from before the switch, and delete its keys",
     .help = "The last act: only once all devices have renewed since the switch. It cannot be\n"
             "undone: on a terminal it asks first; elsewhere it needs --yes.\n",
     .run = run_finish},
    {.verb = "bundle",
     CLI_OPTIONS(bundle_options),
     .summary = "sign the next trust bundle; needs the key in offline/",
     .run = run_bundle},
};

const struct cli_noun noun_ca = {
    .name = "ca",
    .summary = "the fleet's certification authority, as files",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
