# metrics() as Prometheus' own promtool judges it, what it knows of waiting
# sessions, of more capabilities than there is room for and on a standby; and
# what pg_stat_activity shows of the workers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ains_node('main', streaming => 1, test_clock => 1, conf => <<EOS);
ains.max_capabilities = 4
ains.audit_interval = 1
EOS
my $s = AinsTest::Session->new($node);

# How pg_stat_activity calls our sleep of this name.
sub called { return 'Extension|' . ($node->pg_version >= 17 ? $_[0] : 'Extension') }

# A test: promtool has nothing to say. It also lints the names.
sub judged
{
	my ($session, $name) = @_;
	my $text = $session->query('SELECT ains.metrics()') . "\n";

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $ok = IPC::Run::run([ 'promtool', 'check', 'metrics' ], '<', \$text, '>&', \my $said);
	return ok($ok && $said eq '', "promtool: $name") || diag($said);
}

sub sample
{
	my ($session, $name, $labels) = @_;
	return $session->query("SELECT value FROM ains.metric_samples() WHERE name = '$name' AND labels = '" . ($labels // '{}') . "'");
}

judged($s, 'a server that did nothing yet');

# ----------------------------------------------------------------------
# A server at work
# ----------------------------------------------------------------------

$s->query("SELECT ains.register_agent('a', 'crawler', capabilities => ARRAY['x', E'say \"hi\" \\\\ \\u2028'])");
$s->query("SELECT ains.enqueue('x') FROM generate_series(1, 20)");
$s->query("SELECT ains.enqueue(E'say \"hi\" \\\\ \\u2028') FROM generate_series(1, 20)");
$s->query("SELECT count(ains.complete(task_id, lease_token)) FROM ains.claim('a', 10)");
$s->query("SELECT count(ains.fail(task_id, lease_token, 'x', retryable => false)) FROM ains.claim('a', 10)");
eventually($s, "SELECT sum(value) FROM ains.metric_samples() WHERE name = 'ains_tasks_in_queue'", '20', 'the sweeper has counted');
judged($s, 'tasks in all states, and names that have to be escaped');
is(sample($s, 'ains_sweeper_running') . sample($s, 'ains_launcher_running'), '11', 'the workers run');
is($s->query("SELECT sum(value) FROM ains.metric_samples() WHERE name ~ '^ains_tasks_(completed|failed)_total'"), '20', 'what ended is counted');

my $w = AinsTest::Session->new($node);
$s->query("SELECT ains.register_agent('idle', capabilities => '{nothing}')");
$w->send("CALL ains.wait_for_task('idle', '1 hour')");
eventually($s, "SELECT value FROM ains.metric_samples() WHERE name = 'ains_waiters'", '1', 'who waits is counted');
eventually($s, 'SELECT state, wait_event_type, wait_event FROM pg_stat_activity WHERE pid = ' . $w->pid,
	'active|' . called('AinsWait'), 'and pg_stat_activity says for what');
$s->query("SELECT ains.enqueue('nothing')");
$w->result;
is(sample($s, 'ains_waiters'), '0', 'and is no more');

# ----------------------------------------------------------------------
# More capabilities than there is room for
# ----------------------------------------------------------------------

$s->query("SELECT ains.enqueue('many' || n) FROM generate_series(1, 10) n");
judged($s, 'more capabilities than counters');
is(sample($s, 'ains_tasks_created_total', '{"capability": ""}'), '9', 'they share a name that is empty');
is($s->query("SELECT count(*) FROM ains.metric_samples() WHERE name = 'ains_tasks'"), '0', 'what is not known has no sample');
is($s->query("SELECT status, detail FROM ains.check_health() WHERE check_name = 'oldest_pending'"),
	'degraded|There are more capabilities than the 4 that shared memory counts.', 'and health() says so');

# ----------------------------------------------------------------------
# What pg_stat_activity shows
# ----------------------------------------------------------------------

for (['ains launcher', 'AinsLauncherMain'], ['ains sweeper', 'AinsSweeperMain'])
{
	my ($type, $event) = @$_;
	eventually($s, "SELECT state, wait_event_type, wait_event, query ~ '^ains: ' FROM pg_stat_activity WHERE backend_type = '$type'",
		'idle|' . called($event) . '|t', "the $type sleeps, and says what it did");
}

# DROP DATABASE, which waits for a sweeper that does not end yet
$s->query('CREATE DATABASE other TEMPLATE template0');
$node->safe_psql('other', 'CREATE EXTENSION ains');
my $slow = sweeper_pid($s, 'other');
my $drop = AinsTest::Session->new($node);
kill 'STOP', $slow;
$drop->send('DROP DATABASE other');
eventually($s, 'SELECT state, wait_event_type, wait_event FROM pg_stat_activity WHERE pid = ' . $drop->pid,
	'active|' . called('AinsClearDatabase'), 'DROP DATABASE waits for its sweeper');
kill 'CONT', $slow;
is($drop->result->{code}, undef, 'which ends');
$drop->close;

# a sweep of several batches, and one that waits
my $lock = AinsTest::Session->new($node);
$s->query("SELECT ains.enqueue_batch('x', (SELECT jsonb_agg(n) FROM generate_series(1, 2500) n), run_at => ains_internal.clock_now() + '1 hour')");
$lock->query('BEGIN; LOCK TABLE ains.agent IN ACCESS EXCLUSIVE MODE');
$s->query("SELECT ains_internal.advance_clock('1 hour')");
eventually($s, "SELECT state, wait_event_type, query ~ '^ains: [a-z ]+\$' FROM pg_stat_activity WHERE backend_type = 'ains sweeper'",
	'active|Lock|t', 'a step that waits for a lock is seen');
# a later step has to wait, too, so that it can be seen how far it has come
my $later = AinsTest::Session->new($node);
$later->query('BEGIN; LOCK TABLE ains.run_tally IN ACCESS EXCLUSIVE MODE');
$lock->query('COMMIT');
eventually($s, "SELECT query ~ '; so far .* [12][0-9]{3} tasks due' FROM pg_stat_activity WHERE backend_type = 'ains sweeper'",
	't', 'and how far a long sweep has come');
$later->query('COMMIT');
eventually($s, "SELECT count(*) FROM ains.task WHERE status = 'SCHEDULED'", '0', 'until it is through');

# a day of history that somebody reads
my $today = $s->query("SELECT to_char(ains_internal.clock_now() AT TIME ZONE 'UTC', 'YYYYMMDD')");
my $first = $s->query("SELECT min(relname) FROM pg_class WHERE relname ~ '^task_history_[0-9]{8}\$'");
$lock->query("BEGIN; SELECT count(*) FROM ains.$first");
$s->query("SELECT ains_internal.advance_clock('9 days')");
eventually($s, "SELECT query FROM pg_stat_activity WHERE backend_type = 'ains sweeper' AND query ~ 'dropping'",
	"ains: dropping $first", 'which day of history is being dropped is seen');
$lock->query('COMMIT');
eventually($s, "SELECT value > 0 FROM ains.metric_samples() WHERE name = 'ains_history_partitions_dropped_total'", 't', 'and then it is counted');

# ----------------------------------------------------------------------
# A standby
# ----------------------------------------------------------------------

$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
my $r = AinsTest::Session->new($standby);
judged($r, 'a standby');
is($r->query("SELECT string_agg(DISTINCT name, ' ' ORDER BY name) FROM ains.metric_samples()"),
	'ains_application_info ains_events_added_total ains_events_published_total ains_health_status'
	  . ' ains_history_partitions ains_history_partitions_ahead ains_schedules ains_schedules_failing'
	  . ' ains_schedules_overdue ains_webhook_events_behind ains_webhooks', 'a standby has samples of what tables say');
is($r->query("SELECT ains.health() - 'version'"), '{"live": true, "ready": false, "status": "healthy", "reasons": [], "standby": true}', 'and is healthy, but takes no tasks');
is($r->query("SELECT string_agg(check_name, ' ') FROM ains.check_health()"), 'server wraparound', 'with the checks that it can answer');

done_testing();
