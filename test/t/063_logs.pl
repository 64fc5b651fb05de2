# Lines in the server's log for machines: one JSON object each, with a code, not
# for what is rolled back, and not too many.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ains_node('main', test_clock => 1, conf => <<'EOS');
log_line_prefix = '%e|%b|'
ains.audit_interval = 1
log_error_verbosity = verbose
client_min_messages = log
EOS
my $s = AinsTest::Session->new($node);

sub advance { return $s->query("SELECT ains_internal.advance_clock('$_[0]')") }

# All lines so far: [SQLSTATE, kind of process, object].
sub lines
{
	return map { /^(\w{5})\|([^|]*)\|LOG:\s+(?:\w{5}: )?ains: (\{.*\})$/ ? [ $1, $2, decode_json($3) ] : () }
	  split /\n/, slurp_file($node->logfile);
}
sub events { my ($event) = @_; return grep { $_->{event} eq $event } map { $_->[2] } lines() }

# A test: soon there is such a line, and it says that.
sub told
{
	my ($event, $expected, $name) = @_;
	my $got;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	poll(sub { ($got) = (events($event))[-1] }) or return fail("$name: no such line");
	return is_deeply($got, { event => $event, suppressed => 0, %$expected }, $name) || diag(explain($got));
}

# ----------------------------------------------------------------------
# Each event
# ----------------------------------------------------------------------

$s->query("SELECT ains.register_agent('it''s \"a\"', capabilities => '{x}', heartbeat_timeout => '1 min')");
$s->query("SELECT ains.register_agent('b', capabilities => '{y}', heartbeat_timeout => '1 year')");
$s->query("SELECT ains.configure_capability('y', max_attempts => 2, jitter => 0, timeout => '10 min')");
my $x = $s->query("SELECT ains.enqueue('x')");
my $y = $s->query("SELECT ains.enqueue('y')");
my $after = $s->query("SELECT ains.enqueue('y', depends_on => ARRAY[$y])");
$s->query("SELECT count(*) FROM ains.claim('it''s \"a\"')");
$s->query("SELECT count(*) FROM ains.claim('b')");

is(scalar(lines()), 0, 'nothing is said while all is well');

advance('61 s');
eventually($s, "SELECT status FROM ains.task WHERE task_id = $x", 'PENDING', 'an agent dies with a task');
my $died;
poll(sub { ($died) = events('agent_died') }) or die 'it is not told';
cmp_ok(delete $died->{silent_seconds}, '>=', 60, 'how long it was silent');
is_deeply($died, { code => 'NS101', event => 'agent_died', agent_id => "it's \"a\"", reason => 'silent', leases => 1, suppressed => 0 }, 'an agent died');
told('lease_taken_back', { code => 'NS102', task_id => $x + 0, capability => 'x', agent_id => "it's \"a\"", attempt => 1,
	reason => 'agent_dead', next_status => 'PENDING' }, 'its lease was taken back');

for my $attempt (1, 2)
{
	advance('11 min');
	poll(sub { $s->query("SELECT count(*) FROM ains.task WHERE task_id = $y AND status = 'ACTIVE'") eq '0' }) or die 'it does not time out';
	advance('2 s');
	$s->query("SELECT count(*) FROM ains.claim('b')") if $attempt == 1 && poll(sub { $s->query("SELECT status FROM ains.task WHERE task_id = $y") eq 'PENDING' });
}
told('lease_taken_back', { code => 'NS102', task_id => $y + 0, capability => 'y', agent_id => 'b', attempt => 2,
	reason => 'timed_out', next_status => 'FAILED' }, 'a lease ended by a timeout');
my @dead;
poll(sub { (@dead = events('dead_letter')) == 2 });
is_deeply([ map { [ @$_{qw(code task_id capability attempt reason)} ] } @dead ],
	[ [ 'NS103', $y + 0, 'y', 2, 'timed_out' ], [ 'NS103', $after + 0, 'y', 0, 'dependency_failed' ] ],
	'a dead letter, and one that depended on it');

$s->query("SELECT ains_internal.stall_clock('5 min')");
ok(poll(sub { events('sweeper_late') }), 'a sweep that was late');
my ($late) = events('sweeper_late');
cmp_ok($late->{late_seconds}, '>', 200, 'by how much');
is($late->{code}, 'NS104', 'and its code');

my $first = $s->query("SELECT min(relname) FROM pg_class WHERE relname ~ '^task_history_[0-9]{8}\$'");
advance('9 days');
ok(poll(sub { events('partition_dropped') }), 'a day of history is dropped');
is_deeply((events('partition_dropped'))[0], { code => 'NS105', event => 'partition_dropped', partition => $first,
	reason => 'retention', suppressed => 0 }, 'and which');

is_deeply([ grep { $_->[0] ne $_->[2]{code} } lines() ], [], 'the code is the SQLSTATE of the line');
unlike(slurp_file($node->logfile), qr/ains: \{.*\n.*(?:STATEMENT|CONTEXT|DETAIL):/, 'nothing else is written with it');
$s->query("SELECT ains.enqueue('x', priority => 10)");
$s->query("SELECT ains.register_agent('it''s \"a\"', capabilities => '{x}', heartbeat_timeout => '1 year')");

# ----------------------------------------------------------------------
# What is rolled back
# ----------------------------------------------------------------------

my $fail = "SELECT count(ains.fail(task_id, lease_token, 'no', retryable => false)) FROM ains.claim('b', 1)";
my $before = events('dead_letter');

$s->query("SELECT ains.enqueue('y') FROM generate_series(1, 4)");
$s->query("BEGIN; $fail; ROLLBACK");
is(scalar(events('dead_letter')), $before, 'what is rolled back is not told');
$s->query("BEGIN; $fail; SAVEPOINT s; $fail; SAVEPOINT t; $fail; RELEASE t; ROLLBACK TO s; SAVEPOINT u; $fail; RELEASE u; COMMIT");
is(scalar(events('dead_letter')), $before + 2, 'nor is what a savepoint undid');
is($s->query("SELECT count(*) FROM ains.dead_letters WHERE capability = 'y'"), '2', 'as the table says: the days before were dropped');

# ----------------------------------------------------------------------
# Too many
# ----------------------------------------------------------------------

sub new_minute { advance('2 min'); return }

$s->query("SELECT ains.enqueue('y') FROM generate_series(1, 201)");
new_minute();
$before = events('dead_letter');
$s->query("SELECT count(ains.fail(task_id, lease_token, 'no', retryable => false)) FROM ains.claim('b', 100)");
$s->query($fail) for 1 .. 10;
cmp_ok(scalar(events('dead_letter')) - $before, '<=', 60, 'only some of them are written');
cmp_ok(scalar(events('dead_letter')) - $before, '>=', 30, 'but these are');
my $written = events('dead_letter') - $before;
new_minute();
$s->query($fail);
my ($suppressed, @later) = (0, events('dead_letter'));
# a minute may have ended meanwhile, so perhaps not all in the last line
$suppressed += $_->{suppressed} for @later[$before .. $#later];
is($suppressed, 110 - $written, 'the next line says how many were not');
is($s->query("SELECT value FROM ains.metric_samples() WHERE name = 'ains_log_lines_suppressed_total'"), 110 - $written, 'and a metric');
is($s->query("SELECT value FROM ains.metric_samples() WHERE name = 'ains_tasks_failed_total' AND labels ->> 'capability' = 'y'"),
	$before + 111, 'all of them are counted');
$s->query($fail);
is((events('dead_letter'))[-1]->{suppressed}, 0, 'once');

done_testing();
