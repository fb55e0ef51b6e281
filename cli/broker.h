/* The parts of `holdfast broker`. */
#ifndef CLI_BROKER_H
#define CLI_BROKER_H

struct cli;

int broker_run_enrol(struct cli *cli);

#endif
