# Everything at once: clients that mix every call on tasks, in and out of
# transactions and savepoints, with tokens of their own, of others and of the
# past, while backends are terminated and statements cancelled. The ready set is
# so small that it is refilled and overflows all the time. Afterwards the
# clients' books, the tables and shared memory agree, and what is PENDING can be
# claimed, in rank order.
#
# One run has no audit, so that nothing mends a key that was lost; the other
# has one every second, and less shared memory than lanes. AINS_TEST_SEED
# repeats the clients' choices (if not their timing).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsLoad;
use AinsTest;
use Test::More;
use Time::HiRes qw(usleep);

my $seed = seed();

# ----------------------------------------------------------------------
# Clients
# ----------------------------------------------------------------------

package Mixed;

use strict;
use warnings;

use AinsTest;
use Time::HiRes qw(usleep);

our @ISA = ('AinsLoad');

# What calls may be told here, besides what AinsLoad expects: the state does not
# allow it, the key is taken, a deadlock, a statement cancelled. Ids of others
# are guessed: NS003.
my $no_wonder = qr/^(NS006|NS003|23505|40P01|57014)$/;

# Option steps: what clients do, by name, as often as it is named.
sub new
{
	my ($class, %option) = @_;
	my $self = AinsLoad::new($class, %option);

	$self->{steps} = $option{steps};
	return $self;
}

sub any { return $_[ rand @_ ] }
sub capability { return any(@{ $_[0]{work} }) }

sub connect_somewhere
{
	my ($self) = @_;

	@$self{qw(notes failed)} = (undef, 0);
	return $self->SUPER::connect_somewhere;
}

sub ask
{
	my ($self, $sql) = @_;
	my $from = now();
	my $answer = $self->{session}->try($sql);
	my $code = $answer->{code} // return ($answer->{rows}, $from);

	$self->{failed} = 1;
	$self->note_down('error', $from, $code, $sql =~ tr/\n /__/r, $answer->{message} =~ tr/\n /__/r)
	  unless $code =~ $no_wonder;
	return;
}

# In a transaction, what was answered is written down when it has committed.
sub note_down
{
	my ($self, $op, $from, @what) = @_;

	# how it ended proves nothing: somebody may have retried it
	$what[2] = 'ended' if $op eq 'failed';
	return $self->SUPER::note_down($op, $from, @what) if !$self->{notes} || $op =~ /^(ask_|error$)/;
	push @{ $self->{notes} }, [ $op, $from, @what ];
	return;
}

# Rolled back: the notes from there on.
sub regret
{
	my ($self, $kept) = @_;
	my %instead = (claimed => 'unclaimed', enqueued => 'regretted');

	for (splice @{ $self->{notes} }, $kept)
	{
		my ($op, @rest) = @$_;
		$self->SUPER::note_down($instead{$op}, @rest) if $instead{$op};
	}
	return;
}

sub act
{
	my ($self) = @_;
	my $dice = rand();

	$self->{failed} = 0;
	return $self->transaction if $dice < 0.3 && !$self->{simple};
	return $self->impatient if $dice < 0.33 && !$self->{simple};
	return $self->step;
}

sub step
{
	my ($self) = @_;
	my $step = any(@{ $self->{steps} });

	return $self->$step;
}

