# ains: a coordinator for fleets of agents, inside PostgreSQL
#
#	make				build for the PostgreSQL that PG_CONFIG points to
#	make install		install it there
#	make demo			install what is missing, show the thing working
#	make monitoring		the same with Prometheus, an exporter and an alert
#	make check			install what is missing, run every test
#	make help			the variables
#
# `make COPT='-Wall -Wextra -Werror'` is for CI: nobody's build should fail
# because their compiler is newer than ours.

PG_CONFIG ?= pg_config
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" ains.control)

# The install script, in the order of creation.
SQL_PARTS = header types tables internal fn_agent fn_task fn_run fn_schedule fn_webhook fn_admin fn_monitor views grants startup

EXTENSION = ains
MODULE_big = ains
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard $(addsuffix /*.c, \
	src src/sql src/worker src/core src/soft src/store))))
DATA_built = ains--$(EXTVERSION).sql
DATA = $(wildcard sql/updates/ains--*--*.sql)

PG_CPPFLAGS = -Isrc -DAINS_VERSION='"$(EXTVERSION)"'
# A header that changes rebuilds its users: each object writes its own .d.
PG_CFLAGS = -MMD -MP
EXTRA_CLEAN = $(OBJS:.o=.d) $(OBJS:.o=.bc) ains--*.sql
# PostgreSQL loads libraries with their symbols global: export only our own.
SHLIB_LINK = -Wl,--version-script=scripts/exports.map

CLIENT = $(wildcard client/Makefile)
SCRIPT_GOALS = check demo monitoring bench help

.PHONY: $(SCRIPT_GOALS) client client-install client-clean
.DEFAULT_GOAL = all

# These install the headers, so they cannot need them: PGXS stays out unless
# there is something to build.
ifneq (,$(filter-out $(SCRIPT_GOALS),$(or $(MAKECMDGOALS),all)))
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq (,$(and $(PGXS),$(wildcard $(PGXS))))
$(error PostgreSQL's build files are not there ($(PG_CONFIG) --pgxs). \
	Install them (Debian: postgresql-server-dev-NN), or say PG_CONFIG=/path/to/pg_config, \
	or let "make demo" or "make check" install everything)
endif
include $(PGXS)

$(OBJS): Makefile ains.control
-include $(OBJS:.o=.d)

$(DATA_built): $(SQL_PARTS:%=sql/%.sql) ains.control Makefile
	cat $(SQL_PARTS:%=sql/%.sql) >$@.tmp && mv $@.tmp $@

ifneq (,$(CLIENT))
all: client
install: client-install
clean: client-clean
client:
	$(MAKE) -C client PG_CONFIG='$(PG_CONFIG)' AINS_VERSION='$(EXTVERSION)'
client-install: client
	$(MAKE) -C client PG_CONFIG='$(PG_CONFIG)' AINS_VERSION='$(EXTVERSION)' DESTDIR='$(DESTDIR)' install
client-clean:
	$(MAKE) -C client PG_CONFIG='$(PG_CONFIG)' clean
endif
endif

# Only when asked for, since PGXS has a check of its own: "not supported".
ifneq (,$(filter $(SCRIPT_GOALS),$(MAKECMDGOALS)))
check:
	@test/run $(SUITES)
demo:
	@demo/run
monitoring:
	@monitoring/run
bench:
	@bench/run
help:
	@echo 'make [install|uninstall|clean]   PG_CONFIG=... COPT=... DESTDIR=...'
	@echo 'make demo                        KEEP=1 leaves its server running'
	@echo 'make monitoring                  KEEP=1 leaves Prometheus running'
	@echo 'make check                       SUITES="regress tap" KEEP=1; see test/run -h'
	@echo 'make bench                       the numbers, side by side'
endif
