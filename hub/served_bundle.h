/* The trust bundle that is served: the store's, and at the first start the file that `holdfast ca
 * init` or `holdfast ca bundle` left in the state folder. */
#ifndef HUB_SERVED_BUNDLE_H
#define HUB_SERVED_BUNDLE_H

#include "hub/hub.h"

/* Once, when the store and the loops run. A missing file is told in the log, and no failure. */
MUST_USE enum err served_bundle_load(struct hub *hub);

/* The version of the one in the database, which another hub may have put there. ERR_NOT_FOUND. */
MUST_USE enum err served_bundle_read(struct hub *hub, struct store_reader *reader);

#endif
