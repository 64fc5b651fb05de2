# ains-agent against a real server: what becomes of a command's output and exit
# status, and what happens when tasks, agents and the server go away.

use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $bin = $ENV{AINS_AGENT};
plan skip_all => 'AINS_AGENT does not name the ains-agent to test' unless $bin && -x $bin;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $patience = $PostgreSQL::Test::Utils::timeout_default || 180;

# ----------------------------------------------------------------------
# The command that the agents run: it does what the payload's "do" says.
# ----------------------------------------------------------------------
my $command = "$dir/command";
append_to_file($command, <<'EOS');
#!/usr/bin/perl
use strict;
use warnings;
my ($dir) = $0 =~ m{(.*)/};
my $payload = do { local $/; <STDIN> };
my ($do) = $payload =~ /"do": "(\w+)"/;
sub note_pid { open my $f, '>', "$dir/pid.tmp"; print $f $$; close $f; rename "$dir/pid.tmp", "$dir/pid.$ENV{AINS_TASK_ID}" }
$| = 1;
if ($do eq 'json') { print $payload }
elsif ($do eq 'text') { print "to be {or not}\n" }
elsif ($do eq 'almost') { print "{to be or not}\n" }
elsif ($do eq 'nul') { print qq("\\u0000"\n) }
elsif ($do eq 'bytes') { print "a\xffb\x00c" }
elsif ($do eq 'blank') { print " \n" }
elsif ($do eq 'large') { print "x" x 1_000_000 }
elsif ($do eq 'deaf') { close STDIN; print 1 }
elsif ($do eq 'fail') { print STDERR "x" x 5000, "no luck\n"; exit 7 }
elsif ($do eq 'hopeless') { print STDERR "never\n"; exit 65 }
elsif ($do eq 'snooze') { exit 75 }
elsif ($do eq 'signal') { kill KILL => $$ }
elsif ($do eq 'env') { print map { "$_=$ENV{$_}\n" } sort grep { /^AINS_/ && !/^AINS_(?:AGENT|TOP|SRC)$/ } keys %ENV }
elsif ($do eq 'leftover') { if (fork == 0) { $SIG{TERM} = 'IGNORE'; note_pid(); sleep 600 } print "left" }
elsif ($do eq 'hang') { note_pid(); sleep 600 }
elsif ($do eq 'stubborn') { $SIG{TERM} = 'IGNORE'; note_pid(); sleep 600 while 1 }
elsif ($do eq 'gate') { note_pid(); until (-e "$dir/gate.$ENV{AINS_TASK_ID}") { select undef, undef, undef, 0.02 } print "through" }
else { die "unknown: $payload" }
EOS
chmod 0755, $command;

# ----------------------------------------------------------------------
# Help without a server
# ----------------------------------------------------------------------
sub says
{
	my ($name, $args, $status, $out, $err) = @_;
	my ($stdout, $stderr) = ('', '');

	IPC::Run::run [ $bin, @$args ], '<', \undef, '>', \$stdout, '2>', \$stderr, IPC::Run::timeout($patience);
	is($? >> 8, $status, "$name: exit status");
	like($stdout, $out, "$name: standard output");
	like($stderr, $err, "$name: standard error");
	return;
}

says('--help', ['--help'], 0, qr/^Usage:\n.*--capability.*--once/ms, qr/^$/);
says('--version', ['--version'], 0, qr/^ains-agent \d+\.\d+\.\d+$/, qr/^$/);
says('no capability', [ '--', 'true' ], 2, qr/^$/, qr/--capability is missing/);
says('no command', [ '-c', 'x' ], 2, qr/^$/, qr/command is missing/);
says('unknown command', [ '-c', 'x', '--', 'no-such-command-here' ], 2, qr/^$/, qr/not found in PATH/);
says('unknown option', ['--nonsense'], 2, qr/^$/, qr/nonsense/);
says('bad number', [ '-c', 'x', '-j', '0', '--', 'true' ], 2, qr/^$/, qr/--concurrency must be/);
says('bad name', [ '-c', 'x' x 129, '--', 'true' ], 2, qr/^$/, qr/1 to 128 characters/);
says('bad dsn', [ '-d', 'nonsense=1', '-c', 'x', '--', 'true' ], 2, qr/^$/, qr/--dsn/);

# ----------------------------------------------------------------------
# A server
# ----------------------------------------------------------------------
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ains'\n");
$node->start;
my $dsn = $node->connstr('postgres');

says('not installed', [ '-d', $dsn, '-c', 'x', '--once', '--', 'true' ], 3, qr/^$/, qr/not installed.*CREATE EXTENSION ains/s);
says('no such database', [ '-d', $node->connstr('nowhere'), '-c', 'x', '--', 'true' ], 3, qr/^$/, qr/refuses this login/);

