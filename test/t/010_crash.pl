# Crashes under load: backends and the sweeper killed with SIGKILL, immediate
# shutdowns. Clients write down what the server acknowledged; afterwards none
# of it is lost, no task was completed twice, and no two leases of a task were
# valid at once. With synchronous_commit off commits may be lost, but no token
# comes twice all the same.
#
# What happens depends on chance: AINS_TEST_SEED repeats the clients' choices
# (if not their timing).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsLoad;
use AinsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = seed();
my $clients = 5;

# Kills the process with SIGKILL, which makes the server restart, and waits.
sub kill_and_wait
{
	my ($node, $pid) = @_;
	my $log = -s $node->logfile;

	kill 'KILL', $pid;
	$node->wait_for_log(qr/all server processes terminated; reinitializing/, $log);
	wait_for_restart($node);
	return;
}

# A client's backend that is busy in a call of ains.
sub busy_backend
{
	my ($node) = @_;
	my $s = AinsTest::Session->new($node);
	my $pid = poll(
		sub {
			my @pids = split /\n/, $s->query("SELECT pid FROM pg_stat_activity
				WHERE application_name = 'ains load' AND state = 'active' AND query LIKE '%ains.%' ORDER BY pid");
			return $pids[ rand @pids ];
		}) || die 'no client is busy';

	$s->close;
	return $pid;
}

my %crash = (
	'backend killed' => sub { kill_and_wait($_[0], busy_backend($_[0])) },
	'sweeper killed' => sub {
		my $s = AinsTest::Session->new($_[0]);
		my $pid = sweeper_pid($s) || die 'no sweeper';
		$s->close;
		kill_and_wait($_[0], $pid);
	},
	'immediate shutdown' => sub {
		$_[0]->stop('immediate');
		$_[0]->start;
	},
	# no crash: a client's connection ends in the middle of a call
	'backend terminated' => sub {
		my $s = AinsTest::Session->new($_[0]);
		$s->query('SELECT pg_terminate_backend(' . busy_backend($_[0]) . ')');
		$s->close;
	});

sub crashes
{
	my ($node, $load, @crashes) = @_;

	for my $name (@crashes)
	{
		$load->progress(150);
		$load->lossy_crash if $load->{lossy};
		note("$name after " . $load->answers('completed') . ' tasks');
		$crash{$name}->($node);
	}
	$load->progress(150);
	return;
}

sub new_node
{
	my ($name, $synchronous_commit) = @_;

	return ains_node($name, conf => <<EOS);
restart_after_crash = on
synchronous_commit = $synchronous_commit
log_statement = none
ains.sweep_max_nap = '200 ms'
EOS
}

# ----------------------------------------------------------------------
note 'many want few tasks';

my $node = new_node('durable', 'on');
my $load = AinsLoad->new(nodes => [$node], seed => $seed, hot => 1);
$node->safe_psql('postgres', 'SELECT ains.enqueue_batch($$' . $load->capability . '$$, $$[1,2,3]$$)');
$load->start(4);
$load->progress(3000, 'released');
$load->stop;
$load->verify_tokens($node, 'hot');
$node->safe_psql('postgres', 'SELECT ains.cancel(task_id) FROM ains.task');

# ----------------------------------------------------------------------
note 'synchronous_commit on';

$load = AinsLoad->new(nodes => [$node], seed => $seed);
$load->start($clients);
crashes($node, $load, 'backend killed', 'backend terminated', 'sweeper killed',
	'immediate shutdown', 'backend killed', 'backend terminated', 'immediate shutdown');
$load->stop;
$load->verify($node, 'durable');
ok($load->drain($node), 'durable: what is left can be done');
$load->verify($node, 'durable, all done');
$node->stop;

# ----------------------------------------------------------------------
note 'synchronous_commit off';

$node = new_node('hasty', 'off');
$load = AinsLoad->new(nodes => [$node], seed => $seed);
$load->{lossy} = 1;
$load->start($clients);
crashes($node, $load, 'backend killed', 'immediate shutdown', 'sweeper killed', 'immediate shutdown');
$load->stop;
ok($load->drain($node), 'hasty: what is left can be done');
$load->verify_tokens($node, 'hasty');
$node->stop;

done_testing();
