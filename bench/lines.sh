# shellcheck shell=bash
#
# bench/lines.sh
#	  The lines of the table, one function each: line_NAME. What each figure
#	  means is in README.md.

# ----------------------------------------------------------------------
# The hot path
# ----------------------------------------------------------------------

line_claim()
{
	local s settings=(off) suffix=''

	[[ -n $QUICK ]] || settings=(off on)
	for SYNC in "${settings[@]}"; do
		for s in ains floor skip; do
			room "$s" claim 1
		done
		interleave "claim-$SYNC" "ains=measure ains claim $CLIENTS $SECS" \
			"floor=measure floor claim $CLIENTS $SECS" "skip=measure skip claim $CLIENTS $SECS"
		suffix=", synchronous_commit $SYNC"
		row "claim(1) + complete$suffix" "$(median "claim-$SYNC.ains")" /s floor "$(median "claim-$SYNC.floor")" '>= 0.85'
		row "claim(1) + complete$suffix" "$(median "claim-$SYNC.ains")" /s 'SKIP LOCKED' "$(median "claim-$SYNC.skip")" '>= 2'
	done
	SYNC=off
}

line_enqueue()
{
	local s settings=(off)

	[[ -n $QUICK ]] || settings=(off on)
	for SYNC in "${settings[@]}"; do
		for s in ains floor; do
			fill "$s" 1000
		done
		interleave "enqueue-$SYNC" "ains=measure ains enqueue $CLIENTS $SECS" \
			"floor=measure floor enqueue $CLIENTS $SECS"
		row "enqueue, synchronous_commit $SYNC" "$(median "enqueue-$SYNC.ains")" /s "floor's insert" "$(median "enqueue-$SYNC.floor")" '>= 0.85'
	done
	SYNC=off
}

thousands() { sed -E ":a; s/([0-9])([0-9]{3})(,|$)/\1,\2\3/; ta" <<<"$1"; }
times_100() { [[ -z $1 ]] || awk -v x="$1" 'BEGIN { print x * 100 }'; }

line_batch()
{
	local s

	for s in ains skip; do
		room "$s" batch 100
	done
	interleave batch "ains=measure ains batch $CLIENTS $SECS" "skip=measure skip batch $CLIENTS $SECS"
	row 'batches of 100: claim + complete_batch' "$(times_100 "$(median batch.ains)")" 'tasks/s' \
		'SKIP LOCKED' "$(times_100 "$(median batch.skip)")" '>= 1.5'
}

line_heartbeat()
{
	local before after beats s

	# nothing of the lines before for autovacuum, whose WAL would be in it
	for s in ains floor skip; do
		fill "$s" 0
	done
	interleave heartbeat "ains=measure ains beat $CLIENTS $SECS" \
		"noop=measure noop beat $CLIENTS $SECS"
	row 'heartbeat' "$(median heartbeat.ains)" /s 'a C function that only returns such a row' "$(median heartbeat.noop)" '>= 0.90'
	progress 'heartbeat: WAL'
	before=$(ask "SELECT pg_current_wal_insert_lsn()")
	pgbench_run "$SCRATCH/beats" ains beat "$CLIENTS" "$SECS" "$DB" || return 0
	after=$(ask "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '$before')")
	beats=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$SCRATCH/beats")
	progress_end
	# the server itself writes a few hundred bytes now and then
	row "WAL of $beats heartbeats" "$(awk -v w="$after" -v n="$beats" 'BEGIN { printf "%.3f", w / n }')" 'bytes each' '' '' '<= 0.01'
}

# ----------------------------------------------------------------------
# What breaks other queues
# ----------------------------------------------------------------------

# cycle_under free|pinned SYSTEM SCRIPT SECS: from a fresh queue of 10,000.
cycle_under()
{
	local how=$1 system=$2 script=$3 secs=$4 status=0

	fill "$system" 10000
	[[ $how == free ]] || pin "$DB"
	measure_series "$RESULTS/pinned-$script-$system-$how.tsv" 5 "$system" "$script" "$CLIENTS" "$secs" "$DB" ||
		status=$?
	[[ $how == free ]] || unpin
	return "$status"
}