$node->safe_psql('postgres', 'CREATE EXTENSION ains');
$node->safe_psql('postgres', 'CREATE ROLE outsider LOGIN');
says('no privilege', [ '-d', "$dsn user=outsider", '-c', 'x', '--once', '--', 'true' ], 3, qr/^$/, qr/42501.*ains_agent/s);

# The capability used below fails fast and does not wait between attempts.
$node->safe_psql('postgres',
	"SELECT ains.configure_capability('do', backoff => 'fixed', backoff_base => '10 ms', jitter => 0)");

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Enqueues one task and returns its id.
sub enqueue
{
	my ($do, $more) = @_;
	return sql("SELECT ains.enqueue('do', '{\"do\": \"$do\"}'" . ($more ? ", $more" : '') . ')');
}

sub agent
{
	my ($id, @options) = @_;
	my $log = "$dir/$id.log";

	unlink $log;
	return {
		id => $id,
		log => $log,
		run => IPC::Run::start(
			[ $bin, '--dsn', $dsn, '--agent-id', $id, '-c', 'do', @options, '--', $command ],
			'<', \undef, '>', '/dev/null', '2>', $log, IPC::Run::timeout($patience)),
	};
}

# Waits for the agent's end; returns $? of it.
sub ended
{
	my ($agent) = @_;
	$agent->{run}->finish;
	return $agent->{run}->full_result(0);
}

sub until_true
{
	my ($condition, $what) = @_;

	for (1 .. $patience * 20)
	{
		return 1 if $condition->();
		usleep(50_000);
	}
	return diag("waited in vain until $what");
}

# The pid of the command that works on the task, once it does.
sub command_pid
{
	my ($task) = @_;
	until_true(sub { -s "$dir/pid.$task" }, "task $task runs");
	my $pid = slurp_file("$dir/pid.$task");
	unlink "$dir/pid.$task";
	return $pid;
}

sub gone
{
	my ($pid) = @_;
	return until_true(sub { !kill 0, $pid }, "process $pid is gone");
}

sub open_gate { append_to_file("$dir/gate.$_[0]", 'open'); return }

sub status_is
{
	my ($task, $expected, $name) = @_;
	ok($node->poll_query_until('postgres', "SELECT (SELECT status::text FROM ains.tasks WHERE task_id = $task)", $expected), $name)
	  or diag(sql("SELECT * FROM ains.tasks WHERE task_id = $task"));
	return;
}

sub finished_is
{
	my ($task, $columns, $expected, $name) = @_;
	is(sql("SELECT $columns FROM ains.task_history WHERE task_id = $task"), $expected, $name);
	return;
}

