# Several databases of one server, with ains and without: what happens in one
# stays in it, although shared memory is one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use Test::More;

my $node = ains_node('main', test_clock => 1, extension => 0);
my $at_once = 8;
my $moment = 0.3;

$node->safe_psql('postgres', "CREATE DATABASE $_ TEMPLATE template0") for qw(one two none);
my ($one, $two) = map { AinsTest::Session->new($node, db => $_) } qw(one two);
my $none = AinsTest::Session->new($node, db => 'none');
$_->query('CREATE EXTENSION ains') for $one, $two;

# The same names everywhere; so are ids, to begin with.
for my $s ($one, $two)
{
	$s->query("SELECT ains.configure_capability('work', backoff => 'fixed', backoff_base => '0', jitter => 0)");
	$s->query("SELECT ains.register_agent('a', capabilities => '{work}')");
}

# ----------------------------------------------------------------------
note 'without the extension';

like($none->try('SELECT ains.enqueue($$work$$)')->{code}, qr/^(3F000|42883)$/, 'no functions');
is($none->query('SELECT 1'), '1', 'nothing else');
is($none->query("SELECT count(*) FROM pg_stat_activity WHERE datname = 'none' AND backend_type = 'ains sweeper'"),
	'0', 'no sweeper');
ok(sweeper_pid($none, $_), "a sweeper in $_") for qw(one two);

# ----------------------------------------------------------------------
note 'tasks';

my $task = $one->query("SELECT ains.enqueue('work', '{\"from\": 1}', unique_key => 'k')");
is($two->query("SELECT count(*) FROM ains.claim('a')"), '0', 'no claim of the other task');
is($two->query("SELECT ains.enqueue('work', '{\"from\": 2}', unique_key => 'k')"), $task, 'the same id');
my ($token1, $token2) = map { $_->query("SELECT lease_token FROM ains.claim('a')") } $one, $two;
isnt($token1, '', 'claimed here');
isnt($token2, '', 'claimed there');
is($one->query("SELECT payload FROM ains.tasks"), '{"from": 1}', 'each its own');
raises($one, "SELECT ains.complete($task, $token2)", 'NS001', 'the token of the other')
  if $token1 != $token2;
$two->query("SELECT ains.complete($task, $token2, '2')");
is($one->query("SELECT status FROM ains.tasks WHERE task_id = $task"), 'ACTIVE', 'completed there only');
is($one->query("SELECT active_tasks FROM ains.heartbeat('a')"), '1', 'held here');
is($two->query("SELECT active_tasks FROM ains.heartbeat('a')"), '0', 'not there');
$one->query("SELECT ains.cancel($task)");
is($two->query("SELECT cancel_requested FROM ains.heartbeat('a')"), '{}', 'a cancel is heard here only');
is($one->query("SELECT cancel_requested FROM ains.heartbeat('a')"), "{$task}", 'here');
$one->query("SELECT ains.release($task, $token1)");

# ----------------------------------------------------------------------
note 'waiters';

