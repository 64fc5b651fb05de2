# A run of 10,000 tasks, ended by many clients, goes on after a crash and ends
# when its last task does. A task that works in batches, with a checkpoint
# between them, resumes after the last one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $tasks = 10_000;
my $clients = 16;
my $node = ains_node('main', conf => "restart_after_crash = on\nlog_statement = none");
my $s = AinsTest::Session->new($node);

# Kills a backend with SIGKILL, which makes the server restart.
sub crash
{
	my ($pid) = @_;
	my $log = -s $node->logfile;

	kill 'KILL', $pid;
	$node->wait_for_log(qr/all server processes terminated; reinitializing/, $log);
	wait_for_restart($node);
	$s = AinsTest::Session->new($node);
	return;
}

sub run_is { return $s->query("SELECT status, live, completed FROM ains.runs WHERE run_id = $_[0]") }

# ----------------------------------------------------------------------
# Each client is an agent that claims and completes one task at a time, in one
# transaction or two.

$s->query("SELECT count(ains.register_agent('agent' || n, capabilities => '{work}')) FROM generate_series(0, $clients - 1) n");
my $run = $s->query("SELECT ains.create_run('many', target => $tasks)");
$s->query("SELECT count(*) FROM ains.enqueue_batch('work', (SELECT jsonb_agg(n) FROM generate_series(1, $tasks) n), run_id => $run)");

my $at_once = PostgreSQL::Test::Utils::tempdir() . '/at_once.sql';
append_to_file($at_once, "SELECT ains.complete(task_id, lease_token) FROM ains.claim('agent' || :client_id);\n");
my $in_two = PostgreSQL::Test::Utils::tempdir() . '/in_two.sql';
append_to_file($in_two, <<'EOS');
SELECT coalesce(min(task_id), 0) AS task, coalesce(min(lease_token), 0) AS token FROM ains.claim('agent' || :client_id) \gset
\if :task
SELECT ains.complete(:task, :token);
\endif
EOS

# Starts the clients; they go on until they are killed.
sub start_clients
{
	our ($out, $err) = ('', '');

	return IPC::Run::start(
		[ 'pgbench', '-n', '-M', 'prepared', '-c', $clients, '-j', 2, '-t', 1_000_000,
			'-f', $at_once, '-f', $in_two, $node->connstr('postgres') ],
		'<', \undef, '>', \$out, '2>', \$err);
}

sub wait_until_completed
{
	my ($count) = @_;

	return poll(sub { $s->query("SELECT completed FROM ains.runs WHERE run_id = $run") >= $count });
}

my $clients_running = start_clients();
ok(wait_until_completed(2000), 'the clients are at work');
crash($s->query("SELECT pid FROM pg_stat_activity WHERE query LIKE '%ains.c%' AND pid <> pg_backend_pid() LIMIT 1") || die "no client: $main::err");
$clients_running->finish;

is($s->query("SELECT status FROM ains.runs WHERE run_id = $run"), 'RUNNING', 'after the crash it is not over');
is($s->query("SELECT live + completed FROM ains.runs WHERE run_id = $run"), $tasks, 'and no task is missing');
is($s->query("SELECT sum(total) = $tasks AND sum(completed) = (SELECT count(*) FROM ains.task_history)
	FROM ains.run_progress($run)"), 't', 'each that has ended is counted');

# a restart of the agents gives back what they held
$s->query("SELECT count(ains.register_agent('agent' || n, capabilities => '{work}')) FROM generate_series(0, $clients - 1) n");
$clients_running = start_clients();
ok(poll(sub { run_is($run) eq "COMPLETED|0|$tasks" }), 'the last task ends the run') or diag(run_is($run));
$clients_running->kill_kill;
is($s->query("SELECT count(DISTINCT task_id), count(*) FROM ains.task_history WHERE run_id = $run"), "$tasks|$tasks",
	'each task was completed once');
$s->query('SELECT ains.sweep()');
cmp_ok($s->query("SELECT count(*) FROM ains.run_tally WHERE run_id = $run"), '<', 1001, 'the sweeper adds up what has ended');
is(run_is($run), "COMPLETED|0|$tasks", 'which changes nothing');

# many runs at once, small ones: each of them ends
$s->query("SELECT count(*) FROM (SELECT ains.create_run('small') AS run FROM generate_series(1, 300)) r,
	ains.enqueue_batch('work', '[1, 2, 3]', run_id => run)");
$clients_running = start_clients();
eventually($s, "SELECT status, count(*), sum(completed) FROM ains.runs WHERE name = 'small' GROUP BY 1", 'COMPLETED|300|900',
	'each of many small runs ends');
$clients_running->kill_kill;

# ----------------------------------------------------------------------
# 50 companies in batches of 10. What a batch found joins the run in the same
# transaction as the checkpoint, so that after a crash each is there once.

$run = $s->query("SELECT ains.create_run('companies', target => 50)");
$s->query("SELECT agent_id FROM ains.register_agent('finder', capabilities => '{find, contact}')");
$s->query(qq{SELECT ains.enqueue('find', '{"companies": 50}', run_id => $run, stage => 'find')});

# Claims the task and works until so many companies are done; where it began.
sub find
{
	my ($until) = @_;
	my ($task, $token, $done) = split /\|/,
	  $s->query("SELECT task_id, lease_token, coalesce((checkpoint ->> 'done')::integer, 0) FROM ains.claim('finder', capabilities => '{find}')");
	my $from = $done;

	while ($done < $until)
	{
		$s->query('BEGIN');
		$s->query("SELECT ains.enqueue_batch('contact', (SELECT jsonb_agg(n) FROM generate_series($done + 1, $done + 10) n),
			run_id => $run, stage => 'contact')");
		$done += 10;
		$s->query("SELECT ains.checkpoint($task, $token, '{\"done\": $done}', $done / 50.0)");
		$s->query('COMMIT');
	}
	$s->query("SELECT ains.complete($task, $token)") if $done == 50;
	return $from;
}

find(20);
is($s->query("SELECT stage, active, pending, percent, gap FROM ains.run_progress($run)"),
	"find|1|0|40.0|\ncontact|0|20|0.0|50", 'two batches are done');
$s->query('BEGIN');
$s->query("SELECT ains.enqueue_batch('contact', '[21, 22, 23]', run_id => $run, stage => 'contact')");
crash($s->query('SELECT pg_backend_pid()'));
$s->query("SELECT agent_id FROM ains.register_agent('finder', capabilities => '{find, contact}')");
is(find(50), 20, 'the next one resumes after the last checkpoint');
is($s->query("SELECT count(*), count(DISTINCT payload), min(payload::text::integer), max(payload::text::integer) FROM ains.tasks WHERE run_id = $run AND stage = 'contact'"),
	'50|50|1|50', 'each company is there once');
$s->query("SELECT count(*) FROM (SELECT ains.complete(task_id, lease_token) FROM ains.claim('finder', 49)) c");
is(run_is($run), 'RUNNING|1|50', 'the run waits for the last one');
$s->query("SELECT count(*) FROM (SELECT ains.complete(task_id, lease_token) FROM ains.claim('finder', 49)) c");
is(run_is($run), 'COMPLETED|0|51', 'and is over');

$node->stop;
done_testing();
