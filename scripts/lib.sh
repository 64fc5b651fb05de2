# shellcheck shell=bash
#
# lib.sh
#	  What the demo, the tests and the benchmarks share: packages, a private
#	  PostgreSQL, throw-away servers, and leaving nothing behind.
#
# Source it under `set -euo pipefail`.  Nobody here writes into the system's
# PostgreSQL: the installed tree is copied ("staged") and ains is installed
# into the copy, so root is needed for packages only and any number of runs
# can go on at once.
#
#	ensure_packages PKG=WHY...	install what is missing, say what and why
#	find_postgres				set PG_CONFIG, PG_BINDIR, PG_MAJOR, PG_PACKAGED;
#								installs Debian's PostgreSQL if there is none
#	build_packages				print PKG=WHY lines, what compiling ains needs
#	make_scratch NAME			create $SCRATCH and the trap that removes it
#	server_user					set SERVER_USER, whom the server runs as
#	as_server CMD...			run CMD as that user, in $SCRATCH
#	build_ains DIR [ARG...]		copy the sources to DIR, run make ARG... there
#	stage_postgres DIR [BUILD]	copy PostgreSQL below DIR, install ains from
#								BUILD (made by build_ains; built if not given);
#								sets STAGED_BINDIR
#	server_create DIR [CONF...]	initdb, each CONF a line of postgresql.conf;
#								SERVER_TCP=1 adds a free port of the loopback
#	server_start DIR			start it, and point clients to it (server_env)
#	server_stop DIR				stop it: fast, then immediate
#	server_env DIR				export PGHOST, PGPORT, PGUSER, PGDATABASE
#	server_psql ARG...			the staged psql, for scripts
#	demo_server					build ains (BUILD), start a server in $SCRATCH/server
#								with ains and the roles producer and worker
#	cleanup [STATUS]			what the trap does; for a trap of your own
#	say, die, free_port			small change
#
# The caller's environment: PG_CONFIG chooses the PostgreSQL, TMPDIR where
# $SCRATCH goes, KEEP=1 keeps $SCRATCH, KEEP_SERVER=1 keeps servers running.

AINS_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Settings for libpq that the caller has for a server of theirs would lead our
# clients astray.  (What is named PG_... is not libpq's.)
for _var in "${!PG@}"; do
	[[ $_var == PG_* || $_var == PGXS ]] || unset "$_var"
done
unset _var MAKEFLAGS MFLAGS MAKELEVEL	# nor are we part of the caller's make
# PostgreSQL's TAP framework drops LC_ALL, and the rest of the locale decides
# then; a fresh machine has none, which would mean databases in SQL_ASCII.
unset "${!LC_@}"
export LC_ALL=C.UTF-8 LANG=C.UTF-8 LANGUAGE=''

SCRATCH=''				# our temporary directory
SERVER_USER=''
STAGED_BINDIR=''
SERVERS=()				# directories given to server_create
SOCKET_DIRS=()			# directories made outside $SCRATCH for their sockets

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# ----------------------------------------------------------------------
# Packages
# ----------------------------------------------------------------------

