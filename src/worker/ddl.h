/*
 * worker/ddl.h
 *		Commands on databases and extensions that concern a sweeper.
 */
#ifndef AINS_DDL_H
#define AINS_DDL_H

extern void ddl_init(void);

#endif							/* AINS_DDL_H */
