# Waiting: CALL ains.wait_for_task and ains.wait_for_result. What wakes a
# sleeper, what it holds while it sleeps (nothing), and how a sleep ends.
#
# A sleeper opens its eyes by itself every ten seconds, so "woken" here means:
# long before that, counted from the moment it was seen asleep.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ains_node('main');
my $s = AinsTest::Session->new($node);

# Seconds within which a wake-up arrives; the next look would come later.
my $at_once = 8;
# Seconds in which something that must not happen would have happened.
my $moment = 0.3;

$s->query("SELECT ains.configure_capability('work', max_attempts => 100, backoff => 'fixed',
	backoff_base => '0', jitter => 0)");
$s->query("SELECT ains.register_agent('$_', capabilities => '{work}')") for qw(boss w1 w2 w3 w4);

sub asleep
{
	my ($waiter) = @_;
	my $pid = $waiter->pid;

	poll(sub { $s->query("SELECT state = 'active' AND wait_event_type = 'Extension'
			FROM pg_stat_activity WHERE pid = $pid") eq 't' })
	  or die "backend $pid does not sleep";
	return $waiter;
}

# A session that sleeps in the call; by default waiting for a task of w1's.
sub sleeper
{
	my ($call, %option) = @_;
	my $waiter = AinsTest::Session->new($node, %option);

	$waiter->send($call // "CALL ains.wait_for_task('w1')");
	return asleep($waiter);
}

# A test: the waiter's call returns now, with this row.
sub woken
{
	my ($waiter, $name, $row) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	if (!$waiter->ready($at_once))
	{
		fail("$name: woken");
		$waiter->hang_up;
		return;
	}
	my $result = $waiter->result;
	is($result->{code} // AinsTest::Session::rows($result), $row // 't', "$name: woken");
	$waiter->close;
	return;
}

sub sleeps_on
{
	my ($waiter, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(!$waiter->ready($moment), "$name: sleeps on");
}

# Takes everything that there is, and returns "task_id token" of the first.
sub take_all
{
	my ($agent, $lease) = @_;

	return split /\|/, $s->query("SELECT task_id, lease_token FROM ains.claim('"
		. ($agent // 'boss') . "', 1000, lease => " . ($lease // 'NULL') . ') LIMIT 1');
}

sub complete_all { $s->query("SELECT ains.complete(task_id, lease_token) FROM ains.task WHERE status = 'ACTIVE'") }

# ----------------------------------------------------------------------
note 'what a sleeper holds';

my $waiter = sleeper();
my $pid = $waiter->pid;
is( $s->query("SELECT backend_xmin IS NULL, backend_xid IS NULL FROM pg_stat_activity WHERE pid = $pid"),
	't|t', 'no snapshot and no transaction id');
is( $s->query("SELECT count(*) FROM pg_locks WHERE pid = $pid AND locktype <> 'virtualxid'"),
	'0', 'no lock');
$waiter->hang_up;

# It would block these for as long as it sleeps.
$waiter = sleeper();
my $other = AinsTest::Session->new($node, options => '-c lock_timeout=5s');
$other->query('BEGIN; LOCK TABLE ains.task, ains.agent, ains.capability IN ACCESS EXCLUSIVE MODE; COMMIT');
pass('DDL does not wait for it');
sleeps_on($waiter, 'after DDL');
$other->close;

# ----------------------------------------------------------------------
note 'what wakes';

$other = AinsTest::Session->new($node);
$other->query("BEGIN; SELECT ains.enqueue('work')");
sleeps_on($waiter, 'enqueue that is not committed');
$other->query('COMMIT');
woken($waiter, 'enqueue committed');

my ($task, $token) = take_all();
$waiter = sleeper();
$other->query("BEGIN; SELECT ains.enqueue('work'); ROLLBACK");
sleeps_on($waiter, 'enqueue rolled back');
$s->query("SELECT ains.enqueue('other')");
sleeps_on($waiter, 'enqueue of what it cannot do');
$s->query("SELECT ains.release($task, $token)");
woken($waiter, 'release');

($task, $token) = take_all();
$waiter = sleeper();
$s->query("SELECT ains.fail($task, $token, 'again')");
woken($waiter, 'fail without a backoff');

($task, $token) = take_all();
$waiter = sleeper();
$s->query("SELECT ains.fail($task, $token, 'again', retry_after => '500 ms')");
woken($waiter, 'backoff over');

($task, $token) = take_all();
$waiter = sleeper();
$s->query("SELECT ains.release($task, $token, delay => '500 ms')");
woken($waiter, 'snooze over');

($task, $token) = take_all();
$s->query("SELECT ains.fail($task, $token, 'no', retryable => false)");
$waiter = sleeper();
is($s->query("SELECT ains.retry($task)"), $task, 'retry');
woken($waiter, 'retry');

take_all();
complete_all();
$waiter = sleeper();
$s->query("SELECT ains.enqueue('work', run_at => clock_timestamp() + '700 ms')");
sleeps_on($waiter, 'run_at to come');
woken($waiter, 'run_at has come');

take_all('boss', "'500 ms'");
$waiter = sleeper();
woken($waiter, 'lease expired');

take_all();
$waiter = sleeper();
$s->query("SELECT ains.register_agent('boss', capabilities => '{work}')");
woken($waiter, 'holder registered again');

take_all();
$waiter = sleeper();
$s->query("SELECT ains.stop_agent('boss')");
woken($waiter, 'holder stopped');
$s->query("SELECT ains.resume_agent('boss')");

$s->query("SELECT ains.pause('work')");
$waiter = sleeper();
$s->query("SELECT ains.enqueue('work')");
sleeps_on($waiter, 'enqueue while paused');
$s->query("SELECT ains.resume('work')");
woken($waiter, 'resume');

# The tasks are there, but somebody is about to take them.
$other->query("BEGIN; SELECT count(*) FROM ains.claim('boss', 1000)");
$waiter = sleeper();
sleeps_on($waiter, 'claim that is not committed');
$other->query('ROLLBACK');
woken($waiter, 'claim rolled back');

$other->query("BEGIN; SAVEPOINT a; SELECT count(*) FROM ains.claim('boss', 1000)");
$waiter = sleeper();
$other->query('ROLLBACK TO a');
woken($waiter, 'claim rolled back to a savepoint');
$other->query('COMMIT');

$other->query("BEGIN; SELECT count(*) FROM ains.claim('boss', 1000)");
$waiter = sleeper();
$s->query('SELECT pg_terminate_backend(' . $other->pid . ')');
woken($waiter, 'claimer killed');

# Task of `other` is there since above.
take_all();
complete_all();
$waiter = sleeper();
$s->query("SELECT ains.register_agent('w1', capabilities => '{work,other}')");
woken($waiter, 'registered with another capability');
$s->query("SELECT ains.register_agent('w1', capabilities => '{work,new}')");
$waiter = sleeper();
$s->query("SELECT ains.enqueue('new')");
woken($waiter, 'first task of a capability');
$s->query("SELECT ains.register_agent('w1', capabilities => '{work}')");
$waiter = sleeper();
$s->query("SELECT ains.publish_capability('w1', 'other')");
woken($waiter, 'published another capability');
$s->query("SELECT ains.withdraw_capability('w1', 'other')");

# A subset of what it offers.
$s->query("SELECT ains.register_agent('both', capabilities => '{work,subset}')");
$waiter = sleeper("CALL ains.wait_for_task('both', capabilities => '{subset}')");
$s->query("SELECT ains.enqueue('work')");
sleeps_on($waiter, 'a capability it offers and did not ask for');
$s->query("SELECT ains.enqueue('subset')");
woken($waiter, 'the capability it asked for');
take_all('both');
complete_all();

# As many as there are tasks.
my @all = map { sleeper("CALL ains.wait_for_task('w$_')") } 1 .. 3;
$s->query("SELECT ains.enqueue_batch('work', '[1,2,3]')");
woken($_, 'one of a batch') for @all;
is($s->query("SELECT count(*) FROM ains.claim('boss', 10)"), '3', 'all of the batch are there');
complete_all();

# Whoever is told of a task need not claim it: the sweeper tells the next.
@all = map { sleeper("CALL ains.wait_for_task('w$_')") } 1 .. 3;
$s->query("SELECT ains.enqueue('work')");
woken($_, 'one task that nobody claims') for @all;
take_all();
complete_all();

# Tasks that are there already.
$s->query("SELECT ains.enqueue('work')");
is($s->query("CALL ains.wait_for_task('w1', '0')"), 't', 'ready at once');
take_all();
complete_all();
is($s->query("CALL ains.wait_for_task('w1', '0')"), 'f', 'no wait, nothing there');
my $begin = now();
is($s->query("CALL ains.wait_for_task('w1', '400 ms')"), 'f', 'the time is over');
my $took = now() - $begin;
ok($took >= 0.39 && $took < $at_once, 'at the right time') or diag("after $took s");

# ----------------------------------------------------------------------
note 'sleepers that end otherwise leave nothing behind';

# Then a commit's only wake-up goes to somebody who still waits.
sub wake_up_goes_on
{
	my ($name, $end) = @_;
	my @gone = map { sleeper("CALL ains.wait_for_task('w$_')") } 1 .. 3;
	my $left = sleeper("CALL ains.wait_for_task('w4')");

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$end->($_) for @gone;
	$s->query("SELECT ains.enqueue('work')");
	woken($left, $name);
	take_all();
	complete_all();
	return;
}

wake_up_goes_on('clients killed',
	sub {
		my ($gone) = @_;
		my $began = now();
		$gone->hang_up;
		vanishes($s, $gone->pid, 'its backend goes');
		cmp_ok(now() - $began, '<', $at_once, 'within seconds');
	});
wake_up_goes_on('backends terminated',
	sub { $s->query('SELECT pg_terminate_backend(' . $_[0]->pid . ')'); vanishes($s, $_[0]->pid, 'it goes') });
wake_up_goes_on('calls cancelled',
	sub {
		my ($gone) = @_;
		$s->query('SELECT pg_cancel_backend(' . $gone->pid . ')');
		is($gone->result->{code}, '57014', 'cancelled');
		is($gone->query('SELECT 1'), '1', 'and goes on');
	});
wake_up_goes_on('agents drained',
	sub {
		my ($gone) = @_;
		my ($agent) = $s->query('SELECT query FROM pg_stat_activity WHERE pid = ' . $gone->pid) =~ /'(w\d)'/;
		$s->query("SELECT ains.drain_agent('$agent')");
		ok($gone->ready($at_once), 'drained while it waits: woken');
		is($gone->result->{code}, 'NS005', 'and refused');
	});
$s->query("SELECT ains.resume_agent('w$_')") for 1 .. 3;

# ----------------------------------------------------------------------
note 'statement_timeout';

$other = AinsTest::Session->new($node, options => '-c statement_timeout=1s');
for my $call ("CALL ains.wait_for_task('w1', '1 hour')",
	"DO \$\$ DECLARE r boolean; BEGIN CALL ains.wait_for_task('w1', '1 hour', r); ASSERT NOT r; END \$\$")
{
	$begin = now();
	my $result = $other->try($call);
	$took = now() - $begin;
	is($result->{code}, undef, 'returns before statement_timeout strikes') or diag($result->{message});
	cmp_ok($took, '>', 0.4, 'not long before') or diag("after $took s");
}
is($other->query("CALL ains.wait_for_task('w1', '1 hour')"), 'f', 'not ready');
$other->close;

# ----------------------------------------------------------------------
note 'where it may be called';

raises($s, "BEGIN; CALL ains.wait_for_task('w1')", '25001', 'in a transaction block');
$s->query('ROLLBACK');
$other = AinsTest::Session->new($node);
for my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	$other->query("SET default_transaction_isolation = '$level'");
	raises($other, "CALL ains.wait_for_task('w1')", '0A000', $level);
}
$other->close;

$s->query(<<'EOS');
CREATE PROCEDURE next_task(INOUT ok boolean, length interval DEFAULT '30 s') LANGUAGE plpgsql AS $$
DECLARE
	found boolean;
BEGIN
	CALL ains.wait_for_task('w1', length, found);
	ok := found;
	-- and again, in the transaction that it left us in
	CALL ains.wait_for_task('w1', '0', found);
	ok := ok AND found;
END $$;
CREATE FUNCTION in_function() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	found boolean;
BEGIN
	CALL ains.wait_for_task('w1', '0', found);
	RETURN found;
END $$;
EOS
$waiter = sleeper('CALL next_task(NULL)');
is( $s->query('SELECT backend_xmin IS NULL, backend_xid IS NULL FROM pg_stat_activity WHERE pid = '
			. $waiter->pid),
	't|t', 'in a procedure of PL/pgSQL: nothing held');
$s->query("SELECT ains.enqueue('work')");
woken($waiter, 'in a procedure of PL/pgSQL');
take_all();
complete_all();
is($s->query("CALL next_task(NULL, '0')"), 'f', 'in a procedure, not ready');
raises($s, 'SELECT in_function()', '25001', 'in a function');
raises($s, 'BEGIN; CALL next_task(NULL)', '25001', 'in a procedure in a transaction block');
$s->query('ROLLBACK');

raises($s, "CALL ains.wait_for_task('nobody')", 'NS002', 'unknown agent');
raises($s, "CALL ains.wait_for_task(NULL)", '22023', 'no agent');
raises($s, "CALL ains.wait_for_task('w1', '-1 s')", '22023', 'negative time');
$s->query("SELECT ains.drain_agent('w1')");
raises($s, "CALL ains.wait_for_task('w1')", 'NS005', 'draining agent');
$s->query("SELECT ains.resume_agent('w1')");
$s->query('CREATE ROLE stranger LOGIN; GRANT ains_agent, ains_producer TO stranger');
$other = AinsTest::Session->new($node, user => 'stranger');
raises($other, "CALL ains.wait_for_task('w1')", '42501', "somebody else's agent");
is($other->query('SELECT current_user'), 'stranger', 'who is still himself');

# ----------------------------------------------------------------------
note 'waiting counts as beating';

$s->query("SELECT ains.register_agent('$_', capabilities => '{rare}', heartbeat_timeout => '3 s')")
  for qw(silent waiting);
$s->query("SELECT ains.enqueue('rare')");
$s->query("SELECT count(*) FROM ains.claim('waiting', lease => '3 s')");
$waiter = sleeper("CALL ains.wait_for_task('waiting', '1 min')");
eventually($s, "SELECT agent_status FROM ains.agents WHERE agent_id = 'silent'", 'DEAD',
	'a silent agent dies');
eventually($s, "SELECT clock_timestamp() - registered_at > '8 s' FROM ains.agents WHERE agent_id = 'silent'",
	't', 'much later');
is($s->query("SELECT agent_status, active_tasks
		FROM ains.agents WHERE agent_id = 'waiting'"),
	'AVAILABLE|1', 'one that waits is alive, and keeps its lease');
$waiter->hang_up;

# ----------------------------------------------------------------------
note 'wait_for_result';

# A sleeper for the result of a new task; returns it, the task and its token.
sub asked
{
	my ($call) = @_;
	my $id = $s->query("SELECT ains.enqueue('work')");
	my ($claimed, $lease) = take_all();

	die 'another task than ours' unless $claimed == $id;
	return (sleeper($call // "CALL ains.wait_for_result($id)"), $id, $lease);
}

($waiter, $task, $token) = asked();
is( $s->query('SELECT backend_xmin IS NULL, backend_xid IS NULL FROM pg_stat_activity WHERE pid = '
			. $waiter->pid),
	't|t', 'holds no snapshot and no transaction id');
$other = AinsTest::Session->new($node);
$other->query("BEGIN; SELECT ains.complete($task, $token, '{\"answer\": 42}')");
sleeps_on($waiter, 'complete that is not committed');
$other->query('COMMIT');
woken($waiter, 'completed', 'COMPLETED|{"answer": 42}');
is($s->query("CALL ains.wait_for_result($task)"), 'COMPLETED|{"answer": 42}', 'asked afterwards');

($waiter, $task, $token) = asked();
$s->query("SELECT ains.fail($task, $token, 'bad', retryable => true)");
sleeps_on($waiter, 'to be tried again');
take_all();
$token = $s->query("SELECT lease_token FROM ains.task WHERE task_id = $task");
$s->query("SELECT ains.fail($task, $token, 'bad', retryable => false)");
woken($waiter, 'failed', 'FAILED|');

($waiter, $task, $token) = asked();
$s->query("SELECT ains.cancel($task)");
sleeps_on($waiter, 'cancel requested');
$s->query("SELECT ains.release($task, $token)");
woken($waiter, 'cancelled', 'CANCELLED|');

$task = $s->query("SELECT ains.enqueue('nobody does it', expires_at => clock_timestamp() + '700 ms')");
$waiter = sleeper("CALL ains.wait_for_result($task)");
woken($waiter, 'expired', 'EXPIRED|');

($waiter, $task, $token) = asked();
my $second = sleeper("CALL ains.wait_for_result($task)");
my $bystander = sleeper("CALL ains.wait_for_task('w2')");
$s->query("SELECT ains.complete($task, $token, to_jsonb(repeat('x', 1000000)))");
for ($waiter, $second)
{
	ok($_->ready($at_once), 'all who wait for a task are woken');
	is(length $_->result->{rows}[0][1], 1000002, 'large result');
}
sleeps_on($bystander, 'who waits for a task to do');
$bystander->hang_up;

# One who vanishes, and one who is cancelled, harm nobody.
($waiter, $task, $token) = asked();
$second = sleeper("CALL ains.wait_for_result($task)");
$second->hang_up;
vanishes($s, $second->pid, 'client killed');
$second = sleeper("CALL ains.wait_for_result($task)");
$s->query('SELECT pg_cancel_backend(' . $second->pid . ')');
is($second->result->{code}, '57014', 'cancelled');
$s->query("SELECT ains.complete($task, $token)");
woken($waiter, 'the others', 'COMPLETED|');

$task = $s->query("SELECT ains.enqueue('work')");
is($s->query("CALL ains.wait_for_result($task, '100 ms')"), 'PENDING|', 'the time is over');
take_all();
is($s->query("CALL ains.wait_for_result($task, '0')"), 'ACTIVE|', 'no wait');
$other->close;
$other = AinsTest::Session->new($node, options => '-c statement_timeout=500ms');
is($other->query("CALL ains.wait_for_result($task, '1 hour')"), 'ACTIVE|', 'before statement_timeout');
raises($other, "BEGIN; CALL ains.wait_for_result($task)", '25001', 'in a transaction block');
$other->query('ROLLBACK');
raises($other, 'CALL ains.wait_for_result(9007199254740991)', 'NS003', 'unknown task');
is( $other->try("DO \$\$ DECLARE st ains.task_status; r jsonb; BEGIN
	CALL ains.wait_for_result($task, '0', st, r); ASSERT st = 'ACTIVE' AND r IS NULL; END \$\$")->{code},
	undef, 'in PL/pgSQL');
$other->close;
$other = AinsTest::Session->new($node, user => 'stranger');
ok(defined $other->try("CALL ains.wait_for_result($task, '0')")->{code}, "somebody else's task");
$other->close;

done_testing();
