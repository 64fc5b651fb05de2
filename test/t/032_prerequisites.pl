# Without the preloaded library, and with a script of another version: what is
# refused, with what advice, and what works all the same.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use Test::More;

# A test: every function and view refuses with 55000 and such a hint.
sub everything_refuses
{
	my ($session, $hint, $name) = @_;
	my %call = (calls_that_read(1), calls_that_write(1, 1, 1));
	my @routines = split /\n/, $session->query("SELECT DISTINCT proname FROM pg_proc
		WHERE pronamespace = 'ains'::regnamespace ORDER BY 1");

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(join(' ', grep { !$call{$_} } @routines), '', "$name: this test knows every function");
	for my $routine (@routines)
	{
		my $result = $session->try($call{$routine});
		is($result->{code}, '55000', "$name: $routine() is refused") or diag($result->{message});
		like($result->{hint}, $hint, "$name: $routine() gives the hint");
	}
	for my $function ('clock_now()', 'roster()', "advance_clock('1 s')", "stall_clock('1 s')", "step_wall_clock('1 s')")
	{
		raises($session, "SELECT ains_internal.$function", '55000', "$name: ains_internal.$function");
	}
	return;
}

# ----------------------------------------------------------------------
note 'not preloaded';

my $node = ains_node('bare', preload => 0, extension => 0, conf => "wal_level = minimal\n");
my $s = AinsTest::Session->new($node);
is($s->try('CREATE EXTENSION ains')->{code}, undef, 'CREATE EXTENSION works');
everything_refuses($s, qr/shared_preload_libraries/, 'not preloaded');
for my $view ('tasks', 'agents', 'active_agents', 'dead_agents', 'dead_letters')
{
	$s->query("SELECT * FROM ains.$view LIMIT 0");
	pass("the definition of ains.$view can be looked at");
}
is($s->query("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'ains %'"), '0', 'no workers');
is($s->query('SHOW ains.default_lease'), '5min', 'there are settings');
is($s->query('SET ains.default_lease = 10; SHOW ains.default_lease'), '10s', 'that can be set');
is($s->try('DROP EXTENSION ains')->{code}, undef, 'DROP EXTENSION works');
is($s->try('CREATE EXTENSION ains')->{code}, undef, 'and CREATE EXTENSION again');

# Then the administrator follows the hint.
$s->close;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ains'");
$node->restart;
$s = AinsTest::Session->new($node);
ok(sweeper_pid($s), 'preloaded: a sweeper finds it');
$s->query("SELECT ains.register_agent('a', capabilities => '{work}'); SELECT ains.enqueue('work')");
is($s->query("SELECT count(*) FROM ains.claim('a')"), '1', 'and everything works');

# The test clock is for tests, and not switched on here.
raises($s, "SELECT ains_internal.$_('1 s')", '55000', "$_ without ains.enable_test_clock")
  for qw(advance_clock stall_clock step_wall_clock);

# ----------------------------------------------------------------------
note 'library and script differ in version';

my $version = $s->query("SELECT extversion FROM pg_extension WHERE extname = 'ains'");
my $due = $s->query("SELECT ains.enqueue('work', run_at => clock_timestamp() + '500 ms')");
my $log = -s $node->logfile;

# A new library comes with a restart.
$s->query("UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'ains'");
$s->close;
$node->restart;
$s = AinsTest::Session->new($node);
everything_refuses($s, qr/ALTER EXTENSION ains UPDATE/, 'old script');
$node->wait_for_log(qr/the sweeper of ains waits/, $log);
pass('the sweeper says that it waits');
like(substr(PostgreSQL::Test::Utils::slurp_file($node->logfile), $log), qr/HINT: .*ALTER EXTENSION ains UPDATE/, 'and why');
eventually($s, "SELECT clock_timestamp() > run_at + '1 s' FROM ains.task WHERE task_id = $due", 't', 'a task is due');
is($s->query("SELECT status FROM ains.task WHERE task_id = $due"), 'SCHEDULED', 'the sweeper leaves it alone');
ok(sweeper_pid($s), 'but stays');
my $lines = () = substr(PostgreSQL::Test::Utils::slurp_file($node->logfile), $log) =~ /the sweeper of ains waits/g;
is($lines, 1, 'it says so once');

# ALTER EXTENSION UPDATE, as far as it matters here.
$s->query('CREATE FUNCTION public.new_one() RETURNS int LANGUAGE sql AS $$SELECT 1$$');
$s->query("BEGIN; UPDATE pg_extension SET extversion = '$version' WHERE extname = 'ains';
	ALTER EXTENSION ains ADD FUNCTION public.new_one(); COMMIT");
is($s->query("SELECT ains.enqueue('work') > 0"), 't', 'the right version again: functions work');
eventually($s, "SELECT status FROM ains.task WHERE task_id = $due", 'PENDING', 'and the sweeper goes on');

done_testing();
