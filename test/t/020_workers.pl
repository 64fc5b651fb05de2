# The launcher and the sweepers: who runs where, and who gets out of whose way.
#
# What a test sees is pg_stat_activity. A sweeper that finds no extension comes
# and goes, so "none runs" means something only after a barrier: in_order()
# creates the extension in another database and waits for the sweeper there,
# because the launcher serves requests in their order.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf(
	'postgresql.conf', q{
shared_preload_libraries = 'ains'
max_worker_processes = 32
autovacuum = off
# a wake-up that is lost would show
ains.sweep_max_nap = 1h
client_min_messages = error
log_min_messages = info
});
$node->start;

# One SQL statement in database postgres.
sub sql
{
	my ($statement, $db) = @_;
	return $node->safe_psql($db // 'postgres', $statement);
}

# The databases with a sweeper that has settled.
my $sweepers = q{SELECT coalesce(string_agg(datname, ' ' ORDER BY datname COLLATE "C"), '')
	FROM pg_stat_activity WHERE backend_type = 'ains sweeper' AND datname IS NOT NULL};

sub pid_of
{
	my ($db) = @_;
	return sql("SELECT pid FROM pg_stat_activity
		WHERE backend_type = 'ains sweeper' AND datname = '$db'");
}

sub sweepers_become
{
	my ($databases, $name, $server) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$server //= $node;
	ok( $server->poll_query_until('postgres', "$sweepers", $databases),
		"$name: sweepers in: $databases");
}

# Until the sweeper has left its first pass behind, and sleeps.
sub settled
{
	my ($db) = @_;
	$node->poll_query_until('postgres',
		"SELECT state = 'idle' FROM pg_stat_activity
			WHERE backend_type = 'ains sweeper' AND datname = '$db'")
	  or die "no sweeper settles in $db";
	return pid_of($db);
}

# Whatever was committed before has been dealt with when this returns.
my $barriers = 0;

sub in_order
{
	my $db = 'barrier' . ++$barriers;
	sql("CREATE DATABASE $db TEMPLATE template0");
	sql('CREATE EXTENSION ains', $db);
	settled($db);
	sql("DROP DATABASE $db");
}

sub launcher_is
{
	my ($condition, $name, $server) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok( ($server // $node)->poll_query_until('postgres',
			"SELECT count(*) $condition FROM pg_stat_activity WHERE backend_type = 'ains launcher'"),
		$name);
}

# ----------------------------------------------------------------------
note 'CREATE and DROP EXTENSION';

launcher_is('= 1', 'the launcher runs');
in_order();
is(sql($sweepers), '', 'no sweeper where there is no extension');

my $session = $node->background_psql('postgres', on_error_stop => 1);
$session->set_query_timer_restart;
$session->query_safe('BEGIN; CREATE EXTENSION ains;');
in_order();
is(sql($sweepers), '', 'none before CREATE EXTENSION commits');
$session->query_safe('ROLLBACK;');
in_order();
is(sql($sweepers), '', 'none after it was rolled back');
$session->query_safe('BEGIN; CREATE EXTENSION ains;');
in_order();
$session->query_safe('COMMIT;');
sweepers_become('postgres', 'CREATE EXTENSION committed');

my $pid = settled('postgres');
is( sql("SELECT application_name FROM pg_stat_activity WHERE pid = $pid"),
	'ains sweeper postgres', 'it is named for its database');
is( sql("SELECT backend_xmin IS NULL AND backend_xid IS NULL FROM pg_stat_activity WHERE pid = $pid"),
	't', 'asleep it holds no snapshot');

$session->query_safe('BEGIN; DROP EXTENSION ains;');
in_order();
is(pid_of('postgres'), $pid, 'the sweeper outlives a DROP EXTENSION that is not committed');
$session->query_safe('ROLLBACK;');
in_order();
is(pid_of('postgres'), $pid, 'and one that is rolled back');
$session->query_safe('DROP EXTENSION ains;');
sweepers_become('', 'DROP EXTENSION committed');

$session->query_safe('CREATE EXTENSION ains;');
sweepers_become('postgres', 'created again');
settled('postgres');
$session->query_safe('BEGIN; DROP EXTENSION ains; CREATE EXTENSION ains; COMMIT;');
in_order();
settled('postgres');
sweepers_become('postgres', 'dropped and created in one transaction');
$session->query_safe('DROP SCHEMA ains CASCADE;');
sweepers_become('', 'dropped with its schema');

# ----------------------------------------------------------------------
note 'what a sweeper does';

sub due
{
	my ($db, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $task = sql(q{SELECT ains.enqueue('work', run_at => clock_timestamp() + interval '200 ms')}, $db);
	ok( $node->poll_query_until($db, "SELECT status = 'PENDING' FROM ains.tasks WHERE task_id = $task"),
		$name);
}

sql('CREATE EXTENSION ains');
settled('postgres');
due('postgres', 'a commit wakes it for a task, and it wakes when the task is due');
$pid = settled('postgres');

# The error of one step must not end it, and not fill the log.
sub count_in_log
{
	my ($pattern, $from) = @_;
	my $log = substr(slurp_file($node->logfile), $from);
	my $count = () = $log =~ /$pattern/g;
	return $count;
}

my $log_start = -s $node->logfile;
my $task = sql(q{BEGIN; SELECT ains.enqueue('work', run_at => clock_timestamp() + interval '100 ms');
	ALTER TABLE ains.task RENAME COLUMN wake_at TO wake_then; COMMIT});
$node->wait_for_log(qr/ERROR:  column .*wake_at.* does not exist/, $log_start);
# a second error, which is not logged, is two transactions of that step
$node->poll_query_until('postgres', "SELECT xact_commit + xact_rollback > $_
	FROM pg_stat_database WHERE datname = 'postgres'")
  for sql("SELECT xact_commit + xact_rollback + 100 FROM pg_stat_database WHERE datname = 'postgres'");
sql('ALTER TABLE ains.task RENAME COLUMN wake_then TO wake_at');
ok( $node->poll_query_until('postgres', "SELECT status = 'PENDING' FROM ains.tasks WHERE task_id = $task"),
	'a sweeper goes on when the reason of an error is gone');
is(pid_of('postgres'), $pid, 'the same');
cmp_ok(count_in_log(qr/ERROR:  column/, $log_start), '<=', 2, 'each step has logged its error once');

# A library that is newer than the script.
sql("UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'ains'");
$log_start = -s $node->logfile;
sql("SELECT pg_terminate_backend($pid)");
$node->wait_for_log(qr/the extension's script is not of version/, $log_start);
$pid = settled('postgres');
# there is no script to update with: any other ALTER EXTENSION says the same
sql(q{UPDATE pg_extension SET extversion = (SELECT default_version FROM pg_available_extensions
	WHERE name = extname) WHERE extname = 'ains'; CREATE SCHEMA extra;
	ALTER EXTENSION ains ADD SCHEMA extra; ALTER EXTENSION ains DROP SCHEMA extra});
due('postgres', 'it waits for ALTER EXTENSION');
is(pid_of('postgres'), $pid, 'without ending');
is(count_in_log(qr/script is not of version/, $log_start), 1, 'which it has logged once');
sql('DROP EXTENSION ains');
sweepers_become('', 'dropped again');

# ----------------------------------------------------------------------
note 'several databases';

sql("CREATE DATABASE $_ TEMPLATE template0") for qw(d1 d2 d3 empty);
sql('CREATE EXTENSION ains', $_) for qw(d1 d2 d3);
sweepers_become('d1 d2 d3', 'several databases');

# Commands on databases.  Each must succeed although a sweeper is connected.
settled('d1');
sql('DROP DATABASE d1');
sweepers_become('d2 d3', 'DROP DATABASE');
settled('d2');
sql('DROP DATABASE d2 WITH (FORCE)');
sweepers_become('d3', 'DROP DATABASE WITH (FORCE)');
is(sql('DROP DATABASE IF EXISTS d2; SELECT 1'), '1', 'DROP DATABASE IF EXISTS of none');

settled('d3');
sql('ALTER DATABASE d3 RENAME TO d4');
sweepers_become('d4', 'ALTER DATABASE RENAME');
$pid = settled('d4');
is( sql("SELECT application_name FROM pg_stat_activity WHERE pid = $pid"),
	'ains sweeper d4', 'its name follows');

for my $strategy (qw(wal_log file_copy))
{
	settled('d4');
	sql("CREATE DATABASE d5 TEMPLATE d4 STRATEGY $strategy");
	sweepers_become('d4 d5', "CREATE DATABASE TEMPLATE, $strategy");
	settled('d5');
	sql('DROP DATABASE d5');
	sweepers_become('d4', 'the copy dropped');
}

my $space = PostgreSQL::Test::Utils::tempdir();
sql("CREATE TABLESPACE elsewhere LOCATION '$space'");
settled('d4');
sql('ALTER DATABASE d4 SET TABLESPACE elsewhere');
sweepers_become('d4', 'ALTER DATABASE SET TABLESPACE');
settled('d4');
sql('ALTER DATABASE d4 SET TABLESPACE pg_default');
sweepers_become('d4', 'and back');
sql('DROP TABLESPACE elsewhere');

sql('CREATE EXTENSION ains', 'template1');
sweepers_become('d4 template1', 'in template1');
settled('template1');
sql('CREATE DATABASE d6');
sweepers_become('d4 d6 template1', 'CREATE DATABASE from template1');
settled('d6');
sql('DROP DATABASE d6');
sql('DROP EXTENSION ains', 'template1');
sweepers_become('d4', 'all as before');

# The same ones again and again, as test suites of applications do.
for my $i (1 .. 10)
{
	sql('CREATE DATABASE copy TEMPLATE d4');
	sql('ALTER DATABASE copy RENAME TO copy2');
	sql('DROP DATABASE copy2');
}
pass('ten copies made, renamed and dropped');
sweepers_become('d4', 'after them');

# Two hold the same database off, and one of them ends first.
settled('d4');
{
	my @copies = map { $node->background_psql('postgres', on_error_stop => 1) } 1 .. 2;
	$copies[$_]->query_safe("CREATE DATABASE both$_ TEMPLATE d4;") for 0 .. 1;
	sweepers_become('both0 both1 d4', 'two copies');
	settled($_) for qw(both0 both1);
	$copies[$_]->query_safe("DROP DATABASE both$_;") for 0 .. 1;
	$_->quit for @copies;
}

# ----------------------------------------------------------------------
note 'commands that fail';

sub fails
{
	my ($statement, $error, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($ret, $out, $err) = $node->psql('postgres', $statement);
	ok($ret != 0, "$name fails");
	like($err, $error, "$name: the server's own message");
}

$pid = settled('d4');
my $other = $node->background_psql('d4', on_error_stop => 1);
for my $statement (
	'DROP DATABASE d4',
	'ALTER DATABASE d4 RENAME TO d5',
	'CREATE DATABASE d5 TEMPLATE d4')
{
	fails($statement, qr/being accessed by other users/, $statement);
	sweepers_become('d4', 'it returns');
	isnt(settled('d4'), $pid, 'another process');
}
$other->quit;

fails('CREATE DATABASE postgres TEMPLATE d4', qr/already exists/, 'CREATE DATABASE of a taken name');
sweepers_become('d4', 'it returns');
settled('d4');
$session->query_safe('BEGIN; ALTER DATABASE d4 RENAME TO d5;');
in_order();
is(sql($sweepers), '', 'held off until the transaction of a RENAME ends');
$session->query_safe('ROLLBACK;');
sweepers_become('d4', 'RENAME rolled back');
settled('d4');
$session->query_safe('BEGIN; SAVEPOINT s; ALTER DATABASE d4 RENAME TO d5; ROLLBACK TO s;');
sweepers_become('d4', 'RENAME rolled back to a savepoint');
$session->query_safe('COMMIT;');

# A swap of names, as for a new version of a whole database.
settled('d4');
sql('CREATE DATABASE new TEMPLATE d4');
sweepers_become('d4 new', 'before the swap');
settled('new');
$session->query_safe('BEGIN; ALTER DATABASE d4 RENAME TO old; ALTER DATABASE new RENAME TO d4;
	ALTER DATABASE old RENAME TO new; COMMIT;');
sweepers_become('d4 new', 'after the swap');
settled('new');
sql('DROP DATABASE new');

# Who may not do it must not stop a sweeper by trying.
sql('CREATE ROLE nobody LOGIN');
$pid = settled('d4');
for my $statement (
	'DROP DATABASE d4',
	'ALTER DATABASE d4 RENAME TO d5',
	'ALTER DATABASE d4 SET TABLESPACE pg_default',
	'CREATE DATABASE d5 TEMPLATE d4')
{
	fails("SET ROLE nobody; $statement", qr/must be owner|permission denied/,
		"$statement by nobody");
	is(pid_of('d4'), $pid, 'and does not touch the sweeper');
}
fails("BEGIN; $_", qr/cannot run inside a transaction block/, "$_ in a block")
  for 'DROP DATABASE d4', 'CREATE DATABASE d5 TEMPLATE d4';
fails('BEGIN; SELECT 1/0; DROP DATABASE d4', qr/division by zero/, 'DROP DATABASE after an error');
fails('DROP DATABASE "no such"', qr/does not exist/, 'DROP DATABASE of none');
is(pid_of('d4'), $pid, 'nor do commands that cannot work');
fails('DROP DATABASE postgres', qr/currently open/, 'DROP DATABASE of the current one');

# ----------------------------------------------------------------------
note 'reload of the configuration';

sql('CREATE EXTENSION ains');
sql('CREATE DATABASE "d 7,x" TEMPLATE d4');
sweepers_become('d 7,x d4 postgres', 'three of them');

sub databases
{
	my ($list) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET ains.databases = $list");
	$node->reload;
}

databases(q{d4});
sweepers_become('d4', 'ains.databases of one name');
databases(q{'"d 7,x"', 'POSTGRES', missing});
sweepers_become('d 7,x postgres', 'of several, one with a comma in it');
databases('DEFAULT');
sweepers_become('d 7,x d4 postgres', 'of none, which is all');
$node->append_conf('postgresql.conf', "ains.databases = 'd4 postgres'");
my $offset = -s $node->logfile;
$node->reload;
$node->wait_for_log(qr/invalid list syntax|invalid value for parameter "ains.databases"/, $offset);
is(sql($sweepers), 'd 7,x d4 postgres', 'what is no list changes nothing');
$node->append_conf('postgresql.conf', "ains.databases = ''");
sql('ALTER DATABASE "d 7,x" ALLOW_CONNECTIONS false');
$node->reload;
sweepers_become('d4 postgres', 'a database that allows no connections');
sql('DROP DATABASE "d 7,x"');

# ----------------------------------------------------------------------
note 'signals';

sub restarted
{
	my ($type, $old, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok( $node->poll_query_until('postgres',
			"SELECT count(*) = 1 FROM pg_stat_activity WHERE $type AND pid <> $old"),
		$name);
}
my $sweeper = q{backend_type = 'ains sweeper' AND datname = 'd4'};
my $launcher = q{backend_type = 'ains launcher'};

$pid = settled('d4');
sql("SELECT pg_terminate_backend($pid)");
restarted($sweeper, $pid, 'a sweeper that was terminated comes back');
$pid = settled('d4');
kill 'INT', $pid;
in_order();
is(pid_of('d4'), $pid, 'a cancel does not end it');

my $served = sql("SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity
	WHERE backend_type = 'ains sweeper'");
my $old = sql("SELECT pid FROM pg_stat_activity WHERE $launcher");
sql("SELECT pg_terminate_backend($old)");
restarted($launcher, $old, 'a launcher that was terminated comes back');
in_order();
is( sql("SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity
	WHERE backend_type = 'ains sweeper'"),
	$served, 'and meets its sweepers, the same');

# SIGKILL makes the postmaster restart everything.
$session->quit;
$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->reload;
for my $type ($sweeper, $launcher)
{
	settled('d4');
	my $victim = sql("SELECT pid FROM pg_stat_activity WHERE $type");
	$offset = -s $node->logfile;
	kill 'KILL', $victim;
	$node->wait_for_log(qr/database system is ready to accept connections/, $offset);
	$node->poll_query_until('postgres', 'SELECT true');
	launcher_is('= 1', 'killed: a launcher');
	sweepers_become('d4 postgres', 'killed');
}

# ----------------------------------------------------------------------
note 'standby and promotion';

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is( $standby->safe_psql('postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'ains %'"),
	'0', 'a standby has no workers');
$standby->promote;
launcher_is('= 1', 'promotion brings the launcher', $standby);
sweepers_become('d4 postgres', 'promotion brings the sweepers', $standby);
$standby->stop;

# ----------------------------------------------------------------------
note 'limits';

is(count_in_log(qr/too many databases use ains/, 0), 0,
	'databases that are gone take no room in shared memory');

# The launcher takes one slot, so there is one for a sweeper.
$node->append_conf('postgresql.conf', q{
max_worker_processes = 2
max_logical_replication_workers = 0
});
$offset = -s $node->logfile;
$node->restart;
$node->wait_for_log(qr/no free worker slot/, $offset);
ok( $node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'ains sweeper'
			AND state = 'idle'"),
	'one of two databases is served');
# each reload makes the launcher try again
for (1 .. 3)
{
	my $before = -s $node->logfile;
	$node->append_conf('postgresql.conf', "ains.sweep_max_nap = ${_}0s");
	$node->reload;
	$node->wait_for_log(qr/parameter "ains.sweep_max_nap" changed/, $before);
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity
		WHERE $launcher AND state = 'idle' AND state_change > (SELECT pg_conf_load_time())");
}
is(count_in_log(qr/no free worker slot/, $offset), 1, 'a lack of worker slots is logged once');
my ($first) = split ' ', sql($sweepers);
my $second = $first eq 'd4' ? 'postgres' : 'd4';
sql('DROP EXTENSION ains', $first);
sweepers_become($second, 'a slot was freed');

# More databases than there is shared memory for.
$node->append_conf('postgresql.conf', q{
max_worker_processes = 32
ains.max_databases = 1
});
sql('CREATE EXTENSION ains', $first);
$offset = -s $node->logfile;
$node->restart;
$node->wait_for_log(qr/too many databases use ains/, $offset);
pass('ains.max_databases is reached');
sql('DROP DATABASE d4');
ok( $node->poll_query_until('postgres', q{SELECT ains.enqueue('work', unique_key => 'any') > 0}),
	'a database that is dropped makes room for another');
due('postgres', 'which is served then');

# ----------------------------------------------------------------------
note 'without workers';

$node->stop;
$node->start;
launcher_is('= 1', 'the launcher after a restart');
sweepers_become('postgres', 'after a restart');
$node->stop;
# pg_upgrade's mode
PostgreSQL::Test::Utils::system_or_bail('pg_ctl', '-D', $node->data_dir, '-l', $node->logfile,
	'-o', '-b --cluster-name=upgrade', '-w', 'start');
$node->_update_pid(1);
is( sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'ains %'"),
	'0', 'pg_upgrade meets no workers');
$node->stop;

# Assertions of ours, and crashes, show in the log alone.
unlike(slurp_file($node->logfile), qr/TRAP:|terminated by signal (?!9\b)/, 'nothing crashed');

done_testing();
