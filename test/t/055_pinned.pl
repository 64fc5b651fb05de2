# A sweep costs what is due, not what is dead: while a long transaction keeps
# dead rows from being removed, the sweeper does not walk them again and again.
# Counted in entries of indexes that were read, not in time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use Test::More;

my $node = ains_node('main', test_clock => 1, conf => <<EOS);
autovacuum = off
ains.audit_interval = 1
EOS
my $s = AinsTest::Session->new($node);

sub advance { return $s->query("SELECT ains_internal.advance_clock('$_[0]')") }

# Entries that anybody has read of the indexes of ains.task. The sweeper reports
# what it read before it naps.
sub reads
{
	$s->query('SELECT pg_stat_force_next_flush()');
	return $s->query("SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relid = 'ains.task'::regclass");
}

# Tasks that are scheduled, become due, are claimed and completed.
sub run_through
{
	my ($count, $lease) = @_;

	$s->query("SELECT ains.enqueue_batch('work', (SELECT jsonb_agg(i) FROM generate_series(1, $count) i), run_at => ains_internal.clock_now() + '10 s')");
	advance('11 s');
	poll(sub { $s->query("SELECT count(*) FROM ains.task WHERE status = 'SCHEDULED'") eq '0' }) or die 'they do not become due';
	for (1 .. $count / 1000)
	{
		$s->query("SELECT count(*) FROM (SELECT ains.complete_batch(array_agg(task_id), array_agg(lease_token))
			FROM ains.claim('a', 1000, lease => '$lease')) c");
	}
	is($s->query('SELECT count(*) FROM ains.task'), '0', "$count tasks ran through");
	return;
}

$s->query("SELECT ains.register_agent('a', capabilities => '{work}', heartbeat_timeout => '1 day')");
$s->query("SELECT ains.configure_capability('work', keep_history => false)");

my $old = AinsTest::Session->new($node);
$old->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM ains.task');

# Leases of different lengths, so that dead entries are ahead of live ones.
run_through(10_000, $_) for '1 hour', '5 min', '1 hour', '40 s';
cmp_ok(reads(), '>', 40_000, 'many entries are there to read');

sub one_more
{
	my $id = $s->query("SELECT ains.enqueue('work', run_at => ains_internal.clock_now() + '10 ms')");

	poll(sub { $s->query("SELECT status FROM ains.task WHERE task_id = $id") eq 'PENDING' }) or die 'it does not become due';
	$s->query("SELECT ains.complete(task_id, lease_token) FROM ains.claim('a')");
	$s->query('SELECT ains.sweep()');
	return;
}

# An audit walks them all, and the next one waits until that is paid for.
advance('30 s');
my $before = reads();
$s->query('SELECT ains.sweep()');
one_more();
cmp_ok(reads() - $before, '>', 40_000, 'an audit reads them');

# On a slow machine the next audits come in between: most rounds have none.
my @reads;
for (1 .. 31)
{
	$before = reads();
	one_more();
	push @reads, reads() - $before;
}
@reads = sort { $a <=> $b } @reads;
note("entries read by a round: @reads");
cmp_ok($reads[$#reads / 2], '<', 100, 'a sweep costs what is due');

# What was changed by hand is found all the same, when an audit is due again.
$s->query("INSERT INTO ains.task (rank, lane_id, status, priority, run_at, created_at, enqueued_by, capability, payload)
	SELECT 0, lane_id, 'PENDING', 5, now(), now(), current_user::regrole, 'work', '{}' FROM ains.lane WHERE capability = 'work'");
$s->query("INSERT INTO ains.task (rank, lane_id, status, priority, run_at, wake_at, created_at, enqueued_by, capability, payload)
	SELECT 0, lane_id, 'SCHEDULED', 5, now() - interval '1 hour', now() - interval '1 hour', now(), current_user::regrole, 'work', '{}' FROM ains.lane WHERE capability = 'work'");
advance('1 min');
eventually($s, "SELECT count(*) FROM ains.task WHERE status = 'PENDING'", '2', 'a time of long ago is seen');
poll(sub { $s->query("SELECT count(*) FROM ains.claim('a', 10)"); $s->query("SELECT count(*) FROM ains.task WHERE status = 'ACTIVE'") eq '2' });
is($s->query("SELECT count(*) FROM ains.task WHERE status = 'ACTIVE'"), '2', 'tasks that were made by hand are claimed');

done_testing();