line_pinned()
{
	local secs=${PINNED_SECS:-60} free=20 ROUNDS_NOW=$ROUNDS

	if [[ -n $QUICK ]]; then
		secs=${PINNED_SECS:-20} free=7 ROUNDS_NOW=1
	fi
	interleave pinned "ains-free=cycle_under free ains cycle $free" \
		"ains-pinned=cycle_under pinned ains cycle $secs" \
		"floor-free=cycle_under free floor cycle $free" \
		"floor-pinned=cycle_under pinned floor cycle $secs" \
		"skip-free=cycle_under free skip cycle $free" \
		"skip-pinned=cycle_under pinned skip cycle $secs"
	row "enqueue + claim + complete, horizon pinned for $secs s" "$(median pinned.ains-pinned)" /s 'not pinned' "$(median pinned.ains-free)" '>= 0.85'
	# what dead rows and index entries cost whoever writes as much
	row "the floor, horizon pinned for $secs s" "$(median pinned.floor-pinned)" /s 'not pinned' "$(median pinned.floor-free)" ''
	row "SKIP LOCKED does, horizon pinned for $secs s" "$(median pinned.skip-pinned)" /s 'not pinned' "$(median pinned.skip-free)" ''
	row "enqueue + claim + complete, both pinned for $secs s" "$(median pinned.ains-pinned)" /s 'SKIP LOCKED' "$(median pinned.skip-pinned)" ''
	[[ -z $QUICK ]] || return 0
	interleave pinned-batch "ains=cycle_under pinned ains batch_cycle $secs" \
		"skip=cycle_under pinned skip batch_cycle $secs"
	row "batches of 100, horizon pinned for $secs s" "$(times_100 "$(median pinned-batch.ains)")" 'tasks/s' \
		'SKIP LOCKED' "$(times_100 "$(median pinned-batch.skip)")" '>= 10'
}

line_backlog()
{
	local sizes=(10000 1000000 5000000) size

	[[ -z $QUICK ]] || sizes=(10000 1000000)
	: >"$RESULTS/backlog.tsv"
	fill ains 10000 bench_small
	for size in "${sizes[@]:1}"; do
		fill ains "$size" bench_large
		interleave backlog "ains=measure ains cycle $CLIENTS $SECS bench_small" \
			"large=measure ains cycle $CLIENTS $SECS bench_large"
		row "enqueue + claim + complete at a backlog of $(thousands "$size")" "$(median backlog.large)" /s \
			'10,000' "$(median backlog.ains)" '>= 0.90'
		say "10000 $(median backlog.ains)" >>"$RESULTS/backlog.tsv"
		say "$size $(median backlog.large)" >>"$RESULTS/backlog.tsv"
	done
	LARGE=$size
	reports_of_large
}

# metrics() and health() of the large queue.
reports_of_large()
{
	local f

	for f in metrics health; do
		printf '%s\n' '\timing on' "SELECT ains.$f() IS NOT NULL \\g /dev/null" '\g /dev/null' '\g /dev/null' '\g /dev/null' '\g /dev/null' |
			server_psql -At -d bench_large | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' >"$(figures "report.$f")"
		row "$f() with $(thousands "$LARGE") live tasks" "$(median "report.$f")" ms '' '' '<= 5 ms'
	done
}

line_clients()
{
	# the first seconds go by while 256 backends make their plans
	local n counts=(8 256)

	[[ -n $QUICK ]] || counts=(8 1 2 4 16 64 256)
	fill ains 10000
	fill floor 10000
	local items=()
	for n in "${counts[@]}"; do
		items+=("$n=measure_series $SCRATCH/series $SECS ains cycle $n $((SECS * 2)) $DB")
	done
	for n in 8 256; do
		items+=("floor-$n=measure_series $SCRATCH/series $SECS floor cycle $n $((SECS * 2)) $DB")
	done
	interleave clients "${items[@]}"
	row 'enqueue + claim + complete by 256 clients' "$(median clients.256)" /s '8 clients' "$(median clients.8)" '>= 0.80'
	# what as many processes cost the machine, whatever they do
	row 'the floor by 256 clients' "$(median clients.floor-256)" /s '8 clients' "$(median clients.floor-8)" ''
	row 'enqueue + claim + complete by 256 clients' "$(median clients.256)" /s 'floor, 256 clients' "$(median clients.floor-256)" ''
	for n in "${counts[@]}"; do
		say "$n $(median "clients.$n")"
	done | sort -n >"$RESULTS/clients.tsv"
}

# ----------------------------------------------------------------------
# What else a task may be part of
# ----------------------------------------------------------------------

