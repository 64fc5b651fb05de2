# pg_dump and pg_restore of a database with ains in it, in every format, into
# another database and another cluster, where a sweeper is running meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = ains_node('source', extension => 0);
my $elsewhere = ains_node('target', extension => 0);

# ----------------------------------------------------------------------
# A database with everything in it
# ----------------------------------------------------------------------
$node->safe_psql('postgres', 'CREATE DATABASE shop');
my $s = AinsTest::Session->new($node, db => 'shop');
$s->query('CREATE EXTENSION ains');
$s->query('CREATE ROLE worker LOGIN; CREATE ROLE customer LOGIN;
	GRANT ains_agent TO worker; GRANT ains_producer TO customer');

$s->query("SELECT ains.configure_capability('cook', lease => '1 hour', max_attempts => 7, backoff => 'linear',
	backoff_base => '3 s', backoff_max => '1 min', jitter => 0.25, aging_interval => '5 min',
	timeout => '2 hours', on_lost => 'fail')");
$s->query("SELECT ains.configure_capability('secret', keep_history => false)");
$s->query("SELECT ains.configure_capability('shut'); SELECT ains.pause('shut')");
$s->query("INSERT INTO ains.non_retryable_error VALUES ('burnt', false), ('try harder', true)");

my $worker = AinsTest::Session->new($node, db => 'shop', user => 'worker');
my $customer = AinsTest::Session->new($node, db => 'shop', user => 'customer');
$worker->query(q{SELECT ains.register_agent('chef', 'human', '{cook,serve}', 'The Chef', 'http://chef', 'key',
	'{"a tag",b}', '{"stars": 3}', '1 day', 5)});
$worker->query(q{SELECT ains.publish_capability('chef', 'cook', 'Three courses', 'v3', '{"dish": "string"}', '{"plate": true}',
	'per_call', 49.90, 'EUR', 1800000, 99.5)});
$worker->query("SELECT ains.register_agent('drained'); SELECT ains.drain_agent('drained')");
$worker->query("SELECT ains.register_agent('stopped'); SELECT ains.stop_agent('stopped')");
$customer->query(<<'EOS');
SELECT ains.enqueue('cook', jsonb_build_object('n', n, 'long', repeat('x', 5000)), 1 + n % 10, metadata => '{"table": 7}')
	FROM generate_series(1, 20) n
EOS
$customer->query("SELECT ains.enqueue('serve', run_at => '2100-01-01')");
$customer->query("SELECT ains.enqueue('serve', unique_key => 'only one', expires_at => '2100-01-02')");
$customer->query("SELECT ains.enqueue('shut')");
my ($first, $second) = split /\|/, $customer->query("SELECT ains.enqueue('first') AS id, ains.enqueue('first')");
my $blocked = $customer->query("SELECT ains.enqueue('then', depends_on => '{$first,$second}')");
$s->query('SELECT ains.run_schedules()');
$customer->query("SELECT ains.schedule('new year', '\@yearly', 'serve', '{\"wish\": 1}', metadata => '{\"m\": 1}', timezone => 'Asia/Tokyo', catch_up => 'all')");
$customer->query("SELECT ains.schedule('resting', '0 0 * * *', 'serve'); SELECT ains.pause_schedule('resting')");
$customer->query("SELECT ains.save_template('soup', 'serve', '{\"hot\": true}', 7, timeout => '1 hour')");
$s->query("UPDATE ains.schedule SET next_run = next_run - interval '2 years' WHERE name = 'new year'; SELECT ains.run_schedules()");
my ($held, $token) = split /\|/, $worker->query("SELECT task_id, lease_token FROM ains.claim('chef')");
$worker->query("SELECT ains.checkpoint($held, $token, '{\"at\": \"onions\"}', 0.5)");
$worker->query("SELECT ains.complete(task_id, lease_token, '{\"ok\": true}', '{\"tokens\": 12}') FROM ains.claim('chef', 5)");
$worker->query("SELECT ains.fail(task_id, lease_token, 'again', retry_after => '1 day') FROM ains.claim('chef', 2)");
$worker->query("SELECT ains.fail(task_id, lease_token, 'BURNT') FROM ains.claim('chef', 2)");
my ($cancelled, $cancelled_token) = split /\|/, $worker->query("SELECT task_id, lease_token FROM ains.claim('chef')");
$customer->query("SELECT ains.cancel($cancelled, 'left')");
$customer->query("SELECT ains.cancel(" . $customer->query("SELECT max(task_id) FROM ains.tasks WHERE status = 'PENDING' AND capability = 'cook'") . ", 'changed my mind')");
my $completed = $s->query("SELECT min(task_id) FROM ains.task_history WHERE status = 'COMPLETED'");
my $completed_token = $s->query("SELECT lease_token FROM ains.task_history WHERE task_id = $completed");

is( $s->query("SELECT string_agg(DISTINCT status::text, ' ' ORDER BY status::text) FROM ains.tasks"),
	'ACTIVE BLOCKED CANCELLED COMPLETED FAILED PENDING SCHEDULED', 'tasks in every state');

# Everything that a database holds, as text.
sub contents
{
	my ($session) = @_;
	my @tables = split /\n/, $session->query("SELECT c.oid::regclass FROM pg_class c
		WHERE relnamespace = 'ains'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname");

	return join "\n", map { "-- $_\n" . $session->query("SELECT t.* FROM $_ t ORDER BY t::text") } @tables;
}

# The shelves that history consists of.
sub shelves
{
	return $_[0]->query("SELECT count(*) FROM pg_inherits WHERE inhparent = 'ains.task_history'::regclass");
}

$s->query('SELECT ains.sweep()');
is(shelves($s), '8', 'shelves are made ahead');
my $before = contents($s);
my $last_id = $s->query('SELECT max(task_id) FROM (SELECT task_id FROM ains.task UNION ALL SELECT task_id FROM ains.task_history) t');
my $last_token = $s->query('SELECT max(t) FROM (SELECT max(lease_token) FROM ains.task UNION ALL SELECT max(lease_token) FROM ains.task_history
	UNION ALL SELECT max(incarnation) FROM ains.agent) x (t)');

# ----------------------------------------------------------------------
# Dumps
# ----------------------------------------------------------------------
my @from = ('-d', $node->connstr('shop'));
command_ok([ 'pg_dump', @from, '-f', "$dir/plain" ], 'pg_dump, plain');
command_ok([ 'pg_dump', @from, '-Fc', '-f', "$dir/custom" ], 'pg_dump, custom');
command_ok([ 'pg_dump', @from, '-Fd', '-j2', '-f', "$dir/directory" ], 'pg_dump -j2, directory');
command_ok([ 'pg_dumpall', '-d', $node->connstr('postgres'), '--roles-only', '-f', "$dir/roles" ], 'roles');
is(contents($s), $before, 'nothing changed meanwhile');
unlike(slurp_file("$dir/plain"), qr/validation error/, 'built-in patterns are not dumped');

sub loads
{
	my ($name, @command) = @_;
	my $errors = '';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $ok = IPC::Run::run([@command], '>', \my $out, '2>', \$errors, IPC::Run::timeout(patience()));
	return ok($ok, "$name: restored without an error") || diag(substr($errors, 0, 600)) && 0;
}

my %load = (
	plain => sub { ('psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $_[0], '-f', "$dir/plain") },
	custom => sub { ('pg_restore', '-d', $_[0], "$dir/custom") },
	single => sub { ('pg_restore', '--single-transaction', '-d', $_[0], "$dir/custom") },
	parallel => sub { ('pg_restore', '-j2', '-d', $_[0], '--section=data', '--section=post-data', "$dir/directory") });

# Restores, and works in what was restored. The source is still there, so that
# an agent could hold a lease in both: here they are two systems from now on.
sub restore_and_work
{
	my ($server, $how) = @_;
	my $db = "copy_$how";
	my $name = $server->name . ", $how";

	$server->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0");
	my $t = AinsTest::Session->new($server, db => $db);
	# here the sweeper is at work before the rows come
	if ($how eq 'parallel')
	{
		loads("$name, tables", 'pg_restore', '-d', $server->connstr($db), '--section=pre-data', "$dir/directory");
		sweeper_pid($t, $db) or die 'no sweeper';
		$t->query('SELECT ains.sweep()');
	}
	# all or nothing: after an error there is nothing to look at
	loads($name, $load{$how}->($server->connstr($db))) || $how ne 'single' || return;
	ok(sweeper_pid($t, $db), "$name: a sweeper runs there");
	$t->query('SELECT ains.sweep()');
	is(shelves($t), '8', "$name: the shelves are history's again");
	is(contents($t), $before, "$name: the same rows");

	# Ids and tokens go on.
	my $work = AinsTest::Session->new($server, db => $db, user => 'worker');
	my $ask = AinsTest::Session->new($server, db => $db, user => 'customer');
	cmp_ok($ask->query("SELECT ains.enqueue('cook')"), '>', $last_id, "$name: a new id");
	my ($next, $next_token) = split /\|/, $work->query("SELECT task_id, lease_token FROM ains.claim('chef')");
	ok($next && $next_token > $last_token, "$name: a greater token");
	cmp_ok($work->query("SELECT incarnation FROM ains.register_agent('another')"), '>', $last_token,
		"$name: a greater incarnation");

	# The lease that was held is held.
	$work->query("SELECT ains.extend_lease($held, $token)");
	is($work->query("SELECT cancel_requested FROM ains.heartbeat('chef')"), "{$cancelled}", "$name: a cancel is not forgotten");
	is($work->query("SELECT ains.fail($cancelled, $cancelled_token, 'as you wish')"), 'CANCELLED', "$name: and can be answered");
	$work->query("SELECT ains.complete($held, $token, '1')");
	is($ask->query("SELECT status, checkpoint FROM ains.tasks WHERE task_id = $held"), 'COMPLETED|{"at": "onions"}',
		"$name: completed with the lease from before");
	$work->query("SELECT ains.complete($completed, $completed_token)");
	pass("$name: what was completed before is answered");
	my $failed = $t->query("SELECT min(task_id) FROM ains.task_history WHERE status = 'FAILED'");
	is($ask->query("SELECT ains.retry($failed)"), $failed, "$name: retry from restored history");

	# Policy and orders.
	raises($work, "SELECT ains.claim('$_')", 'NS005', "$name: $_ may not claim") for qw(drained stopped);
	my $id = $work->query("SELECT task_id FROM ains.claim('chef')");
	my $id_token = $t->query("SELECT lease_token FROM ains.task WHERE task_id = $id");
	is($work->query("SELECT ains.fail($id, $id_token, 'it is Burnt')"), 'FAILED', "$name: patterns of the user");
	is($ask->query("SELECT ains.enqueue('serve', unique_key => 'only one')"),
		$t->query("SELECT task_id FROM ains.task WHERE unique_key = 'only one'"), "$name: unique keys");
	is($t->query("SELECT count(*) FROM ains.non_retryable_error WHERE builtin"), '6', "$name: built-in patterns are there once");

	# What waits for something else.
	$work->query("SELECT ains.register_agent('usher', capabilities => '{first,then}')");
	$work->query("SELECT ains.complete(task_id, lease_token) FROM ains.claim('usher')");
	is($ask->query("SELECT string_agg(status::text, ' ' ORDER BY depends_on) FROM ains.dependencies($blocked)"), 'COMPLETED PENDING',
		"$name: dependencies");
	$work->query("SELECT ains.complete(task_id, lease_token) FROM ains.claim('usher')");
	is($work->query("SELECT task_id FROM ains.claim('usher')"), $blocked, "$name: what waited for both can be claimed");

	# What comes again and again.
	is($ask->query("SELECT name, owner, paused, missed_runs > 0 FROM ains.schedules ORDER BY name"), "new year|customer|f|t\nresting|customer|t|f",
		"$name: schedules");
	$t->query("UPDATE ains.schedule SET next_run = next_run - interval '1 year'");
	is($t->query('SELECT ains.run_schedules()'), '1', "$name: are run");
	is($ask->query("SELECT payload FROM ains.tasks WHERE task_id = (SELECT last_task_id FROM ains.schedules WHERE name = 'new year')"), '{"wish": 1}',
		"$name: for whom they were");
	is($ask->query("SELECT payload FROM ains.get_task(ains.enqueue_from_template('soup', '{\"payload\": {\"salt\": 1}}'))"), '{"hot": true, "salt": 1}',
		"$name: templates");

	# It is a database like any other.
	$t->query("SELECT ains.sweep()");
	is($t->query('SELECT count(*) FROM (SELECT task_id FROM ains.task UNION ALL SELECT task_id FROM ains.task_history) x
		GROUP BY task_id HAVING count(*) > 1'), '', "$name: no task twice");
	$_->close for $work, $ask, $t;
	return;
}

restore_and_work($node, $_) for qw(plain custom single parallel);
is(contents($s), $before, 'the source is as it was');

# In another cluster roles have to come first: they belong to no database.
command_ok([ 'psql', '-X', '-q', '-d', $elsewhere->connstr('postgres'), '-f', "$dir/roles" ], 'roles restored elsewhere');
restore_and_work($elsewhere, $_) for qw(plain parallel);

# Without them, what belongs to a role is not restored, and says so.
my $poor = ains_node('poor', extension => 0);
$poor->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template0');
command_checks_all([ 'pg_restore', '-d', $poor->connstr('copy'), "$dir/custom" ],
	1, [qr/^$/], [qr/role "(worker|customer)" does not exist/], 'without the roles: refused');
is($poor->safe_psql('copy', 'SELECT count(*) FROM ains.task'), '0', 'no task without a role to belong to');
is($poor->safe_psql('copy', 'SELECT count(*) FROM ains.capability'), $s->query('SELECT count(*) FROM ains.capability'),
	'what belongs to nobody is restored');
# They can be made afterwards, and the rows restored again.
$poor->safe_psql('copy', 'CREATE ROLE worker LOGIN; CREATE ROLE customer LOGIN');
for my $table ('agent', 'task', 'schedule', 'template', map { "task_history_$_" } split /\n/,
	$s->query("SELECT right(inhrelid::regclass::text, 8) FROM pg_inherits WHERE inhparent = 'ains.task_history'::regclass"))
{
	PostgreSQL::Test::Utils::system_or_bail('pg_restore', '--data-only', '-d', $poor->connstr('copy'),
		'-n', 'ains', '-t', $table, "$dir/custom");
}
is($poor->safe_psql('copy', 'SELECT count(*) FROM ains.task'), $s->query('SELECT count(*) FROM ains.task'),
	'the roles came later: the tasks are there');
$poor->safe_psql('copy', "SELECT ains.rescan()");
is($poor->safe_psql('copy', "SELECT count(*) FROM ains.claim('chef')"), '1', 'and can be claimed');

done_testing();
