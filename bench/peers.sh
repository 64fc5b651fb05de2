# shellcheck shell=bash
#
# bench/peers.sh
#	  Other queues, installed by name for the run. One that cannot be installed
#	  or does not run is reported as not measured.

PEERS=''				# where npm put them
PEERS_WHY=''			# why not
PGQ_WHY=''
PGMQ_DIR=${PEER_PGMQ:-}	# its source tree, since there is no package

# Before the server is staged, whose copy shall have them.
peers_packages()
{
	(ensure_packages "postgresql-$PG_MAJOR-pgq3=PgQ, to compare with") || PGQ_WHY='its package cannot be installed'
	command -v npm >/dev/null ||
		(ensure_packages 'nodejs=runs graphile-worker and pg-boss' 'npm=installs them') || PEERS_WHY='npm cannot be installed'
}

# The newest ones want a newer Node.js than Debian's: npm has that, too, and
# picks what fits the one that it runs in.
peers_install()
{
	local npm

	[[ -z $PEERS_WHY ]] || return 1
	PEERS=$SCRATCH/peers
	mkdir -p "$PEERS"
	progress 'installing graphile-worker and pg-boss'
	npm=$(readlink -f "$(command -v npm)")
	{
		(cd "$PEERS" && npm install --silent --no-audit --no-fund --prefix . node@22) &&
			(cd "$PEERS" && node_modules/.bin/node "$npm" install --silent --no-audit --no-fund --prefix . \
				graphile-worker pg-boss pg)
	} >"$SCRATCH/npm.log" 2>&1 || {
		progress_end
		PEERS_WHY="npm: $(tail -n 1 "$SCRATCH/npm.log")"
		return 1
	}
	cp "$BENCH"/peers/*.mjs "$PEERS/"
	progress_end
}

peer_version() { sed -n 's/^ *"version": "\(.*\)",\{0,1\}$/\1/p' "$PEERS/node_modules/$1/package.json" | head -n 1; }

# peer DRIVER MODE N
peer()
{
	local status=0

	(cd "$PEERS" && PGDATABASE=$DB PGOPTIONS="-c synchronous_commit=$SYNC" \
		timeout 120 node_modules/.bin/node "$1.mjs" "$2" "$3") 2>"$SCRATCH/failed" || status=$?
	[[ $status -ne 0 ]] || rm -f "$SCRATCH/failed"
	return "$status"
}

# The latencies of all rounds in one file.
peer_latency() { peer "$1" latency "$2" >>"$(figures "peer-latency-all.$1")" && echo 0; }

line_peers()
{
	local p n=20000 calls=200 name

	[[ -z $QUICK ]] || n=3000 calls=100
	[[ " $WANTED " == *' pgq '* ]] || line_pgq
	[[ " $WANTED " == *' pgmq '* ]] || line_pgmq
	fill ains 0
	if ! peers_install; then
		not_measured 'through Node.js' 'graphile-worker, pg-boss' – "$PEERS_WHY"
		return 0
	fi
	interleave peer-one "ains=peer ains one $n" "graphile=peer graphile one $n" "pgboss=peer pgboss one $n"
	interleave peer-many "ains=peer ains many $n" "graphile=peer graphile many $n" "pgboss=peer pgboss many $n"
	rm -f "$(figures peer-latency-all)".*
	interleave peer-latency "ains=peer_latency ains $calls" "graphile=peer_latency graphile $calls" "pgboss=peer_latency pgboss $calls"
	for p in graphile pgboss; do
		case $p in
			graphile) name="graphile-worker $(peer_version graphile-worker)" ;;
			pgboss) name="pg-boss $(peer_version pg-boss)" ;;
		esac
		row 'Node.js, 10 workers, one task at a time' "$(median peer-one.ains)" /s "$name" "$(median "peer-one.$p")" ''
		row 'Node.js, 10 workers, in batches' "$(median peer-many.ains)" /s "$name" "$(median "peer-many.$p")" ''
		row 'Node.js, idle to running, median' "$(ms_of "$(figures peer-latency-all.ains)" 50)" ms "$name" "$(ms_of "$(figures "peer-latency-all.$p")" 50)" ''
		row 'Node.js, idle to running, 99th percentile' "$(ms_of "$(figures peer-latency-all.ains)" 99)" ms "$name" "$(ms_of "$(figures "peer-latency-all.$p")" 99)" ''
	done
}

pgq_drain() { server_psql -At -d "$DB" -v events="$1" -f "$BENCH/peers/pgq.sql" 2>"$SCRATCH/failed"; }

# pgmq is plain SQL that needs no installing: PEER_PGMQ=DIR says where its sources are.
line_pgmq()
{
	local sql=$PGMQ_DIR/pgmq-extension/sql/pgmq.sql n

	if [[ -z $PGMQ_DIR ]]; then
		not_measured 'claim(1) + complete' 'pgmq read + archive' '≥ 4' 'Debian has no package of it; PEER_PGMQ=DIR names its sources'
		return 0
	fi
	server_psql -o /dev/null -d "$DB" -f "$sql" -c "SELECT pgmq.create('bench')" >/dev/null 2>"$SCRATCH/pgmq.log" || {
		not_measured 'claim(1) + complete' 'pgmq read + archive' '≥ 4' "$(grep -m 1 ERROR "$SCRATCH/pgmq.log")"
		return 0
	}
	room ains claim 1
	n=$(ask 'SELECT count(*) FROM ains.task')
	server_psql -o /dev/null -d "$DB" -c "SELECT count(*) FROM pgmq.send_batch('bench', ARRAY(SELECT payload FROM ains.task LIMIT $n))" \
		-c "VACUUM ANALYZE pgmq.q_bench" -c CHECKPOINT
	interleave pgmq "ains=measure ains claim $CLIENTS $SECS" "pgmq=measure pgmq claim $CLIENTS $SECS"
	row 'claim(1) + complete' "$(median pgmq.ains)" /s 'pgmq read + archive' "$(median pgmq.pgmq)" '>= 4'
}

line_pgq()
{
	local n=50000

	if [[ -n $PGQ_WHY ]] || ! server_psql -o /dev/null -d "$DB" -c 'CREATE EXTENSION pgq' \
		-c "SELECT pgq.create_queue('bench'), pgq.register_consumer('bench', 'bench')" 2>"$SCRATCH/failed"; then
		not_measured 'enqueue' PgQ – "${PGQ_WHY:-$(head -n 1 "$SCRATCH/failed")}"
		rm -f "$SCRATCH/failed"
		return 0
	fi
	fill ains 1000
	interleave pgq-enqueue "ains=measure ains enqueue $CLIENTS $SECS" "pgq=measure pgq enqueue $CLIENTS $SECS"
	row enqueue "$(median pgq-enqueue.ains)" /s 'PgQ insert_event' "$(median pgq-enqueue.pgq)" ''
	room ains batch 100
	interleave pgq-drain "ains=measure ains batch 1 $SECS" "pgq=pgq_drain $n"
	row 'one consumer, batches of 100' "$(times_100 "$(median pgq-drain.ains)")" 'tasks/s' 'PgQ batches of 500' "$(median pgq-drain.pgq)" ''
}
