# Rows that ains did not write itself: prepared transactions, DML by the owner
# of the tables, restores while the sweeper runs, logical replication. Each is
# refused, or noticed within ains.audit_interval.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ains_node('main', test_clock => 1, conf => <<EOS);
max_prepared_transactions = 5
wal_level = logical
max_wal_senders = 5
max_replication_slots = 5
max_worker_processes = 20
ains.audit_interval = 1
EOS
my $s = AinsTest::Session->new($node);

sub advance { return $s->query("SELECT ains_internal.advance_clock('$_[0]')") }

# Until the code returns true, while audits come sooner than the time passes.
sub soon { my ($code) = @_; return poll(sub { advance('1 s'); $code->() }) }

# A test: the query returns what is expected after an audit or two.
sub becomes
{
	my ($query, $expected, $name) = @_;
	my $last = '';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(soon(sub { ($last = $s->query($query)) eq $expected }), $name)
	  || diag("$query\nreturns: $last\nexpected: $expected");
}

sub register { return $s->query("SELECT ains.register_agent('$_', capabilities => '{work}', heartbeat_timeout => '1 day')") for @_ }

sub status_of { return $s->query("SELECT status FROM ains.tasks WHERE task_id = $_[0]") }

# Rows of ains.task that the owner writes; `what` stands for columns and values.
sub insert
{
	my ($session, $count, %what) = @_;
	my %row = (rank => 'extract(epoch FROM now()) * 1000000', status => "'PENDING'", priority => 5,
		run_at => 'now()', created_at => 'now()', enqueued_by => 'current_user::regrole', payload => "'{}'",
		capability => "'work'", lane_id => "(SELECT lane_id FROM ains.lane WHERE capability = 'work')", %what);
	my @columns = sort keys %row;

	return $session->query('WITH made AS (INSERT INTO ains.task (' . join(', ', @columns) . ') SELECT '
		  . join(', ', @row{@columns}) . " FROM generate_series(1, $count) RETURNING task_id) SELECT min(task_id) FROM made");
}

# A test: so many tasks can be claimed, by and by, each once. They are completed.
sub claimable
{
	my ($session, $agent, $count, $name) = @_;
	my %times;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	soon(
		sub {
			my @claimed = map { [ split /\|/ ] } split /\n/, $session->query("SELECT task_id, lease_token, capability FROM ains.claim('$agent', 1000)");
			die "a claim of nothing\n" if grep { @$_ < 3 } @claimed;
			$times{ $_->[0] }++ for @claimed;
			$session->query("SELECT count(*) FROM ains.complete_batch('{" . join(',', map { $_->[0] } @claimed)
				  . "}', '{" . join(',', map { $_->[1] } @claimed) . "}')") if @claimed;
			return keys %times >= $count;
		});
	is(scalar keys %times, $count, "$name: all of them are claimed");
	is(scalar(grep { $_ > 1 } values %times), 0, "$name: none of them twice");
	return;
}

# The lane is known to the end, so that no claim asks the index.
sub nothing_claimable
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($s->query("SELECT count(*) FROM ains.claim('a', 1000)"), '0', $name);
}

register('a');
nothing_claimable('at first');

# ----------------------------------------------------------------------
note 'two-phase commit';

my ($task, $held, $token, $result);
$held = $s->query("SELECT ains.enqueue('work')");
$token = $s->query("SELECT lease_token FROM ains.claim('a', lease => '1 hour')");
for my $call ("SELECT ains.enqueue('work')", "SELECT ains.complete($held, $token)", "SELECT ains.fail($held, $token, 'x')",
	"SELECT ains.release($held, $token)", "SELECT ains.register_agent('b')", "SELECT ains.stop_agent('a')",
	"SELECT ains.cancel($held)", "SELECT ains.pause('work')", 'SELECT ains.sweep()', 'SELECT ains.rescan()')
{
	$s->query("BEGIN; $call");
	$result = raises($s, "PREPARE TRANSACTION 'p'", '0A000', "prepared after $call");
	$s->query('ROLLBACK');
}
like($result->{hint}, qr/COMMIT/, 'it says what to do instead');
is($s->query('SELECT count(*) FROM pg_prepared_xacts'), '0', 'nothing is prepared');
is($s->query("SELECT status, lease_token FROM ains.task"), "ACTIVE|$token", 'nothing has changed');
$task = $s->query("SELECT ains.enqueue('work')");
$s->query("BEGIN; SELECT ains.claim('a')");
raises($s, "PREPARE TRANSACTION 'p'", '0A000', 'prepared after a claim');
is($s->query("SELECT task_id FROM ains.claim('a')"), $task, 'what it had claimed can be claimed');
$s->query("BEGIN; SELECT ains.release(task_id, lease_token) FROM ains.task WHERE task_id = $task; SAVEPOINT a");
raises($s, "PREPARE TRANSACTION 'p'", '0A000', 'prepared after a release and a savepoint');
$s->query('ROLLBACK');
# What has no effect outside of tables may be prepared.
$s->query("BEGIN; SELECT ains.heartbeat('a'); SELECT ains.extend_lease($held, $token); PREPARE TRANSACTION 'p'");
nothing_claimable('while the row of a held task is locked by a prepared transaction');
$s->query("COMMIT PREPARED 'p'");
$s->query("SELECT ains.complete(task_id, lease_token) FROM ains.task");
is($s->query('SELECT count(*) FROM ains.task'), '0', 'and what was held can be completed');

