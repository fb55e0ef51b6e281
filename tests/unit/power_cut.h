/* A disk that keeps only what was synced: a layer under SQLite that knows, for each file, the bytes
 * that are durable and the writes that came since. A cut keeps any of these, and loses the others.
 */
#ifndef TESTS_UNIT_POWER_CUT_H
#define TESTS_UNIT_POWER_CUT_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISK_FILE_MAX ((size_t)256 << 20) /* what is not touched takes no memory */

struct pending_write {
    struct pending_write *next;
    sqlite3_int64 at;
    size_t len;
    unsigned char bytes[];
};

struct disk_file {
    const char *suffix; /* of the path; the others are not looked at */
    unsigned char *durable;
    size_t len;
    struct pending_write *first, *last;
};

static struct disk_file disk_files[] = {{.suffix = "/hub.db"}, {.suffix = "/hub.db-wal"}};
static char disk_folder[256]; /* where they are */
static pthread_mutex_t disk_lock = PTHREAD_MUTEX_INITIALIZER;

static void disk_apply(unsigned char *bytes, size_t *len, const struct pending_write *w)
{
    size_t end = (size_t)w->at + w->len;
    if (end > DISK_FILE_MAX)
        abort();
    if (end > *len) {
        memset(bytes + *len, 0, end - *len);
        *len = end;
    }
    memcpy(bytes + w->at, w->bytes, w->len);
}

/* ---- the layer ---- */

struct layer_file {
    sqlite3_file base;
    struct disk_file *disk; /* NULL: not looked at */
    sqlite3_file *real;
};

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct layer_file *)(void *)file)->real;
}

static int layer_close(sqlite3_file *file)
{
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int layer_read(sqlite3_file *file, void *to, int n, sqlite3_int64 at)
{
    return real_of(file)->pMethods->xRead(real_of(file), to, n, at);
}

static int layer_write(sqlite3_file *file, const void *from, int n, sqlite3_int64 at)
{
    struct disk_file *disk = ((struct layer_file *)(void *)file)->disk;
    if (disk != NULL) {
        struct pending_write *w = malloc(sizeof *w + (size_t)n);
        if (w == NULL)
            abort();
        w->next = NULL;
        w->at = at;
        w->len = (size_t)n;
        memcpy(w->bytes, from, (size_t)n);
        pthread_mutex_lock(&disk_lock);
        if (disk->last == NULL)
            disk->first = w;
        else
            disk->last->next = w;
        disk->last = w;
        pthread_mutex_unlock(&disk_lock);
    }
    return real_of(file)->pMethods->xWrite(real_of(file), from, n, at);
}

static int layer_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct disk_file *disk = ((struct layer_file *)(void *)file)->disk;
    pthread_mutex_lock(&disk_lock);
    if (disk != NULL && (size_t)size < disk->len)
        disk->len = (size_t)size;
    pthread_mutex_unlock(&disk_lock);
    return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int layer_sync(sqlite3_file *file, int flags)
{
    struct disk_file *disk = ((struct layer_file *)(void *)file)->disk;
    (void)flags; /* the real disk need not be asked */
    pthread_mutex_lock(&disk_lock);
    while (disk != NULL && disk->first != NULL) {
        struct pending_write *w = disk->first;
        disk_apply(disk->durable, &disk->len, w);
        disk->first = w->next;
        free(w);
    }
    if (disk != NULL)
        disk->last = NULL;
    pthread_mutex_unlock(&disk_lock);
    return SQLITE_OK;
}

static int layer_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int layer_do_lock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int layer_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int layer_is_reserved(sqlite3_file *file, int *reserved)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), reserved);
}

static int layer_control(sqlite3_file *file, int what, void *arg)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), what, arg);
}

static int layer_sector(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int layer_traits(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int layer_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **map)
{
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, map);
}

static int layer_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}

static void layer_shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int layer_shm_unmap(sqlite3_file *file, int remove)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), remove);
}

static const sqlite3_io_methods layer_methods = {
    .iVersion = 2,
    .xClose = layer_close,
    .xRead = layer_read,
    .xWrite = layer_write,
    .xTruncate = layer_truncate,
    .xSync = layer_sync,
    .xFileSize = layer_size,
    .xLock = layer_do_lock,
    .xUnlock = layer_unlock,
    .xCheckReservedLock = layer_is_reserved,
    .xFileControl = layer_control,
    .xSectorSize = layer_sector,
    .xDeviceCharacteristics = layer_traits,
    .xShmMap = layer_shm_map,
    .xShmLock = layer_shm_lock,
    .xShmBarrier = layer_shm_barrier,
    .xShmUnmap = layer_shm_unmap,
};

static struct disk_file *find_disk_file(const char *path)
{
    size_t folder = strlen(disk_folder);
    if (path == NULL || folder == 0 || strncmp(path, disk_folder, folder) != 0)
        return NULL;
    for (size_t i = 0; i < sizeof disk_files / sizeof disk_files[0]; i++)
        if (strcmp(path + folder, disk_files[i].suffix) == 0)
            return &disk_files[i];
    return NULL;
}

static int layer_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                      int *ret_flags)
{
    sqlite3_vfs *real = vfs->pAppData;
    struct layer_file *layer = (struct layer_file *)(void *)file;
    memset(layer, 0, sizeof *layer);
    layer->real = (sqlite3_file *)(void *)((char *)file + sizeof *layer);
    layer->disk = find_disk_file(path);
    int code = real->xOpen(real, path, layer->real, flags, ret_flags);
    layer->base.pMethods = layer->real->pMethods == NULL ? NULL : &layer_methods;
    return code;
}

/* Makes the layer SQLite's own way to its files. */
static inline void power_cut_install(void)
{
    static sqlite3_vfs layer;
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    layer = *real;
    layer.zName = "power-cut";
    layer.szOsFile = (int)sizeof(struct layer_file) + real->szOsFile;
    layer.pAppData = real;
    layer.xOpen = layer_open;
    (void)sqlite3_vfs_register(&layer, 1);
    for (size_t i = 0; i < sizeof disk_files / sizeof disk_files[0]; i++)
        if ((disk_files[i].durable = malloc(DISK_FILE_MAX)) == NULL)
            abort();
}

static inline void power_cut_free(void)
{
    for (size_t i = 0; i < sizeof disk_files / sizeof disk_files[0]; i++)
        free(disk_files[i].durable);
}

/* Writes what a power cut at this moment would leave to another folder. The caller holds disk_lock.
 * `keeps` says of each write since the last sync whether it made it. */
static inline void power_cut(const char *folder, bool (*keeps)(void))
{
    for (size_t i = 0; i < sizeof disk_files / sizeof disk_files[0]; i++) {
        struct disk_file *disk = &disk_files[i];
        size_t len = disk->len;
        unsigned char *bytes = malloc(DISK_FILE_MAX);
        if (bytes == NULL)
            abort();
        if (len > 0)
            memcpy(bytes, disk->durable, len);
        for (struct pending_write *w = disk->first; w != NULL; w = w->next)
            if (keeps())
                disk_apply(bytes, &len, w);
        char path[256];
        (void)snprintf(path, sizeof path, "%.63s%s", folder, disk->suffix);
        FILE *file = fopen(path, "wbe");
        if (file == NULL || fwrite(bytes, 1, len, file) != len || fclose(file) != 0)
            abort();
        free(bytes);
    }
}

#endif
