/* Does powercut.c catch a program that writes carelessly, and does it leave a careful one in peace?
 *
 *   powercut_selftest LIBRARY
 *
 * runs itself under the library, cuts the power at every operation for many seeds, and looks at
 * what is left of a file that had "old" in it and was to have "new". */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEEDS          40
#define OPERATIONS_MAX 20
#define OLD            "old contents, long enough to be torn"
#define NEW            "new contents, long enough to be torn"

static void require(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "powercut_selftest: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* ---- the programs under test ---- */

enum program { IN_PLACE, NO_FLUSH, NO_FOLDER_FLUSH, FOLDER_NOT_FLUSHED, CAREFUL, PROGRAM_COUNT };
static const char *const program_names[] = {"in-place", "no-flush", "no-folder-flush",
                                            "folder-not-flushed", "careful"};

static void write_file(const char *path, int flags, bool flush)
{
    int fd = open(path, O_WRONLY | O_CREAT | flags, 0600);
    require(fd >= 0 && write(fd, NEW, strlen(NEW)) == (ssize_t)strlen(NEW), path);
    require(!flush || fsync(fd) == 0, path);
    require(close(fd) == 0, path);
}

static void flush_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    require(fd >= 0 && fsync(fd) == 0 && close(fd) == 0, path);
}

/* In the folder that is watched. */
static int run_program(enum program program)
{
    switch (program) {
    case IN_PLACE:
        write_file("file", O_TRUNC, true);
        break;
    case NO_FLUSH:
        write_file("file.new", O_EXCL, false);
        require(rename("file.new", "file") == 0, "rename");
        flush_folder(".");
        break;
    case NO_FOLDER_FLUSH:
        write_file("file.new", O_EXCL, true);
        require(rename("file.new", "file") == 0, "rename");
        break;
    case FOLDER_NOT_FLUSHED:
        require(mkdir("folder", 0700) == 0, "mkdir");
        write_file("folder/file", O_EXCL, true);
        flush_folder("folder");
        break;
    case CAREFUL:
        write_file("file.new", O_EXCL, true);
        require(rename("file.new", "file") == 0, "rename");
        flush_folder(".");
        break;
    case PROGRAM_COUNT:
        return 2;
    }
    return 0;
}

/* ---- what is left ---- */

enum found { FOUND_OLD, FOUND_NEW, FOUND_NOTHING, FOUND_DAMAGED, FOUND_COUNT };

static enum found look(const char *path)
{
    char text[128];
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return FOUND_NOTHING;
    ssize_t n = read(fd, text, sizeof text);
    (void)close(fd);
    if (n == (ssize_t)strlen(OLD) && memcmp(text, OLD, (size_t)n) == 0)
        return FOUND_OLD;
    if (n == (ssize_t)strlen(NEW) && memcmp(text, NEW, (size_t)n) == 0)
        return FOUND_NEW;
    return FOUND_DAMAGED;
}

struct trial {
    char folder[64]; /* of the whole test */
    const char *self, *library;
    enum program program;
    bool ended; /* the last run came to its end before the cut */
    unsigned found[FOUND_COUNT];
    unsigned found_at_end[FOUND_COUNT];
};

static void become(const struct trial *t, unsigned at, unsigned seed)
{
    char number[16], out[96];
    (void)snprintf(out, sizeof out, "%s/out", t->folder);
    require(setenv("LD_PRELOAD", t->library, 1) == 0 && setenv("POWERCUT_DIR", ".", 1) == 0 &&
                setenv("POWERCUT_OUT", out, 1) == 0,
            "setenv");
    (void)snprintf(number, sizeof number, "%u", at);
    require(setenv("POWERCUT_AT", number, 1) == 0, "setenv");
    (void)snprintf(number, sizeof number, "%u", seed);
    require(setenv("POWERCUT_SEED", number, 1) == 0, "setenv");
    (void)snprintf(out, sizeof out, "%s/in", t->folder);
    require(chdir(out) == 0, out);
    (void)execl(t->self, t->self, "--program", program_names[t->program], (char *)NULL);
    require(false, t->self);
}

