# Whose turn it is: which waiters a commit wakes, how many, and what becomes of
# a wake-up that is not used. No sweeper runs here, so nobody else wakes them;
# backends are stopped to have them woken and not yet running.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ains_node('main', conf => "ains.databases = 'nowhere'");
my $s = AinsTest::Session->new($node);

# Seconds in which something that must not happen would have happened.
my $moment = 0.3;

$s->query("SELECT ains.register_agent('$_', capabilities => '{work}')") for qw(boss w1 w2 w3 w4 w5);

sub sleeper
{
	my ($agent) = @_;
	my $waiter = AinsTest::Session->new($node);
	my $pid = $waiter->pid;

	$waiter->send("CALL ains.wait_for_task('$agent', '2 min')");
	poll(sub { $s->query("SELECT state = 'active' AND wait_event_type = 'Extension'
			FROM pg_stat_activity WHERE pid = $pid") eq 't' })
	  or die "backend $pid does not sleep";
	return $waiter;
}

sub woken
{
	my ($waiter, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $ready = $waiter->ready(patience());
	ok($ready, "$name: woken");
	is(AinsTest::Session::rows($waiter->result), 't', "$name: ready") if $ready;
	$waiter->close;
	return;
}

sub sleep_on
{
	my ($name, @waiters) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(scalar(grep { $_->ready($moment) } @waiters), 0, "$name: the others sleep on");
}

sub take_all { return $s->query("SELECT count(*) FROM ains.claim('boss', 1000)") }
sub stop { return kill 'STOP', $_[0]->pid }
sub go_on { return kill 'CONT', $_[0]->pid }

# ----------------------------------------------------------------------
note 'as many as there are tasks, who waits longest first';

my @waiters = map { sleeper("w$_") } 1 .. 5;
$s->query("SELECT ains.enqueue('work')");
woken(shift @waiters, 'one task');
sleep_on('one task', @waiters);
is(take_all(), '1', 'claimed');
$s->query("SELECT ains.enqueue_batch('work', '[1,2]')");
woken(shift @waiters, 'a batch of two') for 1 .. 2;
sleep_on('a batch of two', @waiters);
is(take_all(), '2', 'claimed');

# ----------------------------------------------------------------------
note 'a task that somebody else was faster to take';

stop($waiters[0]);
$s->query("SELECT ains.enqueue('work')");
is(take_all(), '1', 'claimed while who was woken does not run');
go_on($waiters[0]);
sleep_on('nothing left', @waiters);
$s->query("SELECT ains.enqueue('work')");
woken(shift @waiters, 'it kept its turn');
sleep_on('it kept its turn', @waiters);
take_all();

# ----------------------------------------------------------------------
note 'a wake-up that cannot be used goes on';

sub passed_on
{
	my ($name, $end) = @_;
	my $next = sleeper('w1');
	my $gone = shift @waiters;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	stop($gone);
	$s->query("SELECT ains.enqueue('work')");
	$end->($gone);
	sleep_on("$name, before it runs", $next);
	go_on($gone);
	woken($next, $name);
	is(take_all(), '1', 'claimed');
	return;
}

passed_on('cancelled', sub { $s->query('SELECT pg_cancel_backend(' . $_[0]->pid . ')') });
push @waiters, sleeper('w2');
passed_on('terminated', sub { $s->query('SELECT pg_terminate_backend(' . $_[0]->pid . ')') });
push @waiters, sleeper('w2');
passed_on('drained', sub { $s->query("SELECT ains.drain_agent('w2')") });
$s->query("SELECT ains.resume_agent('w2')");

# Who was told, and does not claim: without a sweeper the others glance.
$s->query("SELECT ains.register_agent('w3', capabilities => '{work}', heartbeat_timeout => '1 s')");
my $told = sleeper('w2');
my $next = sleeper('w3');
$s->query("SELECT ains.enqueue('work')");
woken($told, 'who does not claim');
woken($next, 'who glances');
take_all();

# ----------------------------------------------------------------------
note 'waiting renews leases that are shorter than a sleep';

$s->query("SELECT ains.register_agent('$_', capabilities => '{short}')") for qw(waits silent);
for my $agent (qw(silent waits))
{
	$s->query("SELECT ains.enqueue('short')");
	is($s->query("SELECT count(*) FROM ains.claim('$agent', lease => '1 s')"), '1', "$agent: claimed");
}
my $waiter = sleeper('waits');
eventually($s, "SELECT clock_timestamp() > max(lease_expires_at) + interval '1 ms' FROM ains.task WHERE capability = 'short'",
	't', 'the leases are over');
is($s->query('SELECT leases_expired FROM ains.sweep()'), '1', 'one is taken back');
is($s->query("SELECT agent_id FROM ains.task WHERE capability = 'short' AND status = 'ACTIVE'"),
	'waits', 'the other agent waits');
$waiter->hang_up;

# ----------------------------------------------------------------------
note 'an agent that holds as many tasks as it may';

$s->query("SELECT ains.register_agent('full', capabilities => '{narrow}', max_active_tasks => 1)");
$s->query("SELECT ains.register_agent('free', capabilities => '{narrow}')");
$s->query("SELECT ains.enqueue('narrow') FROM generate_series(1, 2)");
my $held = $s->query("SELECT task_id || ', ' || lease_token FROM ains.claim('full')");
my $full = sleeper('full');
sleep_on('there is a task, but no room for it', $full);
is($s->query("SELECT count(*) FROM ains.claim('free')"), '1', 'another agent takes it');
$s->query("SELECT ains.enqueue('narrow')");
sleep_on('nor for the next', $full);
$s->query("SELECT ains.complete($held)");
woken($full, 'there is room');
is($s->query("SELECT count(*) FROM ains.claim('full')"), '1', 'and it claims');

done_testing();