# The owner prepares what ains does not see.
$s->query('BEGIN');
insert($s, 3);
$s->query("PREPARE TRANSACTION 'p'");
nothing_claimable('rows that are only prepared');
$s->query("COMMIT PREPARED 'p'");
claimable($s, 'a', 3, 'rows of a prepared transaction');

$task = $s->query("SELECT min(t) FROM ains.enqueue_batch('work', '[1, 2, 3]') t");
$s->query("BEGIN; DELETE FROM ains.task WHERE task_id = $task; UPDATE ains.task SET payload = '1' WHERE task_id > $task; PREPARE TRANSACTION 'p'");
nothing_claimable('rows that a prepared transaction has locked');
$s->query("ROLLBACK PREPARED 'p'");
claimable($s, 'a', 3, 'rows that it let go');

# ----------------------------------------------------------------------
note 'tasks changed by hand';

insert($s, 5000);
claimable($s, 'a', 5000, 'inserted');
# Rows that are gone, or are no longer what they were.
my @ids = split /\n/, $s->query("SELECT ains.enqueue_batch('work', (SELECT jsonb_agg(i) FROM generate_series(1, 40) i))");
$s->query("DELETE FROM ains.task WHERE task_id % 2 = 0");
claimable($s, 'a', 20, 'half of them deleted');
nothing_claimable('and those are gone');

$s->query("SELECT ains.enqueue_batch('work', (SELECT jsonb_agg(i) FROM generate_series(1, 40) i))");
$s->query("UPDATE ains.task SET rank = rank + 1000000 * (task_id % 3 - 1)");
claimable($s, 'a', 40, 'ranked anew');

$s->query("SELECT ains.enqueue_batch('work', (SELECT jsonb_agg(i) FROM generate_series(1, 40) i))");
$s->query("TRUNCATE ains.task");
nothing_claimable('after a TRUNCATE');