static void remove_tree(const struct trial *t)
{
    static const char *const names[] = {
        "in/file",  "in/file.new",  "in/folder/file",  "in/folder",  "in",
        "out/file", "out/file.new", "out/folder/file", "out/folder", "out"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", t->folder, names[i]);
        if (unlink(path) != 0)
            (void)rmdir(path);
    }
}

static void try_once(struct trial *t, unsigned at, unsigned seed)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/in", t->folder);
    require(mkdir(path, 0700) == 0, path);
    (void)snprintf(path, sizeof path, "%s/in/file", t->folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    require(fd >= 0 && write(fd, OLD, strlen(OLD)) > 0 && close(fd) == 0, path);

    pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0)
        become(t, at, seed);
    int status;
    require(waitpid(child, &status, 0) == child, "waitpid");
    bool cut = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    t->ended = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    require(cut || t->ended, "the program under test failed");

    const char *name = t->program == FOLDER_NOT_FLUSHED ? "folder/file" : "file";
    (void)snprintf(path, sizeof path, "%s/out/%s", t->folder, name);
    enum found found = look(path);
    t->found[found]++;
    if (t->ended)
        t->found_at_end[found]++;
    remove_tree(t);
}

static unsigned failures;

static void expect(bool ok, const struct trial *t, const char *what)
{
    failures += !ok;
    (void)printf("%s %s: %s (old %u, new %u, nothing %u, damaged %u)\n", ok ? "ok" : "FAILED",
                 program_names[t->program], what, t->found[FOUND_OLD], t->found[FOUND_NEW],
                 t->found[FOUND_NOTHING], t->found[FOUND_DAMAGED]);
}

static void judge(const struct trial *t)
{
    switch (t->program) {
    case IN_PLACE:
        expect(t->found[FOUND_DAMAGED] > 0, t, "caught destroying what was there");
        break;
    case NO_FLUSH:
        expect(t->found[FOUND_DAMAGED] > 0, t, "caught renaming what is not on the disk");
        break;
    case NO_FOLDER_FLUSH:
        expect(t->found[FOUND_DAMAGED] + t->found[FOUND_NOTHING] == 0, t, "never damaged");
        expect(t->found_at_end[FOUND_OLD] > 0, t, "caught losing what it thought was done");
        break;
    case FOLDER_NOT_FLUSHED:
        expect(t->found_at_end[FOUND_NOTHING] > 0, t, "caught losing a whole folder");
        break;
    case CAREFUL:
        expect(t->found[FOUND_DAMAGED] + t->found[FOUND_NOTHING] == 0, t, "never damaged");
        expect(t->found[FOUND_OLD] > 0 && t->found[FOUND_NEW] > 0, t, "old before, new after");
        expect(t->found_at_end[FOUND_NEW] == SEEDS, t, "nothing lost that was done");
        break;
    case PROGRAM_COUNT:
        break;
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--program") == 0) {
        for (enum program p = 0; p < PROGRAM_COUNT; p++)
            if (strcmp(argv[2], program_names[p]) == 0)
                return run_program(p);
        return 2;
    }
    if (argc != 2) {
        (void)fprintf(stderr, "usage: powercut_selftest LIBRARY\n");
        return 2;
    }
    char *library = realpath(argv[1], NULL);
    char *self = realpath("/proc/self/exe", NULL);
    require(library != NULL && self != NULL, argv[1]);
    for (enum program p = 0; p < PROGRAM_COUNT; p++) {
        struct trial t = {
            .folder = "/tmp/powercut.XXXXXX", .self = self, .library = library, .program = p};
        require(mkdtemp(t.folder) != NULL, "mkdtemp");
        for (unsigned seed = 1; seed <= SEEDS; seed++) {
            t.ended = false;
            for (unsigned at = 1; !t.ended && at < OPERATIONS_MAX; at++)
                try_once(&t, at, seed);
            require(t.ended, "the program under test does not end");
        }
        require(rmdir(t.folder) == 0, t.folder);
        judge(&t);
    }
    free(library);
    free(self);
    return failures == 0 ? 0 : 1;
}