# Four whole runs of 10,000 tasks, finished by 16 agents; or as many of no run.
finish_runs()
{
	fill ains 40000 "$DB" "$1"
	measure ains claim 16 t2500
}

line_runs()
{
	interleave runs "of-runs=finish_runs 10000" "plain=finish_runs NULL"
	row 'claim(1) + complete of runs with 10,000 tasks, 16 agents' "$(median runs.of-runs)" /s \
		'of no run' "$(median runs.plain)" '>= 0.80'
}

# claims_with EVENTS: the server's setting, since its sweeper publishes them.
claims_with()
{
	ask "ALTER SYSTEM SET ains.events = '${1:-}'" >/dev/null
	ask 'SELECT pg_reload_conf()' >/dev/null
	measure ains claim "$CLIENTS" "$SECS"
}

line_events()
{
	room ains claim 1
	interleave events "on=claims_with task.claimed,task.completed" "off=claims_with"
	ask 'ALTER SYSTEM RESET ains.events' >/dev/null
	ask 'SELECT pg_reload_conf()' >/dev/null
	row 'claim(1) + complete, both recorded as events' "$(median events.on)" /s 'no events' "$(median events.off)" ''
}

line_keys()
{
	local keys=10000 tasks=100 each

	[[ -z $QUICK ]] || tasks=10
	each=t$((keys / CLIENTS / (ROUNDS + 1)))
	progress "$(thousands $((keys * tasks))) tasks of $(thousands "$keys") keys"
	server_psql -d bench_large -c "CALL bench.fill_keyed($keys, $tasks)" -c 'VACUUM (ANALYZE) ains.task'
	server_psql -d bench_small -c "CALL bench.fill_keyed($keys, 1)" -c 'VACUUM (ANALYZE) ains.task'
	fill ains "$keys"
	interleave keys "many=measure ains take $CLIENTS $each bench_large" \
		"one=measure ains take $CLIENTS $each bench_small" "none=measure ains take $CLIENTS $each"
	row "claim, $(thousands "$keys") keys with $tasks tasks each" "$(median keys.many)" /s \
		"$(thousands "$keys") keys with one task each" "$(median keys.one)" '>= 0.90'
	row "claim, $(thousands "$keys") keys with $tasks tasks each" "$(median keys.many)" /s \
		"$(thousands "$keys") tasks without a key" "$(median keys.none)" ''
}

# ----------------------------------------------------------------------
# Agents that wait
# ----------------------------------------------------------------------

WAITERS_PID=''

# waiters SCRIPT COUNT: and until they all sleep.
waiters_start()
{
	PGAPPNAME=waiter "$STAGED_BINDIR/pgbench" -n -M prepared -f "$BENCH/sql/wait_$1.sql" \
		-c "$2" -j 1 -T 3600 "$DB" >"$SCRATCH/waiters" 2>&1 &
	WAITERS_PID=$!
	local i
	for ((i = 0; i < 300; i++)); do
		[[ $(ask "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'waiter' AND state = 'active'") -lt $2 ]] ||
			return 0
		kill -0 "$WAITERS_PID" 2>/dev/null || break
		sleep 0.1
	done
	say "note: the waiting agents do not come up: $(head -n 2 "$SCRATCH/waiters")" >&2
	return 1
}

waiters_stop()
{
	[[ -n $WAITERS_PID ]] || return 0
	local i
	kill -TERM "$WAITERS_PID" 2>/dev/null || true
	wait "$WAITERS_PID" 2>/dev/null || true
	WAITERS_PID=''
	for ((i = 0; i < 100; i++)); do
		[[ $(ask "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'waiter'") -gt 0 ]] || return 0
		sleep 0.1
	done
}

enqueue_beside()
{
	local status=0

	# what the round before left would keep agents from sleeping
	fill ains 0
	[[ $1 == none ]] || waiters_start "$1" 500 || return 1
	measure ains enqueue "$CLIENTS" "$SECS" || status=$?
	waiters_stop
	return "$status"
}

# CPU seconds of the waiting backends so far, by the scheduler's own account.
waiters_cpu()
{
	local pid
	ask "SELECT pid FROM pg_stat_activity WHERE application_name = 'waiter'" | while read -r pid; do
		cut -d' ' -f1 "/proc/$pid/schedstat" 2>/dev/null || true
	done | awk '{ s += $1 } END { printf "%.6f\n", s / 1e9 }'
}