# From PENDING to ACTIVE and back, which is nobody's lease in memory.
$s->query("SELECT ains.register_agent('one at a time', capabilities => '{work}', heartbeat_timeout => '1 day', max_active_tasks => 1)");
$task = $s->query("SELECT ains.enqueue('work')");
$s->query("UPDATE ains.task SET status = 'ACTIVE', agent_id = 'one at a time', incarnation = 1, lease_token = 1, lease = '1 hour', claimed_at = now(),
	attempt = 1, lease_expires_at = ains_internal.clock_now() + '1 hour', wake_at = ains_internal.clock_now() + '1 hour'");
becomes("SELECT active_tasks FROM ains.agents WHERE agent_id = 'one at a time'", '1', 'a lease by hand is counted');
my $next = $s->query("SELECT ains.enqueue('work')");
is($s->query("SELECT count(*) FROM ains.claim('one at a time')"), '0', 'the agent has enough to do');
$s->query("DELETE FROM ains.task WHERE task_id = $task");
becomes("SELECT active_tasks FROM ains.agents WHERE agent_id = 'one at a time'", '0', 'a lease deleted by hand is not');
claimable($s, 'one at a time', 1, 'so it can claim again');
$task = $s->query("SELECT ains.enqueue('work')");
$s->query("SELECT ains.claim('a', lease => '1 hour'); UPDATE ains.task SET status = 'PENDING', wake_at = NULL, lease_expires_at = NULL");
claimable($s, 'a', 1, 'PENDING again by hand');
becomes("SELECT active_tasks FROM ains.agents WHERE agent_id = 'a'", '0', 'and its first lease is not counted');

# Times that were past when they came.
insert($s, 10, status => "'SCHEDULED'", wake_at => "now() - interval '1 day'", run_at => "now() - interval '1 day'");
claimable($s, 'a', 10, 'SCHEDULED for long ago');
insert($s, 10, status => "'ACTIVE'", wake_at => "now() - interval '1 hour'", lease_expires_at => "now() - interval '1 hour'",
	agent_id => "'nobody'", lease_token => 1, incarnation => 1, lease => "'1 min'", claimed_at => "now() - interval '2 hours'", attempt => 1);
claimable($s, 'a', 10, 'ACTIVE with a lease that is over, of an agent that never was');

# ----------------------------------------------------------------------
note 'agents and capabilities changed by hand';

register('b');
$s->query("UPDATE ains.agent SET wanted = 'draining' WHERE agent_id = 'b'");
ok(soon(sub { ($s->try("SELECT ains.claim('b')")->{code} // '') eq 'NS005' }), 'drained by hand');
$s->query("UPDATE ains.agent SET wanted = 'accepting' WHERE agent_id = 'b'");
ok(soon(sub { !defined $s->try("SELECT ains.claim('b')")->{code} }), 'and resumed');

$task = $s->query("SELECT ains.enqueue('work')");
is($s->query("SELECT task_id FROM ains.claim('b', lease => '10 s')"), $task, 'b has a task');
$s->query("DELETE FROM ains.agent WHERE agent_id = 'b'");
ok(soon(sub { ($s->try("SELECT ains.heartbeat('b')")->{code} // '') eq 'NS002' }), 'a deleted agent is not known any more');
raises($s, "SELECT ains.claim('b')", 'NS002', 'and claims nothing');
advance('11 s');
claimable($s, 'a', 1, 'what it held');

$s->query("INSERT INTO ains.agent (agent_id, owner, incarnation, registered_at, last_seen_at) VALUES ('c', current_user::regrole, 1, now(), now())");
$s->query("INSERT INTO ains.agent_capability VALUES ('c', 'work')");
$s->query("SELECT ains.enqueue('work')");
claimable($s, 'c', 1, 'an agent that was inserted');
$s->query("DELETE FROM ains.agent_capability WHERE agent_id = 'c'");
$task = $s->query("SELECT ains.enqueue('other')");
my $waiter = AinsTest::Session->new($node);
$waiter->query('SELECT 1');
$waiter->send("CALL ains.wait_for_task('c')");
$s->query("INSERT INTO ains.agent_capability VALUES ('c', 'other')");
ok(soon(sub { $waiter->ready(0) }) && $waiter->result->{rows}[0][0] eq 't', 'it waits, and is offered more by hand: woken');
claimable($s, 'c', 1, 'what it was offered');

$s->query("UPDATE ains.capability SET paused = true WHERE capability = 'work'");
$s->query("SELECT ains.enqueue('work')");
ok(soon(sub { $s->query("SELECT count(*) FROM ains.explain_task((SELECT task_id FROM ains.task)) WHERE reason = 'paused'") eq '1' }), 'paused by hand');
$s->query("UPDATE ains.capability SET paused = false WHERE capability = 'work'");
claimable($s, 'a', 1, 'resumed by hand');

$s->query("SELECT ains.enqueue('work')");
$s->query("DELETE FROM ains.capability WHERE capability = 'work'");
becomes("SELECT count(*) FROM ains.capability WHERE capability = 'work'", '1', 'a deleted capability comes back');
claimable($s, 'a', 1, 'its tasks');
is($s->query('SELECT count(*) FROM ains.task'), '0', 'nothing is left over');
is($s->query('SELECT ains_internal.check_ready_set()'), 't', 'the ready set is sound');

# ----------------------------------------------------------------------
note 'a restore while the sweeper runs';

# With tasks whose time will have come, and many of each kind.
$s->query('CREATE DATABASE shop');
my $shop = AinsTest::Session->new($node, db => 'shop');
$shop->query('CREATE EXTENSION ains');
$shop->query("SELECT ains.register_agent('a', capabilities => '{work}', heartbeat_timeout => '1 day')");
$shop->query("SELECT count(*) FROM ains.enqueue_batch('work', (SELECT jsonb_agg(i) FROM generate_series(1, 3000) i))");
$shop->query("SELECT count(*) FROM ains.enqueue_batch('work', '[1, 2, 3]', run_at => ains_internal.clock_now() + '1 hour')");
$shop->query("SELECT count(*) FROM ains.claim('a', 10, lease => '1 min')");
$shop->query("SELECT ains.complete(task_id, lease_token) FROM ains.claim('a', 10)");
my $dump = PostgreSQL::Test::Utils::tempdir() . '/shop';
command_ok([ 'pg_dump', '-d', $node->connstr('shop'), '-Fc', '-f', $dump ], 'pg_dump');
# what is restored is not of this hour any more
advance('2 hours');
$s->query('CREATE DATABASE copy TEMPLATE template0');
command_ok([ 'pg_restore', '-j4', '-d', $node->connstr('copy'), $dump ], 'pg_restore -j4');
my $copy = AinsTest::Session->new($node, db => 'copy');
ok(sweeper_pid($copy, 'copy'), 'a sweeper runs there');
$copy->query("SELECT ains.register_agent('b', capabilities => '{work}', heartbeat_timeout => '1 day')");
claimable($copy, 'b', 2993, 'restored');
is($copy->query('SELECT count(*) FROM ains.task'), '0', 'restored: nothing is left over');

# Into a table that is in use, and known to be empty. (What history calls
# completed could not be completed once more on the same day.)
$copy->query("DELETE FROM ains.task_history WHERE status = 'COMPLETED'");
command_ok([ 'pg_restore', '-j4', '--data-only', '-n', 'ains', '-t', 'task', '-d', $node->connstr('copy'), $dump ],
	'pg_restore of the tasks alone');
claimable($copy, 'b', 2993, 'restored once more');
# pg_restore makes the tables of all days before it attaches the first. The
# sweeper must not be faster, but if nobody does it, it is its turn.
sub make_day
{
	my ($days) = @_;
	my $day = $copy->query("SELECT to_char(ains_internal.clock_now() AT TIME ZONE 'UTC' + '$days days', 'YYYYMMDD')");

	$copy->query("CREATE TABLE ains.task_history_$day (LIKE ains.task_history INCLUDING ALL, PRIMARY KEY (task_id, shelf))");
	return $day;
}

sub attached
{
	my ($day) = @_;

	$copy->query('SELECT ains.sweep()');
	return $copy->query("SELECT count(*) FROM pg_inherits WHERE inhrelid = 'ains.task_history_$day'::regclass");
}

my $day = make_day(8);
advance('1 day');
is(attached($day), '0', 'a day that a restore is about to attach');
$copy->query("ALTER TABLE ains.task_history ATTACH PARTITION ains.task_history_$day FOR VALUES FROM ('$day') TO ('$day'::date + 1)");
is(attached($day), '1', 'it does');
$day = make_day(8);
advance('1 day');
is(attached($day), '0', 'a day that nobody attaches');
advance('11 s');
is(attached($day), '1', 'the sweeper does');

$_->close for $copy, $shop;

# ----------------------------------------------------------------------
note 'logical replication';

$s->query("CREATE DATABASE $_") for qw(near far);
my %at = map { $_ => AinsTest::Session->new($node, db => $_) } qw(near far);
$_->query('CREATE EXTENSION ains') for values %at;
# Capabilities and lanes come first; what the tasks of the other side are of.
$_->query("SELECT ains.configure_capability('work')") for values %at;
$at{far}->query("SELECT ains.register_agent('f', capabilities => '{work}', heartbeat_timeout => '1 day'); SELECT ains.claim('f')");
$at{near}->query("SELECT ains.enqueue_batch('work', (SELECT jsonb_agg(i) FROM generate_series(1, 50) i))");
$at{near}->query("CREATE PUBLICATION tasks FOR TABLE ains.task");
# both are databases of one server: a slot that the command makes would wait for itself
$at{near}->query("SELECT pg_create_logical_replication_slot('tasks', 'pgoutput')");
$at{far}->query("CREATE SUBSCRIPTION tasks CONNECTION \$\$" . $node->connstr('near') . "\$\$ PUBLICATION tasks
	WITH (create_slot = false, slot_name = tasks)");
ok(poll(sub { $at{far}->query('SELECT count(*) FROM ains.task') eq '50' }), 'the tasks of before are copied');
$at{near}->query("SELECT ains.enqueue_batch('work', (SELECT jsonb_agg(i) FROM generate_series(1, 50) i), run_at => ains_internal.clock_now() + '1 min')");
$at{near}->query("SELECT ains.enqueue_batch('work', (SELECT jsonb_agg(i) FROM generate_series(1, 50) i))");
ok(poll(sub { $at{far}->query('SELECT count(*) FROM ains.task') eq '150' }), 'those of after follow');
$at{far}->query('ALTER SUBSCRIPTION tasks DISABLE; ALTER SUBSCRIPTION tasks SET (slot_name = NONE)');
$at{far}->query('DROP SUBSCRIPTION tasks');
advance('1 min');
claimable($at{far}, 'f', 150, 'taken over');
$at{near}->query("SELECT ains.register_agent('n', capabilities => '{work}', heartbeat_timeout => '1 day')");
claimable($at{near}, 'n', 150, 'where they came from they are still there');
ok(poll(sub { !defined $at{near}->try("SELECT pg_drop_replication_slot('tasks')")->{code} }), 'the slot is dropped');

done_testing();
