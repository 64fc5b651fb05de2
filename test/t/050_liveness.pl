# Who is alive, and whose leases end: by the test clock, so that nothing has to
# sleep for minutes. It runs on meanwhile, so what is not over yet is asked for
# 20 seconds before it is, for a machine that is busy.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ains_node('main', test_clock => 1, conf => "autovacuum = off\n");
my $s = AinsTest::Session->new($node);
# the sweeper would look by itself after a minute
my $at_once = 30;

sub advance { return $s->query("SELECT ains_internal.advance_clock('$_[0]')") }

sub register
{
	my ($agent, $more) = @_;
	return $s->query("SELECT incarnation FROM ains.register_agent('$agent', capabilities => '{work}'"
		  . ($more ? ", $more" : '') . ')');
}
sub beat { return $s->query("SELECT ains.heartbeat('$_')") for @_ }

# Enqueues a task which the agent then holds; returns its id and token. What
# else is waiting must not come first.
sub held
{
	my ($agent, $lease, $more) = @_;
	$s->query("SELECT ains.cancel(task_id) FROM ains.task WHERE status = 'PENDING'");
	my $id = $s->query("SELECT ains.enqueue('work', priority => 10" . ($more ? ", $more" : '') . ')');
	my ($task, $token) = split /\|/,
	  $s->query("SELECT task_id, lease_token FROM ains.claim('$agent', lease => '$lease')");

	die 'another task than ours' unless $task == $id;
	return ($task, $token);
}

# Lets so many seconds pass while these agents beat.
sub pass_time
{
	my ($seconds, @agents) = @_;

	while ($seconds > 0)
	{
		my $step = $seconds < 20 ? $seconds : 20;
		advance("$step s");
		beat(@agents);
		$seconds -= $step;
	}
	return;
}

# Until the sweeper has done a whole pass that began after this call: a task
# becomes due in its step after those that end leases.
sub swept
{
	my $id = $s->query("SELECT ains.enqueue('due', run_at => ains_internal.clock_now() + '20 ms')");

	poll(sub { $s->query("SELECT status FROM ains.task WHERE task_id = $id") eq 'PENDING' })
	  or die 'the sweeper does not sweep';
	$s->query("SELECT ains.cancel($id)");
	return;
}

