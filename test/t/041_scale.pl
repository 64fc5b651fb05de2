# Many at once: ten thousand agents that beat, five hundred of them asleep until
# there is something to do. What is slow is noted, not tested; what is tested is
# that everything happens, and happens to the right ones.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use Test::More;

my $agents = 10_000;
my $crowd = 500;
my $idle = $agents - $crowd - 1;	# and the boss

my $node = ains_node('main', test_clock => 1, conf => <<EOS);
max_connections = @{[ $crowd + 20 ]}
ains.max_agents = $agents
ains.audit_interval = 1
autovacuum = off
EOS
my $s = AinsTest::Session->new($node);

# The answer, and for who reads along how long it took.
sub timed
{
	my ($name, $sql) = @_;
	my $began = now();
	my $answer = $s->query($sql);

	note(sprintf '%s: %.0f ms', $name, 1000 * (now() - $began));
	return $answer;
}

sub advance { return $s->query("SELECT ains_internal.advance_clock('$_[0]')") }

# Until the sweeper has done a whole pass that began after this call.
sub swept
{
	my $id = $s->query("SELECT ains.enqueue('due', run_at => ains_internal.clock_now() + '20 ms')");

	poll(sub { $s->query("SELECT status FROM ains.task WHERE task_id = $id") eq 'PENDING' })
	  or die 'the sweeper does not sweep';
	$s->query("SELECT ains.cancel($id)");
	return;
}

sub dead { return $s->query('SELECT count(*) FROM ains.dead_agents') }

# ----------------------------------------------------------------------
note 'as many agents as there is room for';

