/*
 * signals.h - signals as something poll() can wait for.
 */
#ifndef AINS_CLIENT_SIGNALS_H
#define AINS_CLIENT_SIGNALS_H

/*
 * SIGTERM, SIGINT and SIGHUP are counted as requests to stop, SIGCHLD only
 * wakes; all make signals_fd() readable.  SIGPIPE is ignored.
 */
extern void signals_init(void);

/* The descriptor to poll for reading; signals_clear() empties it. */
extern int	signals_fd(void);
extern void signals_clear(void);

/* How many requests to stop came so far, and the number of the last signal. */
extern int	signals_stops(void);
extern int	signals_last(void);

#endif