my ($wait1, $wait2) = map { AinsTest::Session->new($node, db => $_) } qw(one two);
for my $round (1 .. 3)
{
	$_->send("CALL ains.wait_for_task('a')") for $wait1, $wait2;
	poll(sub { $one->query("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Extension'
			AND pid IN (" . $wait1->pid . ', ' . $wait2->pid . ')') eq '2' }) or die 'they do not sleep';
	$one->query("SELECT ains.enqueue('work')");
	ok($wait1->ready($at_once), 'woken here');
	is($wait1->result->{rows}[0][0], 't', 'for a task');
	ok(!$wait2->ready($moment), 'not there');
	$two->query("SELECT ains.enqueue('work')");
	ok($wait2->ready($at_once), 'then there');
	is($wait2->result->{rows}[0][0], 't', 'for a task');
	$_->query("SELECT ains.complete(task_id, lease_token) FROM ains.claim('a', 10)") for $one, $two;
}

# The same task id.
my @ids = map { $_->query("SELECT ains.enqueue('work')") } $one, $two;
is($ids[0], $ids[1], 'ids are the same still');
$_->query("SELECT ains.claim('a')") for $one, $two;
$_->send("CALL ains.wait_for_result($ids[0])") for $wait1, $wait2;
ok(!$_->ready($moment), 'both wait for a result') for $wait1, $wait2;
$two->query("SELECT ains.complete(task_id, lease_token, '\"two\"') FROM ains.task");
ok($wait2->ready($at_once), 'woken there');
is($wait2->result->{rows}[0][1], '"two"', 'with the result');
ok(!$wait1->ready($moment), 'not here');
$one->query("SELECT ains.complete(task_id, lease_token, '\"one\"') FROM ains.task");
ok($wait1->ready($at_once), 'then here');
is($wait1->result->{rows}[0][1], '"one"', 'with the result');

# ----------------------------------------------------------------------
note 'agents and orders';

$one->query("SELECT ains.drain_agent('a')");
is($two->query("SELECT agent_status FROM ains.agents"), 'AVAILABLE', 'drained here only');
raises($one, "SELECT ains.claim('a')", 'NS005', 'here');
is($two->try("SELECT ains.claim('a')")->{code}, undef, 'not there');
$one->query("SELECT ains.resume_agent('a')");

$one->query("SELECT ains.pause('work')");
is($two->query("SELECT paused FROM ains.queue_stats() WHERE capability = 'work'"), 'f', 'paused here only');
$_->query("SELECT ains.enqueue('work')") for $one, $two;
is($one->query("SELECT count(*) FROM ains.claim('a')"), '0', 'nothing to claim here');
is($two->query("SELECT count(*) FROM ains.claim('a')"), '1', 'but there');
$two->query("SELECT ains.complete(task_id, lease_token) FROM ains.task");
$one->query("SELECT ains.resume('work')");

# The agent of one dies, its namesake does not. (One clock for all.)
$_->query("SELECT ains.claim('a')") for $one, $two;
$two->query("SELECT ains.enqueue('work')");
$two->query("SELECT ains.claim('a', lease => '1 hour')");
for (1 .. 6)
{
	$one->query("SELECT ains_internal.advance_clock('20 s')");
	$two->query("SELECT ains.heartbeat('a')");
}
eventually($one, 'SELECT agent_status FROM ains.agents', 'DEAD', 'dead here');
is($two->query('SELECT agent_status, active_tasks FROM ains.agents'), 'AVAILABLE|1', 'alive there, with its lease');
$one->query("SELECT ains.heartbeat('a')");

# A connection that ends is that of one of them.
my $tied = AinsTest::Session->new($node, db => 'one');
$tied->query("SELECT ains.attach_agent('a')");
my $held = $tied->query("SELECT task_id FROM ains.claim('a', lease => '1 hour')");
$tied->hang_up;
eventually($one, "SELECT status FROM ains.tasks WHERE task_id = $held", 'PENDING', 'taken back here');
is($two->query('SELECT active_tasks FROM ains.agents'), '1', 'not there');

# Registered there, unknown here.
$two->query("SELECT ains.register_agent('only two')");
raises($one, "SELECT ains.heartbeat('only two')", 'NS002', 'an agent of the other database');

# ----------------------------------------------------------------------
note 'one goes and comes';

$two->query("SELECT ains.complete(task_id, lease_token) FROM ains.task");
my $last = $two->query('SELECT max(lease_token) FROM ains.task_history');
$two->send("CALL ains.wait_for_task('a')");
ok(!$two->ready($moment), 'a waiter there');
$_->close for $one, $wait1, $tied;
$node->safe_psql('postgres', 'DROP DATABASE one');
ok(!$two->ready($moment), 'the other database was dropped: it waits on');
my $other = AinsTest::Session->new($node, db => 'two');
$other->query("SELECT ains.enqueue('work')");
ok($two->ready($at_once), 'and is woken');
$two->result;

$other->query('DROP EXTENSION ains CASCADE; CREATE EXTENSION ains');
raises($other, "SELECT ains.heartbeat('a')", 'NS002', 'created anew: no agent from before');
is($other->query('SELECT count(*) FROM ains.tasks'), '0', 'no task from before');
$other->query("SELECT ains.register_agent('a', capabilities => '{work}'); SELECT ains.enqueue('work')");
cmp_ok($other->query("SELECT lease_token FROM ains.claim('a')"), '>', $last, 'tokens are greater than before');
is($two->query("SELECT active_tasks FROM ains.heartbeat('a')"), '1', 'a session from before works in the new one');

$_->close for $two, $other, $wait2;
$node->safe_psql('postgres', 'CREATE DATABASE three TEMPLATE two');
my $three = AinsTest::Session->new($node, db => 'three');
is($three->query("SELECT active_tasks FROM ains.heartbeat('a')"), '1', 'a copy of a database has a copy of the lease');
$three->query("SELECT ains.enqueue('work')");
my $copied = $three->query("SELECT max(lease_token) FROM ains.task");
cmp_ok($three->query("SELECT lease_token FROM ains.claim('a')"), '>', $copied, 'and goes on with its own tokens');
ok(sweeper_pid($three, 'three'), 'and a sweeper');

done_testing();