line_waiters()
{
	local a b secs=$((SECS * 2))

	fill ains 1000
	ask "SELECT count(ains.register_agent('idle-' || n, capabilities => '{bench-idle}', heartbeat_timeout => '12 h'))
		FROM generate_series(0, 499) AS n" >/dev/null
	interleave waiters "none=enqueue_beside none" "idle=enqueue_beside idle"
	row 'enqueue with 500 agents waiting for something else' "$(median waiters.idle)" /s 'with none' "$(median waiters.none)" '>= 0.90'
	if [[ -z $QUICK ]]; then
		interleave waiters-woken "none=enqueue_beside none" "woken=enqueue_beside work"
		row 'enqueue with 500 agents being woken, claiming and completing' "$(median waiters-woken.woken)" /s 'with none' "$(median waiters-woken.none)" ''
	fi
	progress 'the CPU of 500 idle waiters'
	if waiters_start idle 500; then
		sleep 2
		a=$(waiters_cpu)
		sleep "$secs"
		b=$(waiters_cpu)
		progress_end
		row 'CPU of 500 idle waiters' "$(awk -v a="$a" -v b="$b" -v s="$secs" 'BEGIN { printf "%.3f", (b - a) / s * 100 }')" '% of a core' '' '' '<= 5 %'
	fi
	waiters_stop
}

# ----------------------------------------------------------------------
# Moments
# ----------------------------------------------------------------------

ms_of() { local v; v=$(percentile "$1" "$2"); [[ -z $v ]] || awk -v v="$v" 'BEGIN { print v / 1000 }'; }

probe()
{
	progress "probe $*"
	PGDATABASE=$DB PGOPTIONS="-c synchronous_commit=$SYNC" "$SCRATCH/probe" "$@" 2>"$SCRATCH/failed" || {
		progress_end
		say "note: probe $*: $(<"$SCRATCH/failed")" >&2
	}
}

line_latency()
{
	local n=1000 settings=(off on) f

	[[ -z $QUICK ]] || n=300 settings=(off)
	fill ains 0
	for SYNC in "${settings[@]}"; do
		f=$(figures "latency-$SYNC")
		probe latency "$n" >"$f"
		progress_end
		row "idle to running, one waiting agent, median of $n, synchronous_commit $SYNC" "$(ms_of "$f" 50)" ms '' '' '<= 0.5 ms'
		row "the same, 99th percentile" "$(ms_of "$f" 99)" ms '' '' '<= 2 ms'
	done
	SYNC=off
}

line_dead()
{
	local n=30 f

	[[ -z $QUICK ]] || n=10
	fill ains 0
	f=$(figures killed)
	probe killed "$n" >"$f"
	progress_end
	row "kill -9 of an attached agent's process to its task running elsewhere, worst of $n" "$(ms_of "$f" 100)" ms '' '' '<= 100 ms'
	f=$(figures lease)
	probe lease "$n" >"$f"
	progress_end
	row "a lease's end passed to its task running elsewhere, worst of $n" "$(ms_of "$f" 100)" ms '' '' '<= 100 ms'
	f=$(figures dead)
	probe dead "$n" >"$f"
	progress_end
	row "heartbeat_timeout passed to the task running elsewhere, worst of $n" "$(ms_of "$f" 100)" ms '' '' '<= 100 ms'
}

# After a fast shutdown; from starting the server to having a task.
line_restart()
{
	local n=1000000 r pid

	[[ $LARGE -ge 1000000 ]] || { fill ains "$n" bench_large; LARGE=$n; }
	for ((r = 0; r < 3; r++)); do
		progress "restart: round $((r + 1)) of 3"
		server_psql -c CHECKPOINT
		server_stop "$SERVER"
		PGDATABASE=bench_large "$SCRATCH/probe" first >"$SCRATCH/first" 2>"$SCRATCH/failed" &
		pid=$!
		server_start "$SERVER"
		if wait "$pid"; then
			sed -n 1p "$SCRATCH/first" >>"$(figures restart)"
			sed -n 2p "$SCRATCH/first" >>"$(figures restart-claim)"
		else
			say "note: restart: $(<"$SCRATCH/failed")" >&2
		fi
	done
	progress_end
	row "restart with $(thousands "$LARGE") live tasks, server start to first claim" "$(ms_of "$(figures restart)" 50)" ms '' '' '<= 1000 ms'
	row 'of it, the first claim' "$(ms_of "$(figures restart-claim)" 50)" ms '' '' ''
}