# Some steps, each perhaps in a savepoint, any of them perhaps undone.
sub transaction
{
	my ($self) = @_;
	my %before = %{ $self->{later} };
	my $s = $self->{session};

	$self->ask('BEGIN') or return;
	$self->{notes} = [];
	for (1 .. 1 + rand 5)
	{
		my ($kept, %held) = (scalar @{ $self->{notes} }, %{ $self->{later} });
		my $savepoint = rand() < 0.6;

		$self->ask('SAVEPOINT s') if $savepoint;
		$self->step unless $self->{failed};
		usleep(rand 3000) if rand() < 0.3;
		last if $s->{lost} || ($self->{failed} && !$savepoint);
		next unless $savepoint;
		if ($self->{failed} || rand() < 0.3)
		{
			$self->{failed} = 0;
			$self->ask('ROLLBACK TO s');
			$self->regret($kept);
			$self->{later} = {%held};
		}
		$self->ask('RELEASE s') if rand() < 0.8;
	}
	if (!$self->{failed} && rand() < 0.65 && $self->ask('COMMIT'))
	{
		my $notes = delete $self->{notes};
		$self->note_down(@$_) for @$notes;
		return;
	}
	# what a COMMIT that was not answered did is not known
	if (!$s->{lost} && $self->ask('ROLLBACK')) { $self->regret(0) }
	$self->{notes} = undef;
	$self->{later} = \%before;
	return;
}

# A step that is cancelled, if it is not fast.
sub impatient
{
	my ($self) = @_;

	$self->ask('SET statement_timeout = ' . (1 + int(rand 3))) or return;
	$self->step;
	$self->ask('RESET statement_timeout');
	return;
}

# What a new task may have besides.
sub details
{
	return rand() < 0.2 ? ", run_at => clock_timestamp() + '" . int(rand 80) . " ms'"
	  : rand() < 0.1 ? ", expires_at => clock_timestamp() + '" . (5 + int(rand 500)) . " ms'"
	  : '';
}

# Tasks to wait for, some of them ended or not ours.
sub depends_on
{
	my ($self) = @_;

	return '' unless rand() < 0.25;
	return ', depends_on => ARRAY[' . join(',', map { $self->guess } 0 .. rand 3) . ']';
}

sub put
{
	my ($self) = @_;
	my $capability = $self->capability;
	my $unique = rand() < 0.4
	  ? ", unique_key => 'u" . int(rand 10) . "', on_conflict => '" . any(qw(return replace replace)) . "'" : '';
	my $priority = 1 + int(rand 10);
	my ($rows, $from) = $self->ask("SELECT ains.enqueue('$capability', '{}', $priority"
		  . details() . $self->depends_on . "$unique)") or return;

	$self->seen($rows->[0][0]);
	# with a key, in a transaction, it may be somebody else's task
	$self->note_down('enqueued', $from, $rows->[0][0]) unless $unique && $self->{notes};
	return;
}

sub put_many
{
	my ($self) = @_;
	my $capability = $self->capability;
	my $count = 2 + int(rand 10);
	my ($rows, $from) = $self->ask("SELECT ains.enqueue_batch('$capability', '["
		  . join(',', (1) x $count) . "]'" . details() . ", priorities => '{"
		  . join(',', map { 1 + int(rand 10) } 1 .. $count) . "}')") or return;

	$self->seen($rows->[-1][0]);
	$self->note_down('enqueued', $from, $_->[0]) for @$rows;
	return;
}