$s->query("SELECT ains.configure_capability('job', max_attempts => 100, backoff => 'fixed', backoff_base => '0', jitter => 0)");
is( timed("$agents agents registered in one transaction", "SELECT count(r.incarnation)
		FROM generate_series(1, $idle) i, ains.register_agent('a' || i, capabilities => '{job}') r"),
	$idle, 'registered');
$s->query("SELECT ains.register_agent('w' || i, capabilities => '{job}', heartbeat_timeout => '1 day') FROM generate_series(1, $crowd) i");
$s->query("SELECT ains.register_agent('boss', capabilities => '{job}')");
is($s->query('SELECT total, available FROM ains.agent_stats()'), "$agents|$agents", 'all of them are there');

# One more, also in the middle of a transaction, is refused and leaves nothing.
my $result = raises($s, "SELECT ains.register_agent('more', capabilities => '{new}')", 'NS008', 'one more');
like($result->{detail}, qr/room for $agents agents/, 'it says how many there may be');
like($result->{hint}, qr/"ains\.max_agents"/, 'and which setting says so');
raises($s, "SELECT ains.register_agent('a1'); SELECT ains.register_agent('more')", 'NS008', 'one more after one that is known');
is($s->query("SELECT count(*) FROM ains.agent WHERE agent_id = 'more'"), '0', 'it is not registered');
is($s->query("SELECT count(*) FROM ains.capability WHERE capability = 'new'"), '0', 'nor is what it offered');
$s->query("SELECT ains.register_agent('a2', capabilities => '{job}')");
pass('one that is known may come again');

# Beats from a few connections; the sweeper looks at all of them in between.
my @beating = map { AinsTest::Session->new($node) } 1 .. 4;

sub all_beat_but
{
	my ($silent) = @_;

	for my $n (0 .. $#beating)
	{
		$beating[$n]->send("SELECT count(ains.heartbeat(agent_id)) FROM ains.agent WHERE hashtext(agent_id) & 3 = $n AND agent_id <> '$silent'");
	}
	my $beats = 0;
	$beats += $_->result->{rows}[0][0] for @beating;
	return $beats;
}
my $began = now();
for (1 .. 3)
{
	advance('60 s');
	is(all_beat_but(''), $agents, 'every beat is heard');
	swept();
}
note(sprintf 'three rounds of beats: %.0f ms', 1000 * (now() - $began));
is(dead(), '0', 'nobody died in three minutes');

for (1 .. 2)
{
	advance('60 s');
	all_beat_but('a7');
}
swept();
is($s->query('SELECT agent_id FROM ains.dead_agents'), 'a7', 'the one that was silent did');

# More than the sweeper takes at a time.
advance('91 s');
$began = now();
eventually($s, 'SELECT count(*) FROM ains.dead_agents', $idle + 1, 'all of them die, but those with more patience');
note(sprintf 'buried: %.0f ms', 1000 * (now() - $began));
is(all_beat_but('a7'), $agents - 1, 'they beat again');
is(dead(), '1', 'and live');

# ----------------------------------------------------------------------
note 'who is not needed makes room';

$s->query("SELECT ains.register_agent('instead of a7', capabilities => '{job}')");
pass('a dead one does');
$s->query("SELECT ains.stop_agent('a' || i) FROM generate_series(101, 200) i");
is($s->query("SELECT count(ains.register_agent('b' || i)) FROM generate_series(1, 100) i"), '100',
	'stopped ones do, at once, as many as there are');
raises($s, "SELECT ains.register_agent('more')", 'NS008', 'no more than that');
$s->query("SELECT ains.drain_agent('b1'); SELECT ains.heartbeat('b2', 'DEGRADED')");
raises($s, "SELECT ains.register_agent('more')", 'NS008', 'one that drains or is busy does not');
is($s->query("SELECT count(*) FROM ains.agents WHERE agent_id IN ('a7', 'a101', 'a200')"), '3',
	'those that made room are registered still');
is($s->query("SELECT agent_status FROM ains.resume_agent('a101')"), 'AVAILABLE', 'one of them is resumed');
$result = raises($s, "SELECT ains.claim('a101')", 'NS008', 'but cannot work while the others need the room');
like($result->{hint}, qr/"ains\.max_agents"/, 'which it is told');
$s->query("SELECT ains.heartbeat('b2', 'OFFLINE')");
is($s->query("SELECT agent_status FROM ains.heartbeat('a101')"), 'AVAILABLE', 'when there is room again, it can');
$s->query("SELECT ains.stop_agent('b' || i) FROM generate_series(1, 50) i");

# ----------------------------------------------------------------------
note 'five hundred wait';

my @waiting = map { AinsTest::Session->new($node, name => "waiter $_") } 1 .. $crowd;

sub wait_again { $waiting[$_ - 1]->send("CALL ains.wait_for_task('w$_', '12 hours')") for @_; return }

# Those who woke work as agents do: claim a task, complete it, and wait again.
# Returns the tasks, and how many woke.
sub rise
{
	my @awake = grep { $waiting[ $_ - 1 ]->ready(0) } 1 .. $crowd;
	my @done;

	for my $n (@awake)
	{
		my $w = $waiting[ $n - 1 ];
		my $woken = $w->result;
		die "waiter $n: " . ($woken->{message} // 'not woken') if ($woken->{rows}[0][0] // '') ne 't';
		my ($id, $token) = split /\|/, $w->query("SELECT task_id, lease_token FROM ains.claim('w$n')");
		if ($id)
		{
			$w->query("SELECT ains.complete($id, $token)");
			push @done, $id;
		}
		wait_again($n);
	}
	return (\@done, scalar @awake);
}

# All of them, once those are asleep again who woke when somebody was faster.
sub crowd_sleeps
{
	return poll(sub { rise(); $s->query("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'waiter %'
			AND state = 'active' AND wait_event_type = 'Extension'") eq $crowd })
	  || die 'not all of them sleep';
}

# A test: so many tasks are worked off, each of them once.
sub worked_off
{
	my ($expected, $name) = @_;
	my %times;
	my $woke = 0;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	poll(
		sub {
			my ($done, $awake) = rise();
			$times{$_}++ for @$done;
			$woke += $awake;
			return values %times >= $expected;
		});
	is(scalar keys %times, $expected, "$name: all of them are worked off");
	is(scalar(grep { $_ > 1 } values %times), 0, "$name: none of them twice");
	is($s->query("SELECT count(*) FROM ains.task WHERE capability = 'job'"), '0', "$name: none is left");
	note("$name: $woke woke for $expected tasks");
	return;
}

wait_again(1 .. $crowd);
crowd_sleeps();

# Tasks of the boss, held by it.
sub held
{
	my ($count, $more) = @_;

	$s->query("SELECT ains.pause('job')");
	$s->query("SELECT ains.enqueue_batch('job', (SELECT jsonb_agg(i) FROM generate_series(1, $count) i)" . ($more // '') . ')');
	# what is offered again is the crowd's, too; what is offered now is the boss's alone
	my $boss = AinsTest::Session->new($node);
	$boss->query("BEGIN; SELECT ains.resume('job')");
	is($boss->query("SELECT count(*) FROM ains.claim('boss', $count, lease => '1 hour')"), $count, 'held by the boss');
	$boss->query('COMMIT');
	$boss->close;
	return;
}

# What the owner of the tables may write there, at his own risk.
sub insert_by_hand
{
	my ($count) = @_;

	return $s->query("INSERT INTO ains.task (rank, lane_id, status, priority, run_at, created_at, enqueued_by, capability, payload)
		SELECT extract(epoch FROM now()) * 1000000, lane_id, 'PENDING', 5, now(), now(), current_user::regrole, 'job', '{}'
		FROM ains.lane, generate_series(1, $count) WHERE capability = 'job'");
}

my $n = 40;
my $other = AinsTest::Session->new($node);

$s->query("SELECT ains.enqueue_batch('job', (SELECT jsonb_agg(i) FROM generate_series(1, $crowd) i))");
worked_off($crowd, 'as many tasks as agents');

$s->query("SELECT ains.enqueue_batch('job', (SELECT jsonb_agg(i) FROM generate_series(1, $n) i), run_at => ains_internal.clock_now() + '20 s')");
advance('20 s');
worked_off($n, 'tasks that become due');

held($n, ", timeout => '10 s'");
advance('11 s');
worked_off($n, 'attempts that took too long');

$s->query("SELECT ains.register_agent('boss', capabilities => '{job}', heartbeat_timeout => '10 s')");
held($n);
advance('11 s');
worked_off($n, 'leases of one who died');
is($s->query("SELECT agent_status FROM ains.agents WHERE agent_id = 'boss'"), 'DEAD', 'the boss did');

$s->query("SELECT ains.register_agent('boss', capabilities => '{job}')");
held($n);
$s->query("SELECT ains.heartbeat('boss')");
advance('1 s');
is($s->query("SELECT active_tasks FROM ains.heartbeat('boss', held => '{}')"), '0', 'the boss does not know of them');
worked_off($n, 'leases of one who does not know of them');

$other->query("SELECT ains.attach_agent('boss')");
held($n);
$other->hang_up;
worked_off($n, 'leases of one whose connection ended');

# Somebody has the rows locked when they could be had.
$other = AinsTest::Session->new($node);
$s->query("SELECT ains.pause('job')");
$s->query("SELECT ains.enqueue_batch('job', (SELECT jsonb_agg(i) FROM generate_series(1, $n) i))");
$other->query("BEGIN; SELECT ains.set_priority(task_id, 6) FROM ains.task WHERE capability = 'job'");
$s->query("SELECT ains.resume('job')");
$other->query('ROLLBACK');
worked_off($n, 'a change of priority rolled back');

$s->query("SELECT ains.pause('job')");
$s->query("SELECT ains.enqueue_batch('job', (SELECT jsonb_agg(i) FROM generate_series(1, $n) i))");
$other->query("BEGIN; SELECT ains.cancel(task_id) FROM ains.task WHERE capability = 'job'");
$s->query("SELECT ains.resume('job')");
$other->query('ROLLBACK');
worked_off($n, 'cancels rolled back');

insert_by_hand($n);
$s->query('SELECT ains.rescan()');
worked_off($n, 'rescan');
insert_by_hand($n);
worked_off($n, 'the audit');

crowd_sleeps();
is($s->query('SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE \'waiter %\' AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)'),
	'0', 'and all of them sleep again, holding nothing');

done_testing();