# ----------------------------------------------------------------------
# Output and exit status
# ----------------------------------------------------------------------
my %task = map { $_ => enqueue($_) } qw(json text almost nul bytes blank large deaf leftover);
is(ended(agent('outputs', '--once', '-j', '3')), 0, '--once ends with 0 when all tasks were completed');
finished_is($task{json}, 'status, attempt, result', 'COMPLETED|1|{"do": "json"}', 'JSON output is the result');
finished_is($task{text}, 'status, result', 'COMPLETED|"to be {or not}"', 'text becomes a JSON string');
finished_is($task{almost}, 'status, result', 'COMPLETED|"{to be or not}"', 'what only looks like JSON too');
finished_is($task{nul}, 'status, result', 'COMPLETED|"\"\\\\u0000\""', 'JSON that jsonb cannot hold too');
finished_is($task{bytes}, q{status, result = to_jsonb('a' || chr(65533) || 'b' || chr(65533) || 'c')}, 'COMPLETED|t', 'bytes that are no text are replaced');
finished_is($task{blank}, 'status, result IS NULL', 'COMPLETED|t', 'blank output is NULL');
finished_is($task{large}, q{status, length(result #>> '{}')}, 'COMPLETED|1000000', 'a megabyte of output');
finished_is($task{deaf}, 'status, result', 'COMPLETED|1', 'a command need not read its input');
finished_is($task{leftover}, 'status, result', 'COMPLETED|"left"', 'a process left behind does not hold up the task');
ok(gone(command_pid($task{leftover})), '... and is killed');
is(sql(q{SELECT agent_status FROM ains.agents WHERE agent_id = 'outputs'}), 'INACTIVE', 'the agent said goodbye');

%task = map { $_ => enqueue($_, 'max_attempts => 2') } qw(fail hopeless signal);
is(ended(agent('failures', '--once')) >> 8, 1, '--once ends with 1 when a task failed');
# A retry may become due just after --once found nothing.
ok($node->poll_query_until('postgres', 'SELECT NOT EXISTS (SELECT FROM ains.tasks WHERE status = $$SCHEDULED$$)'), 'retries become due');
ended(agent('failures', '--once'));
finished_is($task{fail}, q{status, attempt, length(error) BETWEEN 1000 AND 2100, error ~ '^exit code 7: x+no luck$'}, 'FAILED|2|t|t', 'exit code and the end of standard error');
finished_is($task{hopeless}, 'status, attempt, error', 'FAILED|1|exit code 65: never', 'exit code 65 is not retried');
finished_is($task{signal}, 'status, attempt, error', 'FAILED|2|signal 9 (Killed)', 'a signal is told');

my $snoozed = enqueue('snooze');
is(ended(agent('snoozer', '--once', '--snooze', '1 hour')) >> 8, 1, '--once ends with 1 when a task was given back');
is(sql("SELECT status, attempt, run_at > now() + interval '50 min' FROM ains.tasks WHERE task_id = $snoozed"), 'SCHEDULED|0|t', 'exit code 75 gives it back for later');
sql("SELECT ains.cancel($snoozed)");

my $env = enqueue('env', q{metadata => '{"a": 1}', timeout => '1 hour', priority => 7, max_attempts => 3});
enqueue('json');
is(ended(agent('env', '--max-tasks', '1')), 0, '--max-tasks ends after so many');
like(sql("SELECT result #>> '{}' FROM ains.task_history WHERE task_id = $env"),
	qr/^AINS_AGENT_ID=env\nAINS_ATTEMPT=1\nAINS_CAPABILITY=do\nAINS_DEADLINE=\d{4}-\d\d-\d\dT[\d:.]+Z\nAINS_LEASE_TOKEN=\d+\nAINS_MAX_ATTEMPTS=3\nAINS_METADATA=\{"a": 1\}\nAINS_PRIORITY=7\nAINS_TASK_ID=$env$/,
	'the environment tells about the task');
is(sql(q{SELECT count(*) FROM ains.tasks WHERE status = 'PENDING'}), 1, '... and the next task is still there');

# ----------------------------------------------------------------------
# Waiting, stopping
# ----------------------------------------------------------------------
for my $slots (1, 3)
{
	my $agent = agent("waiter$slots", '-j', $slots);
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'CALL ains.wait_for_task%' AND state = 'active'"),
		"$slots slots: waits");
	my $task = enqueue('text');
	status_is($task, 'COMPLETED', "$slots slots: work wakes it");

	my $gate = enqueue('gate');
	command_pid($gate);
	$agent->{run}->signal('TERM');
	ok($node->poll_query_until('postgres', "SELECT agent_status = 'DRAINING' FROM ains.agents WHERE agent_id = 'waiter$slots'"), "$slots slots: SIGTERM drains");
	my $later = enqueue('text');
	open_gate($gate);
	is(ended($agent), 0, "$slots slots: ends with 0");
	finished_is($gate, 'status, attempt, result', 'COMPLETED|1|"through"', "$slots slots: what runs is finished");
	is(sql("SELECT status FROM ains.tasks WHERE task_id = $later"), 'PENDING', "$slots slots: nothing more is claimed");
	sql("SELECT ains.cancel($later)");
}

my $agent = agent('impatient', '--grace', '0.1', '--kill-after', '0.2', '-j', '2');
my $stubborn = enqueue('stubborn');
my $pid = command_pid($stubborn);
$agent->{run}->signal('INT');
is(ended($agent), 0, 'SIGINT with a command that does not end');
ok(gone($pid), '... which is killed');
is(sql("SELECT status, attempt FROM ains.tasks WHERE task_id = $stubborn"), 'PENDING|0', '... and its task given back unharmed');

$agent = agent('hurried');
$pid = command_pid($stubborn);
$agent->{run}->signal('TERM');
ok($node->poll_query_until('postgres', q{SELECT agent_status = 'DRAINING' FROM ains.agents WHERE agent_id = 'hurried'}), 'one signal drains');
$agent->{run}->signal('TERM');
is(ended($agent) >> 8, 128 + 15, 'a second one ends it at once');
ok(gone($pid), '... and kills the command');
is(sql("SELECT status, attempt FROM ains.tasks WHERE task_id = $stubborn"), 'PENDING|0', '... and gives its task back');
sql("SELECT ains.cancel($stubborn)");

# ----------------------------------------------------------------------
# Cancelled, lost, superseded
# ----------------------------------------------------------------------
my @nervous = ('--heartbeat-timeout', '3 s', '--kill-after', '0.2');
for my $slots (1, 2)
{
	$agent = agent("obedient$slots", @nervous, '-j', $slots);
	my $task = enqueue('stubborn');
	$pid = command_pid($task);
	is(sql("SELECT ains.cancel($task)"), 'ACTIVE', "$slots slots: a held task is marked");
	status_is($task, 'CANCELLED', "$slots slots: its agent ends it");
	ok(gone($pid), "$slots slots: its command is killed");

	$task = enqueue('hang', q{timeout => '1 s', max_attempts => 1});
	$pid = command_pid($task);
	status_is($task, 'FAILED', "$slots slots: a timeout ends the attempt");
	ok(gone($pid), "$slots slots: and its command");
	$agent->{run}->signal('TERM');
	is(ended($agent), 0, "$slots slots: goes on after that");
}

$agent = agent('twin', @nervous);
my $hang = enqueue('hang');
$pid = command_pid($hang);
sql(q{SELECT ains.register_agent('twin', capabilities => '{other}')});
is(ended($agent) >> 8, 3, 'ends when another process takes its id');
like(slurp_file($agent->{log}), qr/took over the agent id "twin"/, '... says so');
ok(gone($pid), '... and kills its command');
is(sql(q{SELECT agent_status FROM ains.agents WHERE agent_id = 'twin'}), 'AVAILABLE', '... and leaves the other in peace');
sql("SELECT ains.cancel($hang)");

$agent = agent('drained', @nervous);
ok($node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM ains.agents WHERE agent_id = 'drained')}), 'an agent');
sql(q{SELECT ains.drain_agent('drained')});
my $waits = enqueue('text');
ok(until_true(sub { slurp_file($agent->{log}) =~ /DRAINING/ }, 'it notices'), '... drained by an operator notices');
is(sql("SELECT status FROM ains.tasks WHERE task_id = $waits"), 'PENDING', '... claims nothing');
sql(q{SELECT ains.resume_agent('drained')});
status_is($waits, 'COMPLETED', '... and goes on when resumed');

