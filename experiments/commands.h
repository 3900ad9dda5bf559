/* The subcommands of the program. Each takes its own argv (argv[0] is its name) and returns the
 * exit code: 0 only on success, 1 when the work failed, 2 for wrong usage. */
#ifndef JEPA_EXPERIMENTS_COMMANDS_H
#define JEPA_EXPERIMENTS_COMMANDS_H

int command_pretrain(int argc, char **argv);
int command_plan(int argc, char **argv);
int command_bank(int argc, char **argv);
int command_decoder(int argc, char **argv);
int command_features(int argc, char **argv);
int command_probe(int argc, char **argv);
int command_study(int argc, char **argv);
int command_visualize(int argc, char **argv);
int command_surprise(int argc, char **argv);
int command_report(int argc, char **argv);
int command_frames(int argc, char **argv);
int command_index(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_transcode(int argc, char **argv);
int command_synth(int argc, char **argv);
int command_import(int argc, char **argv);
int command_export(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_check_reference(int argc, char **argv);

#endif
