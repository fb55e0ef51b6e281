/* The verbs of `holdfast hub` that are about several hubs over one database. */
#ifndef CLI_HUB_FLEET_H
#define CLI_HUB_FLEET_H

#include "cli/cli.h"

int hub_fleet_join(struct cli *cli);    /* makes this machine's keys, and the request */
int hub_fleet_install(struct cli *cli); /* takes in the owner's card */
int hub_fleet_admit(struct cli *cli);
int hub_fleet_list(struct cli *cli);
int hub_fleet_remove(struct cli *cli);

#endif
