# shellcheck shell=bash
#
# bench/lib.sh
#	  How things are measured; lines.sh says what.
#
#	measure SYSTEM SCRIPT CLIENTS SECS [DB]	one round of pgbench, prints its rate
#	interleave LINE SECS ITEM...			rounds of items in turn: each a name and a
#											command, "name:command args"; see below
#	median NAME								of what interleave recorded
#	fill SYSTEM TASKS [DB [IN_RUNS_OF]]		as many tasks, statistics, checkpoint
#	pin DB, unpin							an idle REPEATABLE READ transaction
#	row ...									a line of the table
#
# Each round of each item leaves one number in $SCRATCH/figures/LINE.NAME.

CLIENTS=$(($(nproc) * 2))
THREADS=$(nproc)
PIN_PID='' PIN_FD=''
declare -i ROW=0
SYNC=off				# synchronous_commit of the clients

figures() { printf '%s' "$SCRATCH/figures/$1"; }

progress()
{
	if [[ -t 2 ]]; then
		printf '\r\e[K%5d s  %s' "$((SECONDS - STARTED))" "$*" >&2
	else
		printf '%5d s  %s\n' "$((SECONDS - STARTED))" "$*" >&2
	fi
}
progress_end() { [[ ! -t 2 ]] || printf '\r\e[K' >&2; }

# ----------------------------------------------------------------------
# pgbench
# ----------------------------------------------------------------------

# One value, from a database.
ask() { server_psql -At -d "${2:-$DB}" -c "$1"; }

# What each script wants to know, as pgbench's -D.
variables()
{
	local system=$1 clients=$2 db=$3

	printf -- '-D n=-1 -D clients=%s -D lane=%s ' "$clients" "$LANE"
	# ranks that continue where the table ends, as the clock's do
	case $system in
		floor) printf -- '-D base=%s ' "$(ask "SELECT coalesce((SELECT max(task_id) + 1
			FROM floor.task_history), (SELECT min(task_id) FROM floor.task), 1)" "$db")" ;;
	esac
	printf -- '-D rank=%s' "$(ask "SELECT (extract(epoch FROM now())::bigint - 3000) * 1000000" "$db")"
}

# SECS may be tN: N transactions of each client.
# Fails when a client ended early: its claim had no row, or something is wrong.
pgbench_run()
{
	local out=$1 system=$2 script=$3 clients=$4 secs=$5 db=$6
	local vars threads=$THREADS unit=-T
	shift 6

	[[ $threads -le $clients ]] || threads=$clients
	[[ $secs != t* ]] || unit=-t
	read -ra vars <<<"$(variables "$system" "$clients" "$db")"
	PGOPTIONS="-c synchronous_commit=$SYNC" "$STAGED_BINDIR/pgbench" -n -M prepared \
		-f "$BENCH/sql/${system}_$script.sql" -c "$clients" -j "$threads" "$unit" "${secs#t}" \
		"${vars[@]}" "$@" "$db" >"$out" 2>&1 || {
		cp "$out" "$SCRATCH/failed"
		return 1
	}
}

rate_of() { sed -n 's/^tps = \([0-9.]*\) (without.*/\1/p' "$1"; }

measure()
{
	local out

	out=$(mktemp)
	pgbench_run "$out" "$1" "$2" "$3" "$4" "${5:-$DB}" && rate_of "$out"
}

# Rates second by second into FILE; prints the mean of the last LAST seconds.
measure_series()
{
	local file=$1 last=$2 out
	shift 2

	out=$(mktemp)
	pgbench_run "$out" "$@" -P 1 || return 1
	sed -n 's/^progress: \([0-9.]*\) s, \([0-9.]*\) tps.*/\1 \2/p' "$out" >"$file"
	tail -n "$last" "$file" | awk '{ s += $2 } END { if (!NR) exit 1; print s / NR }'
}

