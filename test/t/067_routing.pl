# Tasks that are assigned to an agent, and min_trust, with a sweeper: whoever
# waits gets them as soon as he may.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use Test::More;

my $node = ains_node('main', test_clock => 1);
my $s = AinsTest::Session->new($node);
my $waits = AinsTest::Session->new($node);

sub advance { return $s->query("SELECT ains_internal.advance_clock('$_[0]')") }

sub register
{
	my ($agent, $timeout) = @_;
	return $s->query("SELECT 1 FROM ains.register_agent('$agent', capabilities => '{work}', heartbeat_timeout => '$timeout')");
}
sub assigned { return $s->query("SELECT ains.enqueue('work', agent_id => 'a')") }
sub claim { return $s->query("SELECT string_agg(task_id::text, ' ' ORDER BY task_id) FROM ains.claim('$_[0]', 10)") }

# Until b, who waits, is told; then b gets it, and completes it.
sub b_gets
{
	my ($task, $what) = @_;

	is(AinsTest::Session::rows($waits->result), 't', "$what: who waits is told");
	is(claim('b'), $task, "$what: and gets it");
	$s->query("SELECT ains.complete(task_id, lease_token) FROM ains.task WHERE agent_id = 'b'");
	return;
}

# b waits before anything happens.
sub b_sleeps
{
	my $pid = $waits->pid;

	$waits->send("CALL ains.wait_for_task('b', '1 h')");
	eventually($s, "SELECT state = 'active' AND wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid",
		't', 'b waits');
	return;
}

register('a', '30 s');
register('b', '10 h');

# a death
my $task = assigned();
b_sleeps();
is(claim('b'), '', 'it is not for b');
advance('31 s');
b_gets($task, 'a died');
is($s->query("SELECT agent_status FROM ains.agents WHERE agent_id = 'a'"), 'DEAD', 'it did');

# drained and stopped
for my $order ('drain', 'stop')
{
	register('a', '10 h');
	$task = assigned();
	b_sleeps();
	$s->query("SELECT 1 FROM ains.${order}_agent('a')");
	b_gets($task, "$order");
}

# withdrawn
register('a', '10 h');
$task = assigned();
b_sleeps();
$s->query("SELECT ains.withdraw_capability('a', 'work')");
b_gets($task, 'withdrawn');

# many: more than a batch
register('a', '10 h');
$s->query("SELECT count(ains.enqueue('work', agent_id => 'a')) FROM generate_series(1, 2500)");
$s->query("SELECT 1 FROM ains.drain_agent('a')");
eventually($s, "SELECT count(*) FROM ains.tasks WHERE finished_at IS NULL AND assigned_to IS NULL", '2500', 'all of them are returned');
is($s->query('SELECT ains_internal.check_ready_set()'), 't', 'the ready set is sound');
is($s->query("SELECT count(*) FROM ains.claim('b', 1000)") + $s->query("SELECT count(*) FROM ains.claim('b', 1000)")
	+ $s->query("SELECT count(*) FROM ains.claim('b', 1000)"), 2500, 'and can be claimed');
$s->query("SELECT count(ains.cancel(task_id)), count(ains.fail(task_id, lease_token, 'x')) FROM ains.task WHERE agent_id = 'b'");

# who waits is told that he is trusted
my $trusted = $s->query("SELECT ains.enqueue('work', min_trust => 1)");
$s->query("SELECT ains.adjust_trust('b', -1, 'less')");
b_sleeps();
$s->query("SELECT ains.adjust_trust('b', 1, 'more')");
b_gets($trusted, 'trusted');

# after a crash it is all as it was
register('a', '10 h');
my $low = $s->query("SELECT ains.enqueue('work', min_trust => 0.6)");
$task = assigned();
$s->query("SELECT ains.adjust_trust('a', -1, 'less'), ains.adjust_trust('a', 0.5, 'more')");
$node->stop('immediate');
$node->start;
$_ = AinsTest::Session->new($node) for $s, $waits;
is($s->query("SELECT agent_id FROM ains.preview_route('work', min_trust => 0.6)"), 'b', 'after a crash: b is trusted');
is(claim('a'), $task, 'a gets what is assigned to it, and not the other');
is(claim('b'), $low, 'b gets that');

done_testing();