ensure_packages()
{
	local spec pkg missing=()

	for spec in "$@"; do
		pkg=${spec%%=*}
		if [[ $(dpkg-query -W -f='${db:Status-Status}' "$pkg" 2>/dev/null) != installed ]]; then
			printf 'installing %-28s %s\n' "$pkg" "${spec#*=}"
			missing+=("$pkg")
		fi
	done
	[[ ${#missing[@]} -gt 0 ]] || return 0

	local root=()
	if [[ $(id -u) -ne 0 ]]; then
		command -v sudo >/dev/null ||
			die "need root or sudo to install packages; as root: apt-get install ${missing[*]}"
		root=(sudo)
	fi

	# Debian's server package creates and starts a cluster for the system.
	# Nobody asked us for one, so a drop-in file says no while we install.
	# Its prometheus and exporter would be started by systemd: masked for as long,
	# they are not, and disabled, they are not at the next boot.
	"${root[@]}" bash -euo pipefail -s -- "${missing[@]}" <<-'EOS'
		exec 9>/run/lock/ains-packages && flock 9	# two runs at once take turns
		dropin=/etc/postgresql-common/createcluster.d/ains-$$.conf
		log=$(mktemp)
		masked=()
		tidy() {
			rm -f "$dropin" "$log"
			[[ ${#masked[@]} -eq 0 ]] || {
				systemctl --quiet --runtime unmask "${masked[@]}"
				systemctl --quiet disable "${masked[@]}"
			} || true
			rmdir -p --ignore-fail-on-non-empty "${dropin%/*}" 2>/dev/null || true
		}
		trap tidy EXIT
		mkdir -p "${dropin%/*}"
		echo 'create_main_cluster = false' >"$dropin"
		if [[ -d /run/systemd/system ]]; then
			for pkg in "$@"; do
				[[ $pkg != prometheus* ]] || masked+=("$pkg.service")
			done
			[[ ${#masked[@]} -eq 0 ]] || systemctl --quiet --runtime mask "${masked[@]}"
		fi
		export DEBIAN_FRONTEND=noninteractive
		{
			apt-get -qq update
			apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 install "$@"
		} </dev/null >"$log" 2>&1 9>&- || {
			tail -n 20 "$log" >&2
			echo "error: apt-get could not install: $*" >&2
			exit 1
		}
	EOS
}

find_postgres()
{
	local dir newest=''

	if [[ -z ${PG_CONFIG:-} ]]; then
		for dir in $(printf '%s\n' /usr/lib/postgresql/* | sort -V); do
			[[ ! -x $dir/bin/postgres ]] || newest=$dir
		done
		if [[ -z $newest ]]; then
			# the version this release of Debian has chosen
			ensure_packages "postgresql=the server ains runs in"
			newest=$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)
			newest=${newest%/bin/postgres}
		fi
		PG_CONFIG=$newest/bin/pg_config
	fi
	PG_CONFIG=$(command -v "$PG_CONFIG") || die "there is no such program: PG_CONFIG=$PG_CONFIG"

	PG_BINDIR=$("$PG_CONFIG" --bindir)
	PG_MAJOR=$("$PG_CONFIG" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
	# A server built by hand has no packages, whatever its version.
	PG_PACKAGED=no
	if [[ $PG_BINDIR == /usr/lib/postgresql/"$PG_MAJOR"/bin ]]; then
		PG_PACKAGED=yes
		ensure_packages "postgresql-$PG_MAJOR=the server ains runs in"
	fi
	[[ -x $PG_BINDIR/postgres ]] || die "no server in $PG_BINDIR, where $PG_CONFIG points"
	export PG_CONFIG PG_BINDIR PG_MAJOR PG_PACKAGED
}

build_packages()
{
	say "gcc=the compiler"
	say "libc6-dev=the C library's headers"
	say "make=runs the build"
	say "libpq-dev=ains-agent and ains-top are libpq clients"
	say "libncurses-dev=ains-top draws on the terminal"
	say "libmicrohttpd-dev=ains-top serves its page by HTTP"
	[[ $PG_PACKAGED == no ]] ||
		say "postgresql-server-dev-$PG_MAJOR=the server's headers and PGXS"
}

# ----------------------------------------------------------------------
# A directory of our own, and the end of it
# ----------------------------------------------------------------------

# initdb and postgres refuse to run as root.
server_user()
{
	SERVER_USER=$(id -un)
	[[ $(id -u) -eq 0 ]] || return 0
	SERVER_USER=postgres
	id "$SERVER_USER" >/dev/null 2>&1 || SERVER_USER=nobody
}

as_server()
{
	(
		cd "$SCRATCH" || exit
		[[ $(id -u) -eq 0 ]] || exec "$@"
		exec setpriv --reuid="$SERVER_USER" --regid="$(id -g "$SERVER_USER")" --init-groups \
			env HOME="$SCRATCH/tmp" USER="$SERVER_USER" LOGNAME="$SERVER_USER" "$@"
	)
}

# Sockets below $SCRATCH must fit 107 bytes, and the server's user must be able
# to get there; a TMPDIR that allows neither gives way to /tmp.
make_scratch()
{
	local base=${TMPDIR:-/tmp}

	[[ -n $SERVER_USER ]] || server_user
	[[ ${#base} -le 40 ]] || base=/tmp
	SCRATCH=/ as_server test -x "$base" || base=/tmp
	SCRATCH=$(mktemp -d "$base/ains-$1.XXXXXX")
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP

	umask 022
	[[ $(id -u) -ne 0 ]] || chmod 755 "$SCRATCH"
	mkdir "$SCRATCH/tmp"
	chmod 1777 "$SCRATCH/tmp"
	export TMPDIR=$SCRATCH/tmp
}

cleanup()
{
	local status=${1:-$?} dir pidfile

	trap '' INT TERM HUP
	if [[ $status -ne 0 ]]; then
		for dir in "${SERVERS[@]}"; do
			[[ -s $dir/log ]] || continue
			printf -- '---- the end of %s\n' "$dir/log" >&2
			tail -n 25 "$dir/log" >&2
		done
	fi
	if [[ -z ${KEEP_SERVER:-} ]]; then
		for dir in "${SERVERS[@]}"; do
			stop_postmaster "$dir/data/postmaster.pid"
		done
		# also those which pg_regress or a TAP test left behind
		if [[ -n $SCRATCH && -d $SCRATCH ]]; then
			while IFS= read -r pidfile; do
				stop_postmaster "$pidfile"
			done < <(find "$SCRATCH" -name postmaster.pid 2>/dev/null)
		fi
		SERVERS=()
	fi
	if [[ -n ${KEEP:-}${KEEP_SERVER:-} ]]; then
		[[ -z $SCRATCH ]] || say "kept $SCRATCH"
	else
		[[ ${#SOCKET_DIRS[@]} -eq 0 ]] || rm -rf "${SOCKET_DIRS[@]}"
		[[ -z $SCRATCH ]] || rm -rf "$SCRATCH"
	fi
	SCRATCH='' SOCKET_DIRS=()
	trap - EXIT
	return "$status"
}

# Stop the postmaster of a pid file: fast, immediate, at last by force.  The
# pid may be somebody else's by now; a postmaster lives in its data directory.
stop_postmaster()
{
	local pidfile=$1 pid signal i
	local datadir=${pidfile%/*}

	for signal in INT QUIT KILL; do
		pid=$(head -n 1 "$pidfile" 2>/dev/null) || return 0
		[[ /proc/$pid/cwd -ef $datadir ]] || return 0
		kill -s "$signal" "$pid" 2>/dev/null || return 0
		for ((i = 0; i < 100; i++)); do
			[[ -e /proc/$pid ]] || return 0
			sleep 0.1
		done
	done
}

# ----------------------------------------------------------------------
# A private PostgreSQL with ains in it
# ----------------------------------------------------------------------

# Built in a copy, because the checkout may hold objects made with other flags
# and belongs to somebody who may be building in it right now.
build_ains()
{
	local dir=$1
	shift

	mkdir -p "$dir"
	# sources that are gone must not be compiled again when DIR is reused
	find "$dir" -name '*.[ch]' -delete
	tar -C "$AINS_SRC" -cf - --exclude=./.git --exclude='*.o' --exclude='*.bc' --exclude='*.d' \
		--exclude='*.so' --exclude='./ains--*.sql' --exclude=./client/ains-agent --exclude=./client/ains-top --exclude='*.inc' . |
		tar -C "$dir" -xf - --no-same-owner
	# Bitcode would double the build time, and only inlining into JIT uses it.
	make -C "$dir" -j"$(nproc)" --no-print-directory \
		PG_CONFIG="$PG_CONFIG" with_llvm=no "$@"
}

# PostgreSQL finds its files relative to the program that runs, so a copy below
# DIR, at the same paths, is complete in itself.  It must be a copy: symbolic
# links would be followed back.  Without llvmjit there is no JIT, as intended.
stage_postgres()
{
	local dir=$1 build=${2:-} path
	local skip=(--exclude=bitcode --exclude=pgxs --exclude='llvmjit*' --exclude=man)

	mkdir -p "$dir"
	for path in --bindir --pkglibdir --sharedir; do
		path=$("$PG_CONFIG" "$path")
		tar -C / -cf - "${skip[@]}" ".$path" | tar -C "$dir" -xf - --no-same-owner
	done
	STAGED_BINDIR=$dir$PG_BINDIR
	"$STAGED_BINDIR/postgres" --version >/dev/null ||
		die "cannot run programs in $dir (mounted noexec?): set TMPDIR to another place"

	if [[ -z $build ]]; then
		build=$dir.build
		build_ains "$build" >"$dir.log" 2>&1 || {
			tail -n 40 "$dir.log" >&2
			die "ains does not build"
		}
	fi
	make -C "$build" --no-print-directory PG_CONFIG="$PG_CONFIG" with_llvm=no \
		install DESTDIR="$dir" >"$dir.log" 2>&1 || {
		tail -n 40 "$dir.log" >&2
		die "ains does not install"
	}
}

# ----------------------------------------------------------------------
# Throw-away servers
# ----------------------------------------------------------------------

free_port()
{
	local port i

	for ((i = 0; i < 100; i++)); do
		port=$((20000 + RANDOM % 12000))	# below the ports the kernel gives away
		if ! (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			say "$port"
			return
		fi
	done
	die "no free port"
}

# DIR gets data/, log, and sock/ unless that is too long for a socket's address.
# Whoever reaches the socket is superuser, hence its permissions.  (A TCP port
# is open to every user of the machine while the server runs.)
server_create()
{
	local dir=$1 sock=$1/sock listen='' port=5432
	shift

	if [[ ${#sock} -gt 80 ]]; then
		sock=$(mktemp -d /tmp/ains-sock.XXXXXX)
		SOCKET_DIRS+=("$sock")
	fi
	if [[ -n ${SERVER_TCP:-} ]]; then
		listen=127.0.0.1
		port=$(free_port)
	fi
	mkdir -p "$dir" "$sock"
	[[ $(id -u) -ne 0 ]] || chown "$SERVER_USER:" "$dir" "$sock"
	as_server "$STAGED_BINDIR/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --no-locale \
		--no-sync --no-instructions >"$dir/initdb.log" 2>&1 || {
		cat "$dir/initdb.log" >&2
		die "initdb failed in $dir"
	}
	cat >>"$dir/data/postgresql.conf" <<-EOS
		unix_socket_directories = '$sock'
		unix_socket_permissions = 0700
		listen_addresses = '$listen'
		port = $port
		log_line_prefix = '%m [%p] %b %q%u@%d '
	EOS
	[[ $# -eq 0 ]] || printf '%s\n' "$@" >>"$dir/data/postgresql.conf"
	SERVERS+=("$dir")
}

server_conf() { sed -n "s/^$2 = '\{0,1\}\([^']*\)'\{0,1\}\$/\1/p" "$1/data/postgresql.conf" | tail -n 1; }

server_start()
{
	local dir=$1 i

	for ((i = 0; i < 5; i++)); do
		if as_server "$STAGED_BINDIR/pg_ctl" -D "$dir/data" -l "$dir/log" -w -s start; then
			server_env "$dir"
			return
		fi
		# somebody was faster to take the port: choose another
		grep -q 'could not bind' "$dir/log" || break
		say "port = $(free_port)" >>"$dir/data/postgresql.conf"
	done
	die "the server in $dir does not start"
}

server_stop()
{
	as_server "$STAGED_BINDIR/pg_ctl" -D "$1/data" -s -m fast -t 30 stop ||
		as_server "$STAGED_BINDIR/pg_ctl" -D "$1/data" -s -m immediate -t 30 stop
}

server_env()
{
	PGHOST=$(server_conf "$1" unix_socket_directories)
	PGPORT=$(server_conf "$1" port)
	PGUSER=postgres
	PGDATABASE=postgres
	export PGHOST PGPORT PGUSER PGDATABASE
}

server_psql() { "$STAGED_BINDIR/psql" -X -q -v ON_ERROR_STOP=1 "$@"; }

demo_server()
{
	BUILD=$SCRATCH/build
	build_ains "$BUILD" >"$SCRATCH/build.log" 2>&1 || {
		tail -n 40 "$SCRATCH/build.log" >&2
		die "ains does not build"
	}
	stage_postgres "$SCRATCH/pg" "$BUILD"
	server_create "$SCRATCH/server" "shared_preload_libraries = 'ains'" 'max_connections = 50'
	server_start "$SCRATCH/server"
	server_psql -f - <<-'EOS'
		CREATE EXTENSION ains;
		CREATE ROLE producer LOGIN IN ROLE ains_producer;
		CREATE ROLE worker LOGIN IN ROLE ains_agent;
	EOS
}
