# A streaming standby: what it answers, and its promotion under load. With a
# synchronous standby nothing acknowledged is lost; with an asynchronous one
# and synchronous_commit off commits may be, but no token comes twice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsLoad;
use AinsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = seed();
my $clients = 4;
my $conf = "log_statement = none\nains.sweep_max_nap = '200 ms'\n";

sub standby_of
{
	my ($primary, $name) = @_;
	my $standby = PostgreSQL::Test::Cluster->new($name);

	$primary->backup("for_$name");
	$standby->init_from_backup($primary, "for_$name", has_streaming => 1);
	$standby->start;
	return $standby;
}

my $first = ains_node('first', streaming => 1, conf => $conf);
my $second = standby_of($first, 'second');
my $load = AinsLoad->new(nodes => [ $first, $second ], seed => $seed);

# ----------------------------------------------------------------------
note 'on the standby';

my $s = AinsTest::Session->new($first);
$s->query("SELECT ains.register_agent('a', capabilities => '{work}')");
$s->query("SELECT ains.enqueue('work') FROM generate_series(1, 3)");
my ($held, $held_token) = split /\|/, $s->query("SELECT task_id, lease_token FROM ains.claim('a', lease => '1 hour')");
$s->query("SELECT ains.complete(task_id, lease_token) FROM ains.claim('a')");
$s->query("SELECT ains.create_run('r')");
my $waiting = $s->query("SELECT task_id FROM ains.tasks WHERE status = 'PENDING'");
$first->wait_for_catchup($second, 'replay', $first->lsn('insert'));

my $r = AinsTest::Session->new($second);

# Every call there is: those that only read work, all others are refused.
my %reads = calls_that_read($waiting);
my %writes = calls_that_write($waiting, $held, $held_token);

my @routines = split /\n/, $r->query("SELECT DISTINCT proname FROM pg_proc
	WHERE pronamespace = 'ains'::regnamespace ORDER BY 1");
is(join(' ', grep { !$reads{$_} && !$writes{$_} } @routines), '', 'this test knows every function');
for my $name (@routines)
{
	if ($reads{$name})
	{
		my $expected = $s->query($reads{$name});
		is($r->query($reads{$name}), $expected, "$name() works");
	}
	elsif ($writes{$name})
	{
		raises($r, $writes{$name}, '25006', "$name() is refused");
	}
}
for my $view ('tasks', 'agents', 'active_agents', 'dead_agents', 'dead_letters', 'attempts')
{
	is($r->query("SELECT count(*) FROM ains.$view"), $s->query("SELECT count(*) FROM ains.$view"), "view $view");
}
is($r->query("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'ains %'"), '0', 'no workers');
is($r->query('SELECT pg_is_in_recovery()'), 't', 'nothing of it ended the standby');
$s->query("SELECT ains.complete($held, $held_token)");
$s->query("SELECT ains.cancel($waiting)");
$_->close for $s, $r;

# ----------------------------------------------------------------------
note 'promotion of a synchronous standby';

sub take_over
{
	my ($from, $to) = @_;

	$load->progress(200);
	$load->lossy_crash if $load->{lossy};
	$from->stop('immediate');
	$to->promote;
	$load->progress(200);
	return;
}

$first->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = '*'");
$first->reload;
$first->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
  or die 'no synchronous standby';
$load->start($clients);
take_over($first, $second);
$load->stop;
$load->verify($second, 'synchronous');
ok($load->drain($second), 'synchronous: what is left can be done');
$load->verify($second, 'synchronous, all done');

$s = AinsTest::Session->new($second);
ok(sweeper_pid($s), 'a sweeper runs now');
$s->query("SELECT ains.register_agent('a', capabilities => '{work}'); SELECT ains.enqueue('work')");
cmp_ok($s->query("SELECT lease_token FROM ains.claim('a')"), '>', $held_token, 'tokens go on');
$s->query("SELECT ains.complete(task_id, lease_token) FROM ains.task WHERE status = 'ACTIVE'");
$s->close;

# ----------------------------------------------------------------------
note 'promotion of an asynchronous standby, synchronous_commit off';

$second->safe_psql('postgres', 'ALTER SYSTEM SET synchronous_commit = off');
$second->reload;
my $third = standby_of($second, 'third');
$load = AinsLoad->new(nodes => [ $second, $third ], seed => $seed);
$load->{lossy} = 1;
$second->wait_for_catchup($third, 'replay', $second->lsn('insert'));
$load->start($clients);
take_over($second, $third);
$load->stop;
ok($load->drain($third), 'asynchronous: what is left can be done');
$load->verify_tokens($third, 'asynchronous');
$third->stop;

done_testing();
