# Housekeeping by pg_cron instead of a sweeper, in a real server with Debian's
# pg_cron.
#
# pg_cron before 1.5 knows no seconds, and a test does not wait for the next
# minute: jobs for '@reboot' are run by the same code when the server starts.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use Test::More;

my $node = ains_node('main', extension => 0, conf => <<'EOS');
ains.databases = 'nowhere'
log_statement = none
EOS

# What CREATE EXTENSION would look for.
my $version = $node->safe_psql('postgres', "SELECT default_version FROM pg_available_extensions WHERE name = 'pg_cron'");
plan skip_all => 'pg_cron is not installed' unless $version;
note("pg_cron $version");

$node->append_conf('postgresql.conf', <<'EOS' . "cron.host = '" . $node->host . "'\n");
shared_preload_libraries = 'pg_cron,ains'
cron.database_name = 'postgres'
EOS
$node->restart;
my $s = AinsTest::Session->new($node);
$s->query('CREATE EXTENSION ains');
$s->query('CREATE EXTENSION pg_cron');
$s->query('CREATE ROLE operator LOGIN; GRANT ains_admin TO operator; GRANT USAGE ON SCHEMA cron TO operator');

# The schedule that docs/operations.md gives, made by one who is no superuser.
my $operator = AinsTest::Session->new($node, user => 'operator');
like($operator->query("SELECT cron.schedule('ains', '* * * * *', 'SELECT ains.sweep()')"), qr/^\d+$/, 'every minute');
like($operator->query("SELECT cron.schedule('ains at start', '\@reboot', 'SELECT ains.sweep()')"), qr/^\d+$/, 'at start');
my $command = $operator->query("SELECT command FROM cron.job WHERE jobname = 'ains'");
$operator->close;

$s->query("SELECT ains.register_agent('a', capabilities => '{work}', heartbeat_timeout => '1 s')");
$s->query("SELECT ains.configure_capability('work', lease => '100 ms')");

# Each of the ways in which pg_cron runs a job.
for my $workers ('off', 'on')
{
	my $name = "use_background_workers $workers";
	my $due = $s->query("SELECT ains.enqueue('work', run_at => clock_timestamp() + '1 ms')");
	my $expires = $s->query("SELECT ains.enqueue('idle', expires_at => clock_timestamp() + '1 ms')");

	eventually($s, "SELECT clock_timestamp() > run_at + '100 ms' FROM ains.task WHERE task_id = $due", 't', 'some time passes');
	is($s->query("SELECT string_agg(status::text, ' ' ORDER BY task_id) FROM ains.task WHERE task_id IN ($due, $expires)"),
		'SCHEDULED PENDING', "$name: nobody sweeps");
	my $before = $s->query('SELECT coalesce(max(runid), 0) FROM cron.job_run_details');
	$node->append_conf('postgresql.conf', "cron.use_background_workers = $workers");
	$s->close;
	$node->restart;
	$s = AinsTest::Session->new($node);
	eventually($s, "SELECT status FROM ains.tasks WHERE task_id = $due", 'PENDING', "$name: what is due is claimable");
	eventually($s, "SELECT status FROM ains.tasks WHERE task_id = $expires", 'EXPIRED', "$name: what expired has ended");
	eventually($s, "SELECT string_agg(DISTINCT status || ' ' || username, ', ') FROM cron.job_run_details
			WHERE runid > $before AND command = '$command' AND status NOT IN ('starting', 'running')",
		'succeeded operator', "$name: pg_cron did it");
	is($s->query("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ains sweeper'"), '0', "$name: no sweeper");
	$s->query("SELECT ains.heartbeat('a')");
	is($s->query("SELECT task_id FROM ains.claim('a')"), $due, "$name: claimed");
	$s->query("SELECT ains.complete(task_id, lease_token) FROM ains.task WHERE task_id = $due");
}

# Leases and agents: as pg_cron runs it, from time to time.
my $held = $s->query("SELECT ains.enqueue('work')");
$s->query("SELECT ains.claim('a')");
$operator = AinsTest::Session->new($node, user => 'operator');
ok( poll(sub {
		$operator->query($command);
		return $s->query("SELECT status FROM ains.task WHERE task_id = $held") eq 'PENDING';
	}), 'a lease ends');
ok( poll(sub {
		$operator->query($command);
		return $s->query("SELECT agent_status FROM ains.agents WHERE agent_id = 'a'") eq 'DEAD';
	}), 'a silent agent dies');
is($s->query("SELECT count(*) FROM pg_inherits WHERE inhparent = 'ains.task_history'::regclass"), '8', 'shelves are made ahead');

done_testing();