# interleave LINE NAME=COMMAND...; in turn, each round begins with another one.
# What fails is said once and leaves no figure.
interleave()
{
	local line=$1 rounds=${ROUNDS_NOW:-$ROUNDS} i r item name value
	shift
	local items=("$@")

	rm -f "$(figures "$line")".*
	for ((r = 0; r < rounds; r++)); do
		for ((i = 0; i < ${#items[@]}; i++)); do
			item=${items[(i + r) % ${#items[@]}]}
			name=${item%%=*}
			progress "$line: round $((r + 1)) of $rounds, $name"
			# shellcheck disable=SC2086	# a command and its words
			if value=$(${item#*=}); then
				say "$value" >>"$(figures "$line.$name")"
			else
				progress_end
				say "note: $line: $name gave no figure: $(head -n 3 "$SCRATCH/failed" 2>/dev/null | tr '\n' ' ')" >&2
				rm -f "$SCRATCH/failed"
			fi
		done
	done
	progress_end
}

# percentile FILE P: the median is the 50th; nothing if there is no figure.
percentile()
{
	[[ -s $1 ]] || return 0
	sort -g "$1" | awk -v p="$2" '{ v[NR] = $1 } END {
		if (p == 50 && NR % 2 == 0) print (v[NR / 2] + v[NR / 2 + 1]) / 2
		else { k = int(NR * p / 100 + 0.999999); print v[k < 1 ? 1 : k] } }'
}
median() { percentile "$(figures "$1")" 50; }

# ----------------------------------------------------------------------
# Queues
# ----------------------------------------------------------------------

fill()
{
	local system=$1 tasks=$2 db=${3:-$DB} in_runs_of=${4:-NULL}

	progress "$db: $tasks tasks for $system"
	server_psql -d "$db" -c "CALL bench.fill('$system', $tasks, $in_runs_of)" -c "VACUUM (ANALYZE) $system.task"
	server_psql -d "$db" -c CHECKPOINT
}

# room SYSTEM SCRIPT BATCH: fills a queue with three times what all rounds of a
# script use up that takes BATCH tasks at a time, judged by a short try.
room()
{
	local tries=$(($3 > 1 ? 25 : 500)) rate

	fill "$1" $((tries * CLIENTS * $3 * 2))
	rate=$(measure "$1" "$2" "$CLIENTS" "t$tries") || rate=$((30000 / $3))
	fill "$1" "$(awk -v r="$rate" -v b="$3" -v s=$((SECS * ROUNDS * 3)) 'BEGIN { printf "%d", r * b * s + 20000 }')"
}

# A snapshot that stays: nothing that dies from now on can be cleaned away.
pin()
{
	local answer

	coproc PIN { exec "$STAGED_BINDIR/psql" -X -q -At -d "$1"; }
	PIN_FD=${PIN[1]}
	printf 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) > 0 FROM pg_class;\n' >&"$PIN_FD"
	read -r answer <&"${PIN[0]}"
	[[ $answer == t ]] || die "no transaction to pin the horizon with"
}

unpin()
{
	[[ -n ${PIN_PID:-} ]] || return 0
	local pid=$PIN_PID
	exec {PIN_FD}>&-
	wait "$pid" || true
	PIN_PID='' PIN_FD=''
}

# ----------------------------------------------------------------------
# The table
# ----------------------------------------------------------------------

number()
{
	awk -v x="$1" 'BEGIN {
		if (x == "") { print "–"; exit }
		s = x >= 100 ? sprintf("%.0f", x) : x >= 10 ? sprintf("%.1f", x) : sprintf("%.2f", x)
		if (x >= 10000) s = substr(s, 1, length(s) - 3) "," substr(s, length(s) - 2)
		print s }'
}

table_head()
{
	cat <<-'EOS' >"$SCRATCH/table"
		| measure | ains | compared with | its figure | ratio | target | met |
		|---|---:|---|---:|---:|---|---|
	EOS
}

# row MEASURE OURS UNIT PEER THEIRS TARGET
#	TARGET	'>= 0.85'	of the ratio; '<= 2 ms' of our figure (a number and its
#			unit); '' for what has no target
row()
{
	local measure=$1 ours=$2 unit=$3 peer=$4 theirs=$5 target=$6 ratio='' met='' line

	[[ -z $theirs || -z $ours ]] || ratio=$(awk -v a="$ours" -v b="$theirs" 'BEGIN { if (b > 0) printf "%.2f", a / b }')
	if [[ -z $ours || ( -n $peer && -z $theirs ) ]]; then
		met='not measured'
	elif [[ $target == '>= '* ]]; then
		met=$(awk -v a="$ratio" -v b="${target#>= }" 'BEGIN { print (a >= b + 0 ? "yes" : "no") }')
		target="≥ ${target#>= }"
	elif [[ $target == '<= '* ]]; then
		met=$(awk -v a="$ours" -v b="${target#<= }" 'BEGIN { print (a <= b + 0 ? "yes" : "no") }')
		target="≤ ${target#<= }"
	fi
	target=${target/#>= /≥ } target=${target/#<= /≤ }
	line="| $measure | $(number "$ours") $unit | ${peer:-–} | $(number "$theirs") | ${ratio:-–} | ${target:-–} | ${met:-–} |"
	say "$line" >>"$SCRATCH/table"
	say "$line"
	ROW+=1
}

# What could not be measured, and why.
not_measured()
{
	say "| $1 | – | $2 | – | – | ${3:-–} | not measured: $4 |" | tee -a "$SCRATCH/table"
}