$agent->{run}->signal('TERM');
ended($agent);

# With two slots it also waits for work, which must not hide that it hangs.
$agent = agent('stalled', @nervous, '-j', '2');
my $gate = enqueue('gate');
$pid = command_pid($gate);
$agent->{run}->signal('STOP');
ok($node->poll_query_until('postgres', q{SELECT agent_status = 'DEAD' FROM ains.agents WHERE agent_id = 'stalled'}), 'a process that hangs is found dead');
$agent->{run}->signal('CONT');
ok(gone($pid), '... and stops its command when it wakes up');
command_pid($gate);
open_gate($gate);
status_is($gate, 'COMPLETED', '... and works again');
finished_is($gate, 'attempt', '2', '... on the next attempt');

$agent->{run}->signal('TERM');
is(ended($agent), 0, '... and ends in good order');

# ----------------------------------------------------------------------
# kill -9: the task runs elsewhere
# ----------------------------------------------------------------------
$agent = agent('victim');
$gate = enqueue('gate');
$pid = command_pid($gate);
my $heir = agent('heir');
ok($node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM ains.agents WHERE agent_id = 'heir')}), 'another agent waits');
$agent->{run}->signal('KILL');
ended($agent);
ok(gone($pid), 'the command of a killed agent dies with it') if $^O eq 'linux';
command_pid($gate);
open_gate($gate);
status_is($gate, 'COMPLETED', 'its task runs elsewhere');
finished_is($gate, 'attempt, agent_id', '2|heir', '... as the second attempt');
is(sql("SELECT agent_id, attempt FROM ains.attempts WHERE task_id = $gate"), 'victim|1', '... after the first was lost');

# ----------------------------------------------------------------------
# The server goes away and comes back
# ----------------------------------------------------------------------
$gate = enqueue('gate');
$pid = command_pid($gate);
$node->stop('immediate');
ok(kill(0, $pid), 'a command goes on while the server is down');
open_gate($gate);
ok(gone($pid), '... and ends');
$node->start;
status_is($gate, 'COMPLETED', 'its result is told when the server is back');
finished_is($gate, 'attempt, agent_id, result', '1|heir|"through"', '... by the same attempt');

$gate = enqueue('gate');
$pid = command_pid($gate);
$node->restart;
open_gate($gate);
status_is($gate, 'COMPLETED', 'a restart in good order');
my $after = enqueue('text');
status_is($after, 'COMPLETED', 'the agent still waits for work');

$node->restart;
status_is(enqueue('text'), 'COMPLETED', '... also after a restart in its sleep');
$heir->{run}->signal('TERM');
is(ended($heir), 0, 'and ends in good order');

$node->stop;
done_testing();
