# Schedules, run by Debian's pg_cron in a real server: in the same database, and
# in another one. As in 052, jobs are run at the start of the server, since a
# test does not wait for the next minute.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use Test::More;

my $node = ains_node('main', extension => 0, conf => 'log_statement = none');
my $version = $node->safe_psql('postgres', "SELECT default_version FROM pg_available_extensions WHERE name = 'pg_cron'");
plan skip_all => 'pg_cron is not installed' unless $version;
note("pg_cron $version");

$node->safe_psql('postgres', 'CREATE EXTENSION ains; CREATE DATABASE shop; CREATE ROLE customer LOGIN; GRANT ains_producer TO customer;
	CREATE ROLE operator LOGIN; GRANT ains_admin TO operator');
$node->safe_psql('shop', 'CREATE EXTENSION ains');

# The server with these lines in its configuration; sessions of before are gone.
my ($s, $customer);
sub restart
{
	my ($db, @conf) = @_;

	$_->close for grep { $_ } $s, $customer;
	$node->append_conf('postgresql.conf', join "\n", @conf, '');
	$node->restart;
	$s = AinsTest::Session->new($node, db => $db);
	$customer = AinsTest::Session->new($node, db => $db, user => 'customer');
	return;
}

my $make = "SELECT ains.schedule('new year', '\@yearly', 'greet', '{\"to\": \"all\"}') > now()";

# ----------------------------------------------------------------------
# No pg_cron, or half of it
# ----------------------------------------------------------------------
restart('shop');
like(raises($customer, $make, '55000', 'not preloaded')->{hint}, qr/pg_cron/, 'says what to do');
is($s->query('SELECT count(*) FROM ains.schedule'), '0', 'and there is no schedule');
restart('shop', "shared_preload_libraries = 'pg_cron,ains'", "cron.database_name = 'nowhere'", "cron.host = '" . $node->host . "'");
like(raises($customer, $make, '55000', 'in a database that is not there')->{detail}, qr/"nowhere"/, 'says which');
restart('shop', "cron.database_name = 'postgres'", 'max_worker_processes = 2');
like(raises($customer, $make, '53000', 'no worker is free')->{hint}, qr/max_worker_processes/, 'says which setting');
restart('shop', 'max_worker_processes = 8');
like(raises($customer, $make, '55000', 'preloaded, but no extension')->{detail}, qr/"postgres"/, 'says where');

# Somebody else's schema of that name is not believed.
my $cron = AinsTest::Session->new($node, db => 'postgres');
$cron->query('CREATE SCHEMA cron; CREATE TABLE cron.job (database text, command text);
	CREATE FUNCTION cron.schedule_in_database(text, text, text, text) RETURNS bigint
	LANGUAGE plpgsql AS $$ BEGIN CREATE ROLE evil SUPERUSER; RETURN 1; END $$');
raises($customer, $make, '55000', 'a schema cron without the extension');
is($cron->query("SELECT count(*) FROM pg_roles WHERE rolname = 'evil'"), '0', 'nothing of it ran');
$cron->query('DROP SCHEMA cron CASCADE; CREATE EXTENSION pg_cron');
$cron->close;

# ----------------------------------------------------------------------
# In another database, and in this one
# ----------------------------------------------------------------------
for my $db ('shop', 'postgres')
{
	my $where = $db eq 'postgres' ? 'same database' : 'another database';

	restart($db);
	is($customer->query($make), 't', "$where: scheduled");
	my $jobs = "SELECT string_agg(concat_ws(', ', jobname, schedule, command, database, username = current_user, active), '; ') FROM cron.job WHERE database = '$db'";
	$cron = AinsTest::Session->new($node, db => 'postgres');
	is($cron->query($jobs), "ains $db, * * * * *, SELECT ains.run_schedules(), $db, t, t", "$where: pg_cron has a job");
	$customer->query("SELECT ains.schedule('another', '0 * * * *', 'greet')");
	$customer->query("SELECT ains.unschedule('another')");
	is($cron->query("SELECT count(*) FROM cron.job WHERE database = '$db'"), '1', "$where: one for all schedules");

	# Each of the ways in which pg_cron runs a job.
	my $job = $cron->query("SELECT jobid FROM cron.job WHERE database = '$db'");
	$cron->query("SELECT cron.alter_job($job, schedule => '\@reboot')");
	for my $workers ('off', 'on')
	{
		my $name = "$where, use_background_workers $workers";

		$cron->close;
		my $due = $s->query("UPDATE ains.schedule SET next_run = next_run - interval '3 years' RETURNING next_run");
		my $before = $s->query("SELECT count(*) FROM ains.tasks");
		is($s->query("SELECT v.missed_runs - s.missed_runs FROM ains.schedules v JOIN ains.schedule s USING (name)"), '3', "$name: the view sees what is missed");
		restart($db, "cron.use_background_workers = $workers");
		eventually($s, "SELECT count(*) - $before FROM ains.tasks", '1', "$name: one task for what was missed");
		is($s->query("SELECT concat_ws(' ', capability, enqueued_by, payload->>'to', metadata->>'schedule', (metadata->>'scheduled_for')::timestamptz = '$due'::timestamptz + interval '2 years')
			FROM ains.tasks ORDER BY task_id DESC LIMIT 1"), 'greet customer all new year t', "$name: of the schedule's owner, for its time");
		is($s->query("SELECT next_run > now(), last_task_id = (SELECT max(task_id) FROM ains.tasks), last_error IS NULL FROM ains.schedules"), 't|t|t', "$name: it goes on");
		$cron = AinsTest::Session->new($node, db => 'postgres');
		eventually($cron, "SELECT status FROM cron.job_run_details WHERE jobid = $job ORDER BY runid DESC LIMIT 1", 'succeeded', "$name: pg_cron did it");
		eventually($cron, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_cron' OR query = 'SELECT ains.run_schedules()' AND state = 'active'", '0', "$name: it is done");
	}

	# The job is looked for again when nobody was seen to run the schedules, and
	# one that somebody made himself is as good.
	$cron->query("SELECT cron.unschedule($job)");
	my $operator = AinsTest::Session->new($node, db => 'postgres', user => 'operator');
	$cron->query('GRANT USAGE ON SCHEMA cron TO operator');
	$cron->query('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cron TO operator');
	$operator->query("SELECT cron.schedule('mine', '*/5 * * * *', 'SELECT ains.run_schedules()')") if $db eq 'postgres';
	restart($db, 'cron.use_background_workers = off');
	is($customer->query($make), 't', "$where: scheduled again");
	$cron = AinsTest::Session->new($node, db => 'postgres');
	is($cron->query("SELECT string_agg(jobname, ' ') FROM cron.job WHERE database = '$db'"),
		$db eq 'postgres' ? 'mine' : 'ains shop', "$where: there is a job again");
	$cron->close;
}

done_testing();
