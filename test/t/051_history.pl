# The shelves of history: made ahead and dropped while somebody reads and
# others work, and what happens when the sweeper was away for a month.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use Test::More;

my $node = ains_node('main', test_clock => 1);
my $s = AinsTest::Session->new($node);
my $slow = 0;

sub advance { return $s->query("SELECT ains_internal.advance_clock('$_[0]')") }

# Does a task; remembers how long complete() took at most.
sub do_task
{
	my ($session, $more) = @_;

	$session->query("SELECT ains.register_agent('a', capabilities => '{work,gone}')");
	$session->query("SELECT ains.enqueue('work')");
	my ($task, $token) = split /\|/, $session->query("SELECT task_id, lease_token FROM ains.claim('a')");
	my $began = now();
	$session->query("SELECT ains.complete($task, $token)");
	$slow = now() - $began if now() - $began > $slow;
	return $task;
}

sub shelves
{
	return $s->query("SELECT string_agg(right(inhrelid::regclass::text, 8), ' ' ORDER BY inhrelid::regclass::text)
		FROM pg_inherits WHERE inhparent = 'ains.task_history'::regclass") // '';
}

# Today and the days around it, as the names of shelves have them.
sub day
{
	return $s->query("SELECT to_char(ains_internal.clock_now() AT TIME ZONE 'UTC' + ($_[0]) * interval '1 day', 'YYYYMMDD')");
}
sub days { return join ' ', map { day($_) } @_ }

# Not at midnight: a test's day must not end in the middle of it.
my $hour = $s->query("SELECT extract(hour FROM ains_internal.clock_now() AT TIME ZONE 'UTC')");
advance('2 hours') if $hour == 23;

# ----------------------------------------------------------------------
note 'the first days';

$s->query('SELECT ains.sweep()');
is(shelves(), '', 'no shelf before there is anything to keep');
my $first = do_task($s);
is($s->query("SELECT status FROM ains.tasks WHERE task_id = $first"), 'COMPLETED', 'the first task is kept');
$s->query('SELECT ains.sweep()');
is(shelves(), days(0 .. 7), 'seven shelves ahead');
my $counted = sub { $s->query("SELECT count(*) FROM pg_inherits WHERE inhparent = 'ains.attempt'::regclass") };
is($counted->(), '8', 'as many for attempts');

advance('1 day');
eventually($s, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'ains.task_history'::regclass", '9',
	'the sweeper makes one more each day');
is(shelves(), days(-1 .. 7), 'the right one');
my $second = do_task($s);
is( $s->query("SELECT tableoid::regclass FROM ains.task_history WHERE task_id = $second"),
	'ains.task_history_' . day(0), 'a task is on the shelf of its day');
$s->query("SELECT ains.configure_capability('gone', keep_history => false)");
$s->query("SELECT ains.enqueue('gone')");
my ($gone) = $s->query("SELECT task_id FROM ains.claim('a', capabilities => '{gone}')");
$s->query("SELECT ains.complete($gone, lease_token) FROM ains.task WHERE task_id = $gone");
raises($s, "SELECT ains.get_task($gone)", 'NS003', 'keep_history => false keeps nothing');

# ----------------------------------------------------------------------
note 'a reader';

# Holds all shelves open: the table, and the view that users see.
my @readers = map { AinsTest::Session->new($node) } 1 .. 2;
$readers[0]->query('BEGIN; DECLARE c CURSOR FOR SELECT task_id FROM ains.task_history; FETCH 1 FROM c');
$readers[1]->query('BEGIN; DECLARE c CURSOR FOR SELECT task_id FROM ains.tasks; FETCH 1 FROM c');

my $worker = AinsTest::Session->new($node);
do_task($worker);
$slow = 0;
for (2 .. 7)
{
	advance('1 day');
	do_task($worker) for 1 .. 5;
}
$s->query('SELECT ains.sweep()');
is(shelves(), days(-7 .. 7), 'shelves are attached while somebody reads');

# Past retention: drops are tried again and again, by hand too, while we work.
advance('1 day');
my $tries = 0;
for (1 .. 20)
{
	my $sweep = AinsTest::Session->new($node);
	$sweep->send('SELECT partitions_dropped FROM ains.sweep()');
	do_task($worker) for 1 .. 5;
	$tries++ if $sweep->result->{rows}[0][0] eq '0';
	$sweep->close;
}
is($tries, 20, 'nothing is dropped while somebody reads');
is(shelves(), days(-8 .. 7), 'all are there');
note(sprintf 'the slowest complete() took %.0f ms', $slow * 1000);
is($readers[0]->query('FETCH ALL FROM c'), $second, 'the reader reads on, what was there when he began');

$_->query('COMMIT') for @readers;
advance('61 s');
eventually($s, "SELECT to_regclass('ains.task_history_" . day(-8) . "') IS NULL", 't', 'the drop is retried when they are done');
is(shelves(), days(-7 .. 7), 'and only what is past retention went');
raises($s, "SELECT ains.get_task($first)", 'NS003', 'with its tasks');
is($s->query("SELECT status FROM ains.get_task($second)"), 'COMPLETED', 'but nothing else');
is($counted->(), '15', 'attempts likewise');

# A sweep in a transaction block would hold its lock for as long as that.
advance('1 day');
is($worker->query('BEGIN; SELECT partitions_dropped FROM ains.sweep()'), '0', 'nothing is dropped in a transaction block');
$worker->query('ROLLBACK');

# ----------------------------------------------------------------------
note 'the sweeper away for a month';

advance('1 s');
eventually($s, "SELECT to_regclass('ains.task_history_" . day(7) . "') IS NOT NULL", 't', 'the last shelf before');
my $last = day(7);
$node->append_conf('postgresql.conf', "ains.databases = 'nowhere'");
$node->reload;
eventually($s, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ains sweeper'", '0', 'it goes');
my %done;
$slow = 0;
for my $day (1 .. 31)
{
	advance('1 day');
	$done{$day} = do_task($s);
}
is($s->query('SELECT max(right(tableoid::regclass::text, 8)) FROM ains.task_history'), $last, 'the last shelf takes it all');
is( $s->query("SELECT count(*), count(DISTINCT finished_at::date) FROM ains.task_history WHERE finished_at > ains_internal.clock_now() - interval '30 days 12 hours'"),
	'31|31', 'each with its own time');
is($s->query("SELECT count(*) FROM ains.tasks WHERE task_id IN (" . join(',', values %done) . ") AND status = 'COMPLETED'"),
	'31', 'and all can be seen');
my ($failed) = $s->query("SELECT ains.enqueue('work')");
$s->query("SELECT ains.fail(task_id, lease_token, 'no', retryable => false) FROM ains.claim('a')");
is($s->query("SELECT ains.retry($failed)"), $failed, 'retry works too');
my ($again, $token) = split /\|/, $s->query("SELECT task_id, lease_token FROM ains.claim('a')");
$s->query("SELECT ains.complete($again, $token)");

$node->append_conf('postgresql.conf', "ains.databases = ''");
$node->reload;
sweeper_pid($s) or die 'no sweeper';
eventually($s, "SELECT to_regclass('ains.task_history_" . day(7) . "') IS NOT NULL", 't', 'it is back: shelves ahead');
$s->query('SELECT ains.sweep()');
my $today = do_task($s);
is($s->query("SELECT tableoid::regclass FROM ains.task_history WHERE task_id = $today"), 'ains.task_history_' . day(0),
	'today is on its own shelf');
like(shelves(), qr/\b$last\b/, 'the overfull shelf is kept for its youngest tasks');
is($s->query("SELECT status FROM ains.get_task($done{31})"), 'COMPLETED', 'those of the last days are there');
advance('6 days');
$s->query('SELECT ains.sweep()');
is($s->query("SELECT status FROM ains.get_task($done{31})"), 'COMPLETED', 'for as long as retention says');
advance('2 days');
eventually($s, "SELECT to_regclass('ains.task_history_$last') IS NULL", 't', 'then it goes');

# ----------------------------------------------------------------------
note 'time goes back';

$s->query("SELECT ains_internal.step_wall_clock('-3 days')");
my $back = do_task($s);
is($s->query("SELECT status FROM ains.get_task($back)"), 'COMPLETED', 'a task ends three days ago');
$s->query("SELECT ains_internal.step_wall_clock('-60 days')");
$back = do_task($s);
is($s->query("SELECT status FROM ains.get_task($back)"), 'COMPLETED', 'or two months');
$s->query("SELECT ains_internal.step_wall_clock('200 days')");
$back = do_task($s);
is($s->query("SELECT status FROM ains.get_task($back)"), 'COMPLETED', 'or half a year ahead');
$s->query('SELECT ains.sweep()');
is($s->query("SELECT to_regclass('ains.task_history_" . day(7) . "') IS NOT NULL"), 't', 'and there are shelves then');
is($s->query("SELECT status FROM ains.get_task($back)"), 'COMPLETED', 'where it stays');

# ----------------------------------------------------------------------
note 'retention is a setting';

$node->append_conf('postgresql.conf', "ains.retention = '2d'");
$node->reload;
poll(sub { $s->query("SELECT current_setting('ains.retention')::interval = '2 days'") eq 't' }) or die 'no reload';
advance('1 day');
my $kept = do_task($s);
advance('2 days');
$s->query('SELECT ains.sweep()');
is($s->query("SELECT status FROM ains.get_task($kept)"), 'COMPLETED', 'two days: kept');
advance('1 day');
eventually($s, "SELECT count(*) FROM ains.task_history WHERE task_id = $kept", '0', 'three days: gone');

# ----------------------------------------------------------------------
note 'several sweep at once';

my @sweeps = map { AinsTest::Session->new($node) } 1 .. 4;
my @errors;
for (1 .. 20)
{
	do_task($s);
	advance('1 day');
	$_->send('SELECT ains.sweep()') for @sweeps;
	push @errors, grep { defined } map { $_->result->{code} } @sweeps;
}
is("@errors", '', 'none of them fails, whoever drops the shelf');

done_testing();
