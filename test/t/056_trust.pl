# Trust is gathered in memory. After a crash the rows of the agents get from
# history what they did not have: the scores are those of a replay of it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use Test::More;

# no sweeper, so that nothing is written down but by sweeps of ours
my $node = ains_node('main', conf => "ains.databases = 'none'");
my $s = AinsTest::Session->new($node);

# What the ends of attempts make of trust, one after the other. The durations
# are of microseconds, so the quick ones are those with a timeout.
sub replay
{
	my %agent;
	my $ends = $s->query(<<'SQL');
		SELECT agent_id, outcome, timeout IS NOT NULL, extract(epoch FROM ended_at - started_at) FROM (
			SELECT agent_id, 'completed' AS outcome, timeout, claimed_at AS started_at, finished_at AS ended_at, lease_token
				FROM ains.task_history WHERE status = 'COMPLETED'
			UNION ALL
			SELECT agent_id, outcome, NULL, started_at, ended_at, lease_token FROM ains.attempt) e
		ORDER BY ended_at, lease_token
SQL
	for (split /\n/, $ends)
	{
		my ($id, $outcome, $timeout, $took) = split /\|/;
		my $a = $agent{$id} //= { score => 50, completed => 0, failed => 0, lost => 0 };

		if ($outcome eq 'completed')
		{
			$a->{completed}++;
			$a->{score} += $timeout eq 't' ? 5 : 2;
			$a->{average} = defined $a->{average} ? 0.7 * $a->{average} + 0.3 * $took : $took;
		}
		elsif ($outcome eq 'failed') { $a->{failed}++; $a->{score} -= 5 }
		else { $a->{lost}++; $a->{score} -= 3 }
		$a->{score} = 100 if $a->{score} > 100;
		$a->{score} = 0 if $a->{score} < 0;
	}
	return join "\n", map {
		my $a = $agent{$_};
		sprintf '%s|%.2f|%d|%d|%d|%.3f', $_, $a->{score} / 100, @$a{qw(completed failed lost)}, $a->{average} // 0
	} sort keys %agent;
}

sub rows
{
	return $s->query(<<'SQL');
		SELECT agent_id, to_char(trust_score, 'FM0.00'), tasks_completed, tasks_failed, tasks_lost,
			to_char(coalesce(extract(epoch FROM avg_duration), 0), 'FM9990.000')
		FROM ains.agent WHERE trust_until IS NOT NULL ORDER BY agent_id COLLATE "C"
SQL
}

# Each agent gets some tasks; most are completed, some fail or lose their lease.
sub work
{
	my ($tasks) = @_;

	for (1 .. $tasks)
	{
		my $id = 'agent' . int(rand 3);
		my $timeout = rand() < 0.5 ? "'1 h'" : 'NULL';

		$s->query("SELECT ains.enqueue('work', max_attempts => 1, timeout => $timeout)");
		my ($task, $token) = split /\|/, $s->query("SELECT task_id, lease_token FROM ains.claim('$id')");

		if (rand() < 0.7) { $s->query("SELECT ains.complete($task, $token)") }
		elsif (rand() < 0.7) { $s->query("SELECT ains.fail($task, $token, 'broken')") }
		else { register($id) }
	}
	return;
}

sub work_of_agent0
{
	$s->query("SELECT ains.enqueue('work', max_attempts => 1, timeout => '1 h')");
	return $s->query($_[0]);
}

sub register { return $s->query("SELECT 1 FROM ains.register_agent('$_[0]', capabilities => '{work}')") }

# How many ends of attempts are in the rows.
sub ends { return $s->query('SELECT sum(tasks_completed + tasks_failed + tasks_lost) FROM ains.agent') }

sub ends_of_history
{
	return $s->query("SELECT count(*) FROM (SELECT FROM ains.task_history WHERE status = 'COMPLETED'
		UNION ALL SELECT FROM ains.attempt) e");
}

sub crash
{
	$node->stop('immediate');
	$node->start;
	$s = AinsTest::Session->new($node);
	return;
}

seed();
register("agent$_") for 0 .. 2;

work(40);
$s->query('SELECT ains.sweep()');
is(rows(), replay(), 'written down by a sweep');

my $before = rows();
work(40);
is(rows(), $before, 'nothing is written down as tasks end');
crash();
is(rows(), $before, 'nor after a crash, until somebody sweeps');
work(20);
$s->query('SELECT ains.sweep()');
is(rows(), replay(), 'then the scores are those of a replay of history');
$s->query('SELECT ains.sweep()');
is(rows(), replay(), 'and nothing is counted twice');

crash();
$s->query('SELECT ains.sweep()');
is(rows(), replay(), 'nor after a crash with nothing to make up for');

# never below 0 and never above 1, across a crash
work_of_agent0("SELECT ains.fail(task_id, lease_token, 'x') FROM ains.claim('agent0')") for 1 .. 25;
crash();
work_of_agent0("SELECT ains.complete(task_id, lease_token) FROM ains.claim('agent0')") for 1 .. 25;
crash();
$s->query('SELECT ains.sweep()');
is(rows(), replay(), 'scores stay between 0 and 1');

# by hand: also comes after what a crash left behind
work(10);
crash();
my $adjusted = $s->query("SELECT ains.adjust_trust('agent1', 0.1, 'good')");
my ($replayed) = replay() =~ /^agent1\|([\d.]+)/m;
$replayed += 0.1;
$replayed = 1 if $replayed > 1;
cmp_ok(abs($adjusted - $replayed), '<', 0.0001, 'a change by hand comes after all that was before');

# a row that somebody has locked is left for the next time, and nobody waits:
# what memory has, and after a crash what history has
for my $crashes (0, 1)
{
	my $other;

	work(10);
	crash() if $crashes;
	my $was = $s->query("SELECT tasks_completed + tasks_failed + tasks_lost FROM ains.agent WHERE agent_id = 'agent2'");
	work(5);
	$other = AinsTest::Session->new($node);
	$other->query("BEGIN; SELECT FROM ains.agent WHERE agent_id = 'agent2' FOR UPDATE");
	$s->query('SELECT ains.sweep()');
	is($s->query("SELECT tasks_completed + tasks_failed + tasks_lost FROM ains.agent WHERE agent_id = 'agent2'"),
		$was, 'a row that is locked is left alone');
	$other->query('ROLLBACK');
	$s->query('SELECT ains.sweep()');
	is(ends(), ends_of_history(),
		'and gets everything later');
	$other->close;
}

# two that write: one waits for the other, and nothing is written twice
work(10);
my $first = AinsTest::Session->new($node);
$first->query("BEGIN; SELECT ains.adjust_trust('agent0', 0.1, 'first')");
$s->query('SELECT ains.sweep()');
$s->send("SELECT ains.adjust_trust('agent1', 0.1, 'second')");
ok(!$s->ready(0), 'a change by hand waits for another one');
$first->query('COMMIT');
ok(!defined $s->result->{code}, 'and comes after it');
$s->query('SELECT ains.sweep()');
is(ends(), ends_of_history(),
	'each end of an attempt counts once');
$first->close;

$node->stop;
done_testing();