sub agent_is
{
	my ($agent, $status, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	swept();
	return is($s->query("SELECT agent_status FROM ains.agents WHERE agent_id = '$agent'"),
		$status, "$name: $agent is $status");
}

# At once, on the sweeper's scale: it knows when something is due.
sub task_becomes
{
	my ($task, $status, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return eventually($s, "SELECT status FROM ains.tasks WHERE task_id = $task", $status,
		"$name: the task is $status", $at_once);
}

sub still_held
{
	my ($task, $token, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	swept();
	return is($s->query("SELECT status, lease_token FROM ains.task WHERE task_id = $task"),
		"ACTIVE|$token", "$name: the lease is kept");
}

# A test: nothing works any more with this token.
sub token_is_void
{
	my ($task, $token, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @codes = map { $s->try("SELECT ains.$_")->{code} // 'none' } (
		"complete($task, $token)", "fail($task, $token, 'x')",
		"release($task, $token)", "extend_lease($task, $token)",
		"checkpoint($task, $token, '1')");
	is("@codes", 'NS001 ' x 4 . 'NS001', "$name: the token is void in every call");
	is($s->query("SELECT count(*) FROM ains.complete_batch(ARRAY[$task], ARRAY[$token])"),
		'0', "$name: and in complete_batch");
	return;
}

sub last_outcome
{
	my ($task) = @_;
	return $s->query("SELECT outcome FROM ains.attempts WHERE task_id = $task ORDER BY attempt DESC LIMIT 1");
}

sub clear
{
	$s->query("SELECT ains.stop_agent(agent_id) FROM ains.agents");
	$s->query("SELECT ains.cancel(task_id) FROM ains.tasks WHERE status IN ('PENDING', 'SCHEDULED')");
	return;
}

my ($task, $token, $new);

# ----------------------------------------------------------------------
note 'silence';

register($_) for qw(a b);
($task, $token) = held('a', '1 hour');
pass_time(70, 'b');
agent_is('a', 'AVAILABLE', 'silent for 70 s of 90');
still_held($task, $token, 'silent for 70 s of 90');
pass_time(21, 'b');
task_becomes($task, 'PENDING', 'silent for 91 s');
agent_is('a', 'DEAD', 'silent for 91 s');
agent_is('b', 'AVAILABLE', 'its neighbour, which beats');
is($s->query("SELECT agent_id FROM ains.dead_agents"), 'a', 'the view dead_agents');
is(last_outcome($task), 'agent_dead', 'the attempt says why');
raises($s, "SELECT ains.claim('a')", 'NS005', 'the dead may not claim');
is($s->query("SELECT task_id FROM ains.claim('b')"), $task, 'the task goes to another');
token_is_void($task, $token, 'dead');
is($s->query("SELECT agent_status, lost FROM ains.heartbeat('a', held => ARRAY[$task])"),
	"AVAILABLE|{$task}", 'a beat revives it, and says what it has lost');
token_is_void($task, $token, 'revived');
is($s->query("SELECT count(*) FROM ains.task WHERE task_id = $task AND agent_id = 'b'"), '1', 'and b keeps it');
clear();

# Somebody works on the row when its holder dies.
register($_) for qw(a b);
($task, $token) = held('a', '1 hour');
my $other = AinsTest::Session->new($node);
$other->query("BEGIN; SELECT ains.checkpoint($task, $token, '1')");
pass_time(91, 'b');
agent_is('a', 'DEAD', 'with a locked row');
$other->query('COMMIT');
task_becomes($task, 'PENDING', 'when it is unlocked');
clear();

# ----------------------------------------------------------------------
note 'a limit of its own';

register('quick', "heartbeat_timeout => '10 s'");
register('slow', "heartbeat_timeout => '12 hours'");
register('usual');
is( $s->query("SELECT string_agg((ains.heartbeat(a)).next_heartbeat_in::text, ' ' ORDER BY a)
		FROM unnest('{quick,slow,usual}'::text[]) a"),
	'3 14400 30', 'each is told a third of it');
advance('11 s');
agent_is('quick', 'DEAD', 'after 11 s');
agent_is('usual', 'AVAILABLE', 'after 11 s');
advance('80 s');
agent_is('usual', 'DEAD', 'after 91 s');
advance('11 hours');
agent_is('slow', 'AVAILABLE', 'after 11 hours');
advance('2 hours');
agent_is('slow', 'DEAD', 'after 13 hours');
clear();

$node->append_conf('postgresql.conf', 'ains.heartbeat_timeout = 20');
$node->reload;
poll(sub { $s->query('SHOW ains.heartbeat_timeout') eq '20s' });
register('usual');
is($s->query("SELECT next_heartbeat_in FROM ains.heartbeat('usual')"), '6', 'the setting was changed');
advance('21 s');
agent_is('usual', 'DEAD', 'after 21 s of 20');
clear();
$node->append_conf('postgresql.conf', 'ains.heartbeat_timeout = 90');
$node->reload;
poll(sub { $s->query('SHOW ains.heartbeat_timeout') eq '90s' });

# ----------------------------------------------------------------------
note 'beats renew leases';

register($_) for qw(a b);
$s->query("SELECT ains.register_agent('silent', capabilities => '{work}', heartbeat_timeout => '1 day')");
($task, $token) = held('a', '60 s');
my ($task2, $token2) = held('silent', '60 s');
is($s->query("SELECT lease_expires_at - claimed_at FROM ains.tasks WHERE task_id = $task"), '00:01:00', 'a lease of a minute');
pass_time(40, qw(a b));
still_held($task2, $token2, 'not expired');
pass_time(200, qw(a b));
still_held($task, $token, 'after four minutes of beats');
task_becomes($task2, 'PENDING', 'not beating');
is(last_outcome($task2), 'lease_expired', 'the attempt says why');
agent_is('silent', 'AVAILABLE', 'who let a lease expire');
token_is_void($task2, $token2, 'expired');
is( $s->query("SELECT lease_expires_at > ains_internal.clock_now() FROM ains.task WHERE task_id = $task"),
	't', 'the renewal is written down');
$s->query("SELECT ains.complete($task, $token)");
pass('and the task can be completed');

# Other signs of life: a claim beats too, extend_lease and checkpoint extend.
($task, $token) = held('a', '60 s');
for (1 .. 4)
{
	advance('30 s');
	$s->query("SELECT ains.claim('a', capabilities => '{}')");
	beat('b');
}
still_held($task, $token, 'after two minutes of claims');
($task2, $token2) = held('silent', '60 s');
for my $call ("extend_lease($task2, $token2)", "checkpoint($task2, $token2, '1')", "extend_lease($task2, $token2)")
{
	advance('40 s');
	beat(qw(a b));
	$s->query("SELECT ains.$call");
}
still_held($task2, $token2, 'extended');
clear();

# With held: what it does not name is not renewed, but given back.
register('a');
($task, $token) = held('a', '60 s');
($task2, $token2) = held('a', '60 s');
is($s->query("SELECT lost, active_tasks FROM ains.heartbeat('a', held => ARRAY[$task])"), '{}|2',
	'a claim whose answer may be on its way is left alone');
advance('1 s');
is($s->query("SELECT lost, active_tasks FROM ains.heartbeat('a', held => ARRAY[$task])"), '{}|1',
	'at the next beat it is given back');
task_becomes($task2, 'PENDING', 'given back');
still_held($task, $token, 'named in held');
clear();

# ----------------------------------------------------------------------
note 'what beats do not renew';

register('a');
$s->query("SELECT ains.configure_capability('work', backoff => 'fixed', backoff_base => '1 hour', backoff_max => '1 hour', jitter => 0)");
($task, $token) = held('a', '1 hour', "timeout => '100 s'");
pass_time(80, 'a');
still_held($task, $token, 'before its timeout');
pass_time(21, 'a');
task_becomes($task, 'SCHEDULED', 'a hung agent that beats');
is(last_outcome($task), 'timed_out', 'the attempt says why');
token_is_void($task, $token, 'timed out');
agent_is('a', 'AVAILABLE', 'who was too slow');
clear();

register('a');
($task, $token) = held('a', '60 s');
is($s->query("SELECT ains.cancel($task)"), 'ACTIVE', 'cancel of a held task');
pass_time(40, 'a');
still_held($task, $token, 'its cancel was requested');
is($s->query("SELECT cancel_requested FROM ains.heartbeat('a')"), "{$task}", 'the agent is told, again and again');
raises($s, "SELECT ains.$_", 'NS004', $_)
  for "extend_lease($task, $token)", "checkpoint($task, $token, '1')", "complete($task, $token)";
pass_time(21, 'a');
task_becomes($task, 'CANCELLED', 'an agent that beats and does not listen');
is(last_outcome($task), 'cancelled', 'the attempt says why');
clear();

# OFFLINE is no sign of life.
register('a');
($task, $token) = held('a', '60 s');
for (1 .. 2)
{
	advance('20 s');
	$s->query("SELECT ains.heartbeat('a', 'OFFLINE')");
}
still_held($task, $token, 'OFFLINE');
agent_is('a', 'INACTIVE', 'OFFLINE');
advance('21 s');
$s->query("SELECT ains.heartbeat('a', 'OFFLINE')");
task_becomes($task, 'PENDING', 'OFFLINE until its lease lapsed');
is($s->query("SELECT agent_status FROM ains.heartbeat('a')"), 'AVAILABLE', 'and on again');
clear();

# ----------------------------------------------------------------------
note 'time that does not count';

# A restart. (The test clock is at zero afterwards.)
register('a');
($task, $token) = held('a', '1 hour');
advance('60 s');
swept();
$_->close for $s, $other;
$node->restart;
$_ = AinsTest::Session->new($node) for $s, $other;
advance('60 s');
agent_is('a', 'AVAILABLE', 'silent for 120 s, but never for 90 since the restart');
still_held($task, $token, 'after the restart');
cmp_ok(register('later'), '>', $token, 'tokens go on');
advance('31 s');
agent_is('a', 'DEAD', 'silent for 91 s since');
clear();

# The machine was paused: the sweeper notices that it is late itself.
register('a');
($task, $token) = held('a', '60 s');
$s->query("SELECT ains_internal.stall_clock('1 hour')");
agent_is('a', 'AVAILABLE', 'after a pause of an hour');
still_held($task, $token, 'after a pause of an hour');
advance('40 s');
agent_is('a', 'AVAILABLE', '40 s later');
still_held($task, $token, '40 s later');
advance('21 s');
task_becomes($task, 'PENDING', '61 s later');
advance('30 s');
agent_is('a', 'DEAD', '91 s later');
clear();

# It was paused in the middle of a pass, which a lock makes visible here.
register('a');
$other->query('BEGIN; LOCK TABLE ains.agent');
advance('61 s');
ok(poll(sub { $s->query("SELECT count(*) FROM pg_locks l JOIN pg_stat_activity USING (pid)
	WHERE backend_type = 'ains sweeper' AND NOT granted AND relation = 'ains.agent'::regclass") eq '1' }),
	'the sweeper is in the middle of a pass');
$s->query("SELECT ains_internal.stall_clock('1 hour')");
$other->query('COMMIT');
agent_is('a', 'AVAILABLE', 'after a pause within a pass');
advance('91 s');
agent_is('a', 'DEAD', '91 s later');
clear();

# The wall clock is set.
for my $step ('1 day', '-2 days', '40 days', '-1 hour')
{
	register('a');
	($task, $token) = held('a', '60 s');
	$s->query("SELECT ains_internal.step_wall_clock('$step')");
	agent_is('a', 'AVAILABLE', "clock set by $step");
	still_held($task, $token, "clock set by $step");
	pass_time(180, 'a');
	agent_is('a', 'AVAILABLE', "clock set by $step, 3 minutes of beats");
	still_held($task, $token, "clock set by $step, 3 minutes of beats");
	$s->query("SELECT ains.complete($task, $token)");
	is($s->query("SELECT status FROM ains.tasks WHERE task_id = $task"), 'COMPLETED', "clock set by $step: completed");
	($task, $token) = held('a', '60 s');
	pass_time(91);
	agent_is('a', 'DEAD', "clock set by $step: silent for 91 s");
	task_becomes($task, 'PENDING', "clock set by $step: silent for 91 s");
	clear();
}

# A sweep by hand or from pg_cron must be as patient as the sweeper, which does
# not run in this database.
$node->append_conf('postgresql.conf', "ains.databases = 'nowhere'");
$node->reload;
eventually($s, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ains sweeper'", '0', 'no sweeper');
my $sweep = 'SELECT leases_expired, leases_of_dead_agents, agents_marked_dead FROM ains.sweep()';
register('a');
($task, $token) = held('a', '60 s');
$s->query('SELECT ains.sweep()');
$s->query("SELECT ains_internal.step_wall_clock('1 day')");
is($s->query($sweep), '0|0|0', 'sweep() after the clock was set forward');
$s->query("SELECT ains_internal.step_wall_clock('-1 day')");
is($s->query($sweep), '0|0|0', 'sweep() after the clock was set back');
$s->query("SELECT ains_internal.stall_clock('1 hour')");
is($s->query($sweep), '0|0|0', 'sweep() after a pause of an hour');
beat('a');
$s->query($sweep);
# each sooner than after a third of the timeout: later would count as a pause
for (1 .. 4)
{
	advance('20 s');
	$s->query($sweep);
}
advance('12 s');
is($s->query('SELECT agents_marked_dead FROM ains.sweep()'), '1', 'sweep() after 92 s of silence');
is($s->query("SELECT status FROM ains.tasks WHERE task_id = $task"), 'PENDING', 'the lease was taken back');
clear();

register('a');
($task, $token) = held('a', '1 hour');
for (1 .. 5) { advance('20 s'); $s->query('SELECT ains.release_dead_agent_leases()') }
is($s->query("SELECT status FROM ains.tasks WHERE task_id = $task"), 'PENDING', 'release_dead_agent_leases()');
is($s->query("SELECT agent_status FROM ains.agents WHERE agent_id = 'a'"), 'DEAD', 'it marks them dead');
clear();

# ----------------------------------------------------------------------
note 'attached agents';

# Re-attached before anybody has dealt with the end of the connection.
my $incarnation = register('a');
my $tied = AinsTest::Session->new($node);
$tied->query("SELECT ains.attach_agent('a')");
($task, $token) = held('a', '1 hour');
$tied->hang_up;
vanishes($s, $tied->pid, 'the connection of an attached agent ended');
$s->query("SELECT ains.attach_agent('a', $incarnation)");
is($s->query('SELECT leases_of_dead_agents FROM ains.sweep()'), '0', 're-attached in time');
still_there($task, $token, 're-attached in time');
$s->query("SELECT ains.detach_agent('a')");

$node->append_conf('postgresql.conf', "ains.databases = ''");
$node->reload;
sweeper_pid($s) or die 'no sweeper';
still_held($task, $token, 'and the sweeper agrees');
clear();

sub still_there
{
	my ($id, $held_by, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($s->query("SELECT status, lease_token FROM ains.task WHERE task_id = $id"),
		"ACTIVE|$held_by", "$name: the lease is kept");
}

# Each way a connection can end; the task then runs at a waiting agent.
my $waiter = AinsTest::Session->new($node);
for my $end (
	[ 'terminated', sub { $s->query('SELECT pg_terminate_backend(' . $_[0]->pid . ')') } ],
	[ 'client killed', sub { $_[0]->hang_up } ],
	[ 'client quit', sub { $_[0]->close } ],
	[ 'an error that is fatal', sub { $_[0]->send("SET idle_session_timeout = '10 ms'") } ])
{
	my ($name, $code) = @$end;
	register('a');
	register('next');
	$tied = AinsTest::Session->new($node);
	$tied->query("SELECT ains.attach_agent('a')");
	my $id = $tied->query("SELECT ains.enqueue('work')");
	($token) = $tied->query("SELECT lease_token FROM ains.claim('a', lease => '1 hour')");
	$waiter->send("CALL ains.wait_for_task('next')");
	ok(!$waiter->ready(0.2), "$name: the task is held");
	my $began = now();
	$code->($tied);
	ok($waiter->ready($at_once), "$name: the task is there for a waiting agent");
	note(sprintf '%s: after %.1f ms', $name, 1000 * (now() - $began));
	$waiter->result;
	is($waiter->query("SELECT task_id, attempt FROM ains.claim('next')"), "$id|2", "$name: it claims it");
	is(last_outcome($id), 'disconnected', "$name: the attempt says why");
	is($s->query("SELECT agent_status FROM ains.agents WHERE agent_id = 'a'"), 'AVAILABLE', "$name: the agent is not dead");
	token_is_void($id, $token, $name);
	clear();
}

# Its last transaction had not ended: nothing of that stays.
register('a');
$tied = AinsTest::Session->new($node);
$tied->query("SELECT ains.attach_agent('a')");
($task, $token) = held('a', '1 hour');
my $id = $s->query("SELECT ains.enqueue('work')");
$tied->query("BEGIN; SELECT ains.complete($task, $token); SELECT ains.claim('a')");
$tied->hang_up;
task_becomes($task, 'PENDING', 'ended in a transaction that had completed it');
task_becomes($id, 'PENDING', 'ended in a transaction that had claimed it');
is($s->query("SELECT active_tasks FROM ains.agents WHERE agent_id = 'a'"), '0', 'nothing is counted as held');
clear();

# Somebody works on one of its tasks at that moment.
register('a');
$tied = AinsTest::Session->new($node);
$tied->query("SELECT ains.attach_agent('a')");
($task, $token) = held('a', '1 hour');
($task2) = held('a', '1 hour');
$other->query("BEGIN; SELECT ains.checkpoint($task, $token, '1')");
$tied->hang_up;
task_becomes($task2, 'PENDING', 'the one that is not locked');
$other->query('COMMIT');
task_becomes($task, 'PENDING', 'the other when it is unlocked');
clear();

# No longer tied to it.
for my $case (
	[ 'detached', sub { $tied->query("SELECT ains.detach_agent('a')") } ],
	[ 'attached elsewhere', sub { $other->query("SELECT ains.attach_agent('a')") } ],
	[ 'registered again', sub { register('a') } ])
{
	my ($name, $code) = @$case;
	register('a');
	$tied = AinsTest::Session->new($node);
	$tied->query("SELECT ains.attach_agent('a')");
	$code->();
	($task, $token) = held('a', '1 hour');
	$tied->close;
	still_held($task, $token, $name);
	clear();
}
$other->query("SELECT ains.detach_agent('a')");

register('a');
$tied = AinsTest::Session->new($node);
$tied->query("BEGIN; SELECT ains.attach_agent('a'); ROLLBACK");
($task, $token) = held('a', '1 hour');
$tied->close;
still_held($task, $token, 'attach rolled back');
raises($s, "SELECT ains.attach_agent('a', $incarnation)", 'NS005', 'attach of an old incarnation');
raises($s, "SELECT ains.attach_agent('nobody')", 'NS002', 'attach of nobody');
clear();

# ----------------------------------------------------------------------
note 'a heartbeat writes nothing';

register('a');
($task, $token) = held('a', '1 hour');
$s->query("SELECT ains.cancel($task)");		# its agent has something to look at
my ($kept) = held('a', '1 hour');
beat('a');
swept();
$s->query('CHECKPOINT');
my @calls = ("ains.heartbeat('a')", "ains.heartbeat('a', 'ACTIVE', 1000, activity => 'thinking')",
	"ains.heartbeat('a', held => ARRAY[$task, $kept])");
for my $call (@calls)
{
	my $rows = 'SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_xact_all_tables';
	my $written = $s->query("BEGIN; $rows");
	is($s->query("SELECT $call; SELECT pg_current_xact_id_if_assigned() IS NULL"), 't', "$call: no transaction id");
	is($s->query($rows), $written, "$call: no row");
	$s->query('COMMIT');
	# The server may write something of its own, but not every time.
	ok( poll(sub {
			my $before = $s->query('SELECT pg_current_wal_insert_lsn()');
			$s->query("SELECT count($call) FROM generate_series(1, 1000)");
			return $s->query('SELECT pg_current_wal_insert_lsn()') eq $before;
		}), "$call: no WAL in a thousand of them");
}
like($s->query("SELECT activity FROM ains.agents WHERE agent_id = 'a'"), qr/thinking/, 'it was heard all the same');
clear();

# ----------------------------------------------------------------------
note 'agents that nobody misses';

register($_) for qw(old young);
$s->query("SELECT ains.stop_agent('old')");
advance('23 hours');
swept();
register('young');
advance('2 hours');
eventually($s, "SELECT string_agg(agent_id, ' ') FROM ains.agents WHERE agent_id IN ('old', 'young')",
	'young', 'the sweeper prunes after ains.agent_retention');

done_testing();
