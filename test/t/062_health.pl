# health(): what needs other servers, sessions or settings than test/sql/health.sql.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use Test::More;

my $node = ains_node('main', test_clock => 1, conf => <<EOS);
ains.max_agents = 16
ains.max_lanes = 2
ains.audit_interval = 1
max_prepared_transactions = 2
autovacuum = off
EOS
my $s = AinsTest::Session->new($node);

sub advance { return $s->query("SELECT ains_internal.advance_clock('$_[0]')") }

# A test: the check has this status and its detail looks like that, now or soon.
sub check_is
{
	my ($check, $status, $like, $name) = @_;
	my ($is, $detail, $advice);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	poll(sub {
			($is, $detail, $advice) = split /\|/,
			  $s->query("SELECT status, detail, coalesce(advice, '') FROM ains.check_health() WHERE check_name = '$check'"), -1;
			return $is eq $status && $detail =~ $like;
		});
	my $summary = $s->query("SELECT ains.health() ->> 'status'");
	return ok($is eq $status && $detail =~ $like && ($status eq 'healthy') == ($advice eq ''), $name)
	  || diag("$check is $is: $detail ($advice); $summary");
}

# ----------------------------------------------------------------------
# The workers
# ----------------------------------------------------------------------

check_is('launcher', 'healthy', qr/runs/, 'the launcher runs');
check_is('sweeper', 'healthy', qr/^The sweeper runs, and is on time/, 'the sweeper runs');
eventually($s, "SELECT ains.health() ->> 'status'", 'healthy', 'all is well');

# one that is stuck
my $lock = AinsTest::Session->new($node);
$lock->query('BEGIN; LOCK TABLE ains.agent IN ACCESS EXCLUSIVE MODE');
eventually($s, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ains sweeper' AND wait_event_type = 'Lock'", '1', 'the sweeper waits for a lock');
$s->query("SELECT ains_internal.stall_clock('2 min')");
is($s->query("SELECT status, detail FROM ains.check_health() WHERE check_name = 'sweeper'"), q(degraded|The sweeper's pass has been running for 2 min.), 'a pass that does not end');
$lock->query('COMMIT');
check_is('sweeper', 'healthy', qr/on time/, 'until it does');

# none
$s->query("ALTER SYSTEM SET ains.databases = 'other'");
$s->query('SELECT pg_reload_conf()');
check_is('sweeper', 'unhealthy', qr/^No sweeper runs in this database/, 'the sweeper is told to end');
is($s->query("SELECT h ->> 'status', h -> 'ready', h -> 'live', h #>> '{reasons,0,check}' FROM ains.health() h"), 'unhealthy|false|true|sweeper', 'so the database is not ready');
$s->query('SELECT ains.sweep()');
check_is('sweeper', 'healthy', qr/ains.sweep\(\) is called/, 'sweeps by hand are as good');
$s->query('ALTER SYSTEM RESET ains.databases');
$s->query('SELECT pg_reload_conf()');
check_is('sweeper', 'healthy', qr/^The sweeper runs/, 'it is back');

# ----------------------------------------------------------------------
# Room
# ----------------------------------------------------------------------

$s->query("SELECT ains.register_agent('a' || n) FROM generate_series(1, 14) n");
check_is('roster', 'healthy', qr/room for 2 more agents, of 16/, 'there is room in the roster');
$s->query("SELECT ains.register_agent('a15')");
check_is('roster', 'healthy', qr/room for 1 more/, 'a tenth of 16 is 1');
$s->query("SELECT ains.register_agent('a16')");
check_is('roster', 'unhealthy', qr/room for 0 more/, 'the roster is full');
raises($s, "SELECT ains.register_agent('a17')", 'NS008', 'as it says');
$s->query("SELECT ains.stop_agent('a' || n) FROM generate_series(1, 16) n");
check_is('roster', 'healthy', qr/room for 16 more/, 'agents that stopped give way');

$s->query("SELECT ains.register_agent('a', capabilities => '{x,y}', heartbeat_timeout => '10 years')");
$s->query("SELECT ains.claim('a')");
check_is('ready_set', 'degraded', qr/^2 of 2 lanes/, 'all lanes are in use');

# ----------------------------------------------------------------------
# The horizon
# ----------------------------------------------------------------------

check_is('horizon', 'healthy', qr/./, 'nobody holds up vacuum');
my $old = AinsTest::Session->new($node);
my $pid = $old->query('SELECT pg_backend_pid()');
$old->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM ains.task');
# by the clock of the tests, which is ahead of when it began
check_is('horizon', 'healthy', qr/^The oldest transaction is \d+ (?:s|min) old/, 'a young transaction is none of our business');
advance('6 min');
check_is('horizon', 'degraded', qr/^A transaction of backend $pid has kept dead rows .* for \d+ min\.$/, 'an old one is');
advance('25 hours');
check_is('horizon', 'unhealthy', qr/of backend $pid .* for \d+ h\.$/, 'a very old one is worse');
$old->query('COMMIT');
$s->query("SELECT ains.heartbeat('a')");

# one that holds an xid and no snapshot
$old->query('CREATE TABLE own ()');
$old->query('BEGIN; CREATE TABLE other ()');
advance('1 hour');
check_is('horizon', 'unhealthy', qr/of backend $pid/, 'a transaction that wrote, and has no snapshot');
$old->query('ROLLBACK');

# the clock of the tests is a day ahead: what begins now has begun then
$old->query("BEGIN; INSERT INTO own DEFAULT VALUES; PREPARE TRANSACTION 'forgotten'");
check_is('horizon', 'unhealthy', qr/^Prepared transaction "forgotten"/, 'a prepared transaction');
$old->query("ROLLBACK PREPARED 'forgotten'");
check_is('horizon', 'healthy', qr/./, 'nobody any more');

# ----------------------------------------------------------------------
# What it costs to know
# ----------------------------------------------------------------------

is($s->query("SELECT count(*) FROM (SELECT pg_stat_get_xact_numscans('ains.task'::regclass) + pg_stat_get_xact_numscans('ains.task_history'::regclass) AS n
	FROM (SELECT ains.health() OFFSET 0) h) x WHERE n > 0"), '0', 'no scan of a table of tasks');

# the launcher is gone for five seconds
$s->query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'ains launcher'");
check_is('launcher', 'degraded', qr/does not run/, 'the launcher was ended');
check_is('launcher', 'healthy', qr/runs/, 'and is back');

done_testing();