# The newest task we know of, to guess others from.
sub seen
{
	my ($self, $id) = @_;

	$self->{newest} = $id if $id > ($self->{newest} // 0);
	return;
}

sub guess
{
	my ($self) = @_;
	my $newest = $self->{newest} // 1;
	my $id = $newest - int(rand 100);

	return $id < 1 ? 1 : $id;
}

# From all of its capabilities, or some.
sub claim
{
	my ($self) = @_;
	my @from = grep { rand() < 0.6 } @{ $self->{work} };
	my $from_these = @from ? ", capabilities => '{" . join(',', @from) . "}'" : '';
	my ($rows, $from) = $self->ask("SELECT task_id, lease_token FROM ains.claim('$self->{agent}', "
		  . (1 + int(rand 8)) . "$from_these)") or return;

	$self->note_down('claimed', $from, @$_) for @$rows;
	return @$rows;
}

sub take
{
	my ($self) = @_;

	for my $pair ($self->claim)
	{
		$self->{later}{ $pair->[0] } = $pair->[1];
		push @{ $self->{old} }, $pair;
	}
	splice @{ $self->{old} }, 0, -50 if @{ $self->{old} // [] } > 50;
	return;
}

# Leases we hold; or others do, who may be ending them in this moment; or nobody
# any more.
sub leases
{
	my ($self, $count) = @_;
	my $dice = rand();

	if ($dice < 0.7)
	{
		my @held = keys %{ $self->{later} };
		splice @held, $count if @held > $count;
		return map { [ $_, delete $self->{later}{$_} ] } @held;
	}
	if ($dice < 0.9)
	{
		my ($rows) = $self->ask("SELECT task_id, lease_token FROM ains.task
			WHERE status = 'ACTIVE' ORDER BY lease_token DESC LIMIT $count") or return;
		return @$rows;
	}
	return unless @{ $self->{old} // [] };
	return map { any(@{ $self->{old} }) } 1 .. $count;
}

sub end_one
{
	my ($self) = @_;

	for my $lease ($self->leases(1 + int(rand 3)))
	{
		my ($task, $token) = @$lease;
		my ($op, $call) = @{ any(
			[ completed => "complete($task, $token, '$token')" ],
			[ completed => "complete($task, $token, '$token')" ],
			[ failed => "fail($task, $token, 'bad luck', retryable => true, retry_after => '0')" ],
			[ failed => "fail($task, $token, 'bad luck', retryable => true)" ],
			[ failed => "fail($task, $token, 'hopeless', retryable => false)" ],
			[ released => "release($task, $token)" ],
			[ released => "release($task, $token)" ],
			[ released => "release($task, $token, '10 ms')" ],
			[ extended => "extend_lease($task, $token)" ],
			[ saved => "checkpoint($task, $token, '{\"at\": 1}')" ]) };
		return unless $self->present($op, $task, $token, $call) || !$self->{notes};
		$self->{later}{$task} = $token if $op eq 'extended' || $op eq 'saved';
	}
	return;
}

sub end_many
{
	my ($self) = @_;
	my %lease = map { @$_ } $self->leases(2 + int(rand 8));

	return unless %lease;
	local $self->{later} = \%lease;
	return $self->complete_batch;
}

sub call_off
{
	my ($self) = @_;

	$self->ask('SELECT ains.cancel(' . $self->guess . ')');
	return;
}

sub put_back { my ($self) = @_; $self->ask('SELECT ains.retry(' . $self->guess . ')'); return }

sub rank_anew
{
	my ($self) = @_;

	$self->ask('SELECT ains.set_priority(' . $self->guess . ', ' . (1 + int(rand 10)) . ')');
	return;
}

sub pause
{
	my ($self) = @_;
	my $capability = $self->capability;

	return $self->take if $self->{notes} || rand() < 0.7;
	$self->ask("SELECT ains.pause('$capability')") or return;
	$self->take;
	# if we cannot, the test will
	$self->ask("SELECT ains.resume('$capability')") unless $self->{failed};
	return;
}

# For a backlog: takes some and completes them.
sub take_and_end
{
	my ($self) = @_;

	$self->take;
	return $self->complete_batch;
}

# ----------------------------------------------------------------------
# Afterwards, nobody else is there
# ----------------------------------------------------------------------

# Here fail and release are repeated, and that is answered: such a line says
# nothing of the lease, so it goes.
sub forget_repetitions
{
	my ($self, $s) = @_;
	my $book = $self->book;
	my %ended = map { $_ => 1 } split /\n/, $s->query('SELECT task_id, lease_token FROM ains.attempt');

	for my $op (qw(failed released))
	{
		$book->{$op} = [ grep { !$ended{"$_->{what}[0]|$_->{what}[1]"} } @{ $book->{$op} } ];
	}
	return;
}

# Claims and completes all that is PENDING in a capability. Returns how many,
# and where a task of lower rank came after one of higher.
sub drain_in_order
{
	my ($self, $node, $capability, $most) = @_;
	my $agent = "order $capability";
	my ($count, $rank, $task, @wrong) = (0, undef, 0);
	my $s = AinsTest::Session->new($node);

	open my $out, '>>', "$self->{dir}/book.order" or die $!;
	local @$self{qw(out session agent notes)} = ($out, $s, $agent, undef);
	$s->query("SELECT ains.register_agent('$agent', capabilities => '{$capability}')");
	while (1)
	{
		# the snapshot shows the rows as they were before the claim
		my ($rows, $from) = $self->ask("SELECT c.task_id, c.lease_token, t.rank
			FROM ains.claim('$agent', " . (1 + int(rand $most)) . ", lease => '5 min') WITH ORDINALITY
				AS c (task_id, lease_token, a, b, d, e, f, g, h, i, j, k, n)
				JOIN ains.task t USING (task_id) ORDER BY n");
		last unless $rows && @$rows;
		for (@$rows)
		{
			push @wrong, "task $_->[0] of rank $_->[2] after task $task of rank $rank"
			  if defined $rank && ($_->[2] <=> $rank || $_->[0] <=> $task) < 0;
			($task, $rank) = @$_[ 0, 2 ];
			$self->note_down('claimed', $from, @$_[ 0, 1 ]);
		}
		$count += @$rows;
		$self->{later} = { map { @$_[ 0, 1 ] } @$rows };
		$self->complete_batch;
	}
	$s->close;
	close $out;
	$self->{book} = undef;
	return ($count, @wrong);
}

package main;

# ----------------------------------------------------------------------
# What must hold
# ----------------------------------------------------------------------

# Agents whose count of leases in shared memory is not that of their rows.
my $miscounted = "SELECT agent_id, active_tasks, held FROM ains.agents
	LEFT JOIN LATERAL (SELECT count(*) AS held FROM ains.task t
		WHERE t.agent_id = agents.agent_id AND t.status = 'ACTIVE') t ON true
	WHERE active_tasks <> held";

# What BLOCKED tasks wait for, where count, edges and marks do not agree.
my $misled = "SELECT t.task_id, t.status, t.unmet, count(e.depends_on), count(d.task_id)
	FROM ains.task t LEFT JOIN ains.dependency e ON e.task_id = t.task_id
		LEFT JOIN ains.task d ON d.task_id = e.depends_on AND d.awaited
	GROUP BY t.task_id HAVING coalesce(t.unmet, 0) <> count(e.depends_on)
		OR count(d.task_id) <> count(e.depends_on) OR (t.status = 'BLOCKED') <> (t.unmet IS NOT NULL)
	UNION ALL SELECT task_id, NULL, NULL, depends_on, NULL FROM ains.dependency
	WHERE task_id NOT IN (SELECT task_id FROM ains.task)";

# The clients are gone: drains everything, and compares all there is.
sub settle
{
	my ($node, $load, $name, $most) = @_;
	my $s = AinsTest::Session->new($node);
	my $all = "FROM ains.task WHERE capability = ANY ('{" . $load->capabilities . "}')";

	$s->query("SELECT ains.resume('$_')") for @{ $load->{work} };
	eventually($s, $miscounted, '', "$name: the roster knows who holds how many");
	is($s->query($misled), '', "$name: who waits for whom");
	# they would come out of turn, one after the other; the sweeper may be faster
	# with one that expires
	my $blocked = $s->query("SELECT array_agg(task_id) $all AND status = 'BLOCKED'
		AND NOT EXISTS (SELECT FROM ains.dependency e JOIN ains.task d ON d.task_id = e.depends_on
			WHERE e.task_id = task.task_id AND d.status = 'BLOCKED')");
	$s->query("DO \$\$ DECLARE task_id bigint; BEGIN
		FOREACH task_id IN ARRAY coalesce(nullif('$blocked', ''), '{}')::bigint[] LOOP
			BEGIN PERFORM ains.cancel(task_id); EXCEPTION WHEN SQLSTATE 'NS006' THEN END;
		END LOOP; END \$\$");
	note("$name: the first to be blocked were $blocked");
	is($s->query("SELECT count(*) FROM ains.dependency"), '0', "$name: nobody waits for what has ended");
	# leases run out; what waits for its time is due; then nothing moves by itself
	eventually($s, "SELECT count(*) $all AND (status <> 'PENDING' OR attempt = 0 AND expires_at < clock_timestamp())", '0',
		"$name: what was left alone is PENDING again")
	  or diag($s->query("SELECT task_id, status, agent_id, attempt, wake_at, expires_at, cancel_requested_at $all
		AND status <> 'PENDING' LIMIT 5"));
	is($s->query('SELECT ains_internal.check_ready_set()'), 't', "$name: the ready set is valid");
	eventually($s, miscounted(), '', "$name: every task is counted");

	for my $capability (@{ $load->{work} })
	{
		my $mine = "FROM ains.task WHERE capability = '$capability'
			AND (expires_at IS NULL OR expires_at > clock_timestamp() OR attempt > 0)";
		my $pending = $s->query("SELECT count(*) $mine");
		my ($count, @wrong) = $load->drain_in_order($node, $capability, $most);

		note("$name: drained $count of $pending tasks of $capability");
		is(scalar @wrong, 0, "$name: $capability comes in rank order") or diag("$count of $pending; $wrong[0]");
		is($s->query("SELECT count(*) $mine"), '0', "$name: everything PENDING of $capability could be claimed")
		  or diag($s->query("SELECT task_id, status, rank, attempt, lease_token $mine ORDER BY rank, task_id LIMIT 5"));
	}
	ok($load->drain($node), "$name: nothing is left");
	$load->forget_repetitions($s);
	$load->verify($node, $name);

	is($s->query('SELECT ains_internal.ready_drift()'), '0', "$name: no key was lost");
	eventually($s, $miscounted, '', "$name: the roster knows that nobody holds any");
	is($s->query('SELECT ains_internal.check_ready_set()'), 't', "$name: the ready set is still valid");
	eventually($s, miscounted(), '', "$name: every end is counted");
	# asks for every lock of the ready set, exclusively
	$s->send('SELECT ains.rescan()');
	ok($s->ready(patience()), "$name: no lock of shared memory is left taken");
	$s->close;
	return;
}

# Makes trouble for so many seconds.
sub trouble
{
	my ($node, $load, $seconds, $sweeps) = @_;
	my $until = now() + $seconds;
	my $busy = "FROM pg_stat_activity WHERE application_name = 'ains load'";
	my $s = AinsTest::Session->new($node);
	my $invalid = 0;

	while (now() < $until)
	{
		my $dice = rand();

		usleep(30_000);
		$invalid++ if $s->query('SELECT ains_internal.check_ready_set()') ne 't';
		if ($dice < 0.2)
		{
			$s->query("SELECT pg_terminate_backend(pid) $busy AND state <> 'idle' ORDER BY random() LIMIT 1");
		}
		elsif ($dice < 0.5) { $s->query("SELECT pg_cancel_backend(pid) $busy ORDER BY random() LIMIT 1") }
		elsif ($dice < 0.6) { $s->query("SELECT ains.resume('$_')") for @{ $load->{work} } }
		elsif ($dice < 0.65)
		{
			# ranks every task of a capability anew: a deadlock is possible
			$s->try("SELECT ains.configure_capability('$load->{work}[0]', aging_interval => '"
				  . int(rand 60) . " s')");
		}
		elsif ($dice < 0.75 && $sweeps) { $s->try('SELECT ains.sweep()') }
	}
	$s->close;
	return $invalid;
}

sub server
{
	my ($name, @conf) = @_;

	return ains_node($name, conf => join "\n", 'ains.ready_set_size = 32', 'deadlock_timeout = 20ms',
		'log_min_messages = fatal', 'fsync = off', @conf);
}

my @mix = (
	('put') x 8, 'put_many', ('take') x 10, ('end_one') x 10, ('end_many') x 4,
	('call_off') x 2, ('put_back') x 2, ('rank_anew') x 4, 'heartbeat', 'pause');

# A short queue, where calls meet at its head; and a longer one, which overflows.
for my $run (
	[ 'no audit', [], 'ains.audit_interval = 86400' ],
	[ 'few lanes', [ ('put_many') x 6 ], 'ains.audit_interval = 1', 'ains.max_lanes = 2' ])
{
	my ($name, $more, @conf) = @$run;
	my $node = server($name =~ tr/ /_/r, @conf);
	my $load = Mixed->new(nodes => [$node], seed => $seed, steps => [ @mix, @$more ]);

	$load->start(8);
	is(trouble($node, $load, 4.5, $name ne 'no audit'), 0, "$name: the ready set is valid all the time");
	$load->stop;
	$load->book;
	note("$name: $_: " . @{ $load->{book}{$_} }) for sort keys %{ $load->{book} };
	settle($node, $load, $name, 20);
	$node->stop;
}

# Refills while tasks of every rank arrive: a backlog that the heap holds a
# six-hundredth of.
{
	my $node = server('backlog', 'ains.audit_interval = 86400');
	my $load = Mixed->new(nodes => [$node], seed => $seed,
		steps => [ ('put') x 4, 'put_many', ('take_and_end') x 3 ]);
	my $s = AinsTest::Session->new($node);
	my $lane = $load->{work}[0];

	$load->{simple} = 1;
	$load->{work} = [$lane];
	$s->query("SELECT count(*) FROM ains.enqueue_batch('$lane', (SELECT jsonb_agg(n) FROM generate_series(1, 10000) n),
		priorities => ARRAY(SELECT (1 + random() * 9)::integer FROM generate_series(1, 10000)))") for 1 .. 2;
	$load->start(4);
	is(trouble($node, $load, 3), 0, 'backlog: the ready set is valid all the time');
	$load->stop;
	cmp_ok($s->query('SELECT count(*) FROM ains.task'), '>', 10_000, 'backlog: most of it is left');
	$s->close;
	settle($node, $load, 'backlog', 1000);
	$node->stop;
}

# A completion that waited for a row and then found that it is not what it
# looks for leaves it alone: nothing stands between the task and a claim.
{
	my $node = server('locked', 'ains.audit_interval = 86400');
	my ($holder, $other, $s) = map { AinsTest::Session->new($node) } 1 .. 3;
	my $claim = "SELECT task_id FROM ains.claim('a')";

	$s->query("SELECT ains.register_agent('a', capabilities => '{work}')");
	my $id = $s->query("SELECT ains.enqueue('work')");
	my $token = $s->query("SELECT lease_token FROM ains.claim('a')");

	$holder->query('BEGIN');
	$holder->query("SELECT ains.release($id, $token)");
	$other->query('BEGIN');
	$other->send("SELECT * FROM ains.complete_batch('{$id}', '{$token}')");
	eventually($s, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'", '1',
		'complete_batch waits for a release');
	$holder->query('COMMIT');
	is(AinsTest::Session::rows($other->result), '', 'and completes nothing');
	is($s->query($claim), $id, 'nor does it hold up a claim');
	$other->query('COMMIT');
	$node->stop;
}

# More capabilities than there is room for in shared memory.
{
	my $node = server('many', 'ains.max_lanes = 2');
	my $s = AinsTest::Session->new($node);

	$s->query("SELECT ains.register_agent('a', capabilities => '{a,b,c,d,e}')");
	$s->query("SELECT ains.enqueue(capability) FROM unnest('{a,b,c,d,e}'::text[]) capability, generate_series(1, 20)");
	my $claimed = 0;
	for (1 .. 150)
	{
		my @tasks = split /\n/, $s->query("SELECT task_id FROM ains.claim('a', 3)");
		$claimed += @tasks;
	}
	is($claimed, 100, 'an agent may offer more capabilities than ains.max_lanes');
	$node->stop;
}

done_testing();
