# AinsTest: what the TAP tests of ains share.
#
#	use FindBin;
#	use lib "$FindBin::Bin/lib";
#	use AinsTest;
#
#	my $node = ains_node('main', test_clock => 1);
#	my $s = AinsTest::Session->new($node);
#	$s->query('SELECT 1');				# '1'; dies when it fails
#	$s->try('SELECT 1/0')->{code};		# '22012'; never dies
#	$s->send("CALL ains.wait_for_task('a')");
#	$s->ready(0);						# not yet
#	$s->result->{rows};					# waits, but not forever
#	raises($s, 'SELECT 1/0', '22012', 'a division');
#	eventually($s, 'SELECT true', 't', 'something');
#
# A Session is a connection that speaks the protocol itself: unlike psql it
# gives SQLSTATEs, can wait for several answers at once, and can vanish as a
# killed client does (hang_up).
package AinsTest;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime usleep);

our @EXPORT = qw(ains_node now patience poll eventually raises vanishes
  sweeper_pid wait_for_restart seed miscounted calls_that_read calls_that_write);

# Seconds after which a test gives up waiting for what must come.
sub patience { return $ENV{PG_TEST_TIMEOUT_DEFAULT} // 60 }

sub now { return clock_gettime(CLOCK_MONOTONIC) }

# A server that runs, with ains in database postgres. Options: conf (lines of
# postgresql.conf), streaming, test_clock, and, if false, extension, preload.
sub ains_node
{
	my ($name, %option) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(allows_streaming => $option{streaming} ? 1 : 0);
	$node->append_conf('postgresql.conf', join "\n",
		($option{preload} // 1 ? "shared_preload_libraries = 'ains'" : ()),
		($option{test_clock} ? 'ains.enable_test_clock = on' : ()),
		'max_connections = 40',
		'shared_buffers = 32MB',
		'client_min_messages = warning',
		$option{conf} // '');
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION ains') if $option{extension} // 1;
	return $node;
}

# Runs the code until it returns true, which it returns; false: it did not, in
# so many seconds or as long as we have patience.
sub poll
{
	my ($code, $seconds) = @_;
	my $until = now() + ($seconds // patience());
	my $answer;

	until ($answer = $code->())
	{
		return $answer if now() > $until;
		usleep(10_000);
	}
	return $answer;
}

# A test: the query returns what is expected, if not now, then soon.
sub eventually
{
	my ($session, $query, $expected, $name, $seconds) = @_;
	my $last = '';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(poll(sub { ($last = $session->query($query)) eq $expected }, $seconds), $name)
	  || diag("$query\nreturns: $last\nexpected: $expected");
}

# A test: the statement fails with this SQLSTATE. Returns the result.
sub raises
{
	my ($session, $statement, $code, $name) = @_;
	my $result = $session->try($statement);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($result->{code} // 'no error', $code, $name) or diag($result->{message} // $statement);
	return $result;
}

# A test: the backend with this pid ends.
sub vanishes
{
	my ($session, $pid, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return eventually($session, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", '0', $name);
}

# The process id of the database's sweeper, once there is one.
sub sweeper_pid
{
	my ($session, $db) = @_;

	$db //= 'postgres';
	return poll(
		sub {
			$session->query("SELECT pid FROM pg_stat_activity
				WHERE backend_type = 'ains sweeper' AND datname = '$db'");
		});
}

# Returns when the server that just crashed lets us in again.
sub wait_for_restart
{
	my ($node, $db) = @_;

	return poll(
		sub {
			my $s = eval { AinsTest::Session->new($node, db => $db) } or return 0;
			return !defined $s->try('SELECT 1')->{code};
		}) || die 'the server does not come back';
}

# Where randomness begins: AINS_TEST_SEED, or something new. Says what.
sub seed
{
	my $seed = $ENV{AINS_TEST_SEED} // int(rand(2**31));

	note("AINS_TEST_SEED=$seed");
	srand($seed);
	return $seed;
}

# A query: what the counters have wrong. Live tasks by memory are those of the
# table; and, if the server has known ains only since it was started with no
# task, what was enqueued and has not ended.
sub miscounted
{
	my (%option) = @_;
	my $events = $option{since_start} // 1 ? '' : 'AND false';

	return "SELECT coalesce(n.capability, t.capability), coalesce(counter, status), value, count
		FROM (SELECT * FROM ains_internal.counters() WHERE counter = upper(counter)) n
			FULL JOIN (SELECT capability, status::text, count(*) FROM ains.task GROUP BY 1, 2) t
			ON (n.capability, n.counter) = (t.capability, t.status)
		WHERE value IS DISTINCT FROM coalesce(count, 0)
		UNION ALL
		SELECT capability, 'events', sum(value), 0 FROM (SELECT capability,
			CASE WHEN counter IN ('enqueued', 'put_back') THEN value
				WHEN counter = upper(counter) OR counter IN ('completed', 'failed', 'cancelled', 'expired') THEN -value END
			FROM ains_internal.counters() WHERE bound IS NULL $events) n (capability, value)
		GROUP BY capability HAVING sum(value) <> 0 LIMIT 5";
}

# A call of every function there is, by name. The ids are of a waiting and a
# held task and its token; they need not exist where calls are refused.
sub calls_that_read
{
	my ($waiting) = @_;

	return (
		agent_stats => 'SELECT total FROM ains.agent_stats()',
		check_health => 'SELECT count(*) > 0 FROM ains.check_health()',
		dependencies => "SELECT count(*) FROM ains.dependencies($waiting)",
		dependents => "SELECT count(*) FROM ains.dependents($waiting)",
		explain_task => "SELECT count(*) > 0 FROM ains.explain_task($waiting)",
		get_task => "SELECT status FROM ains.get_task($waiting)",
		health => 'SELECT ains.health() IS NOT NULL',
		leaderboard => 'SELECT count(*) FROM ains.leaderboard()',
		metric_samples => 'SELECT count(*) > 0 FROM ains.metric_samples()',
		metrics => "SELECT ains.metrics() <> ''",
		preview_route => "SELECT count(*) FROM ains.preview_route('work')",
		queue_stats => "SELECT pending FROM ains.queue_stats() WHERE capability = 'work'",
		run_progress => 'SELECT count(*) FROM ains.run_progress(1)',
		search_agents => 'SELECT count(*) FROM ains.search_agents()',
		trust_history => "SELECT count(*) FROM ains.trust_history('a')");
}

sub calls_that_write
{
	my ($waiting, $held, $token) = @_;

	return (
		add_webhook => "SELECT ains.add_webhook('https://example.com', '{*}', 'x')",
		adjust_trust => "SELECT ains.adjust_trust('a', 0, 'x')",
		assign => "SELECT ains.assign($waiting)",
		attach_agent => "SELECT ains.attach_agent('a')",
		cancel => "SELECT ains.cancel($waiting)",
		cancel_run => 'SELECT ains.cancel_run(1)',
		checkpoint => "SELECT ains.checkpoint($held, $token, '1')",
		claim => "SELECT * FROM ains.claim('a')",
		complete => "SELECT ains.complete($held, $token)",
		complete_batch => "SELECT ains.complete_batch(ARRAY[$held], ARRAY[$token])",
		configure_capability => "SELECT ains.configure_capability('work')",
		create_run => "SELECT ains.create_run('r')",
		detach_agent => "SELECT ains.detach_agent('a')",
		drain_agent => "SELECT ains.drain_agent('a')",
		drop_template => "SELECT ains.drop_template('t')",
		enqueue => "SELECT ains.enqueue('work')",
		enqueue_batch => "SELECT ains.enqueue_batch('work', '[1]')",
		enqueue_chain => q{SELECT ains.enqueue_chain('[{"capability": "work"}]')},
		enqueue_from_template => "SELECT ains.enqueue_from_template('t')",
		extend_lease => "SELECT ains.extend_lease($held, $token)",
		fail => "SELECT ains.fail($held, $token, 'x')",
		heartbeat => "SELECT ains.heartbeat('a')",
		pause => "SELECT ains.pause('work')",
		pause_schedule => "SELECT ains.pause_schedule('s')",
		prune_agents => 'SELECT ains.prune_agents()',
		publish_capability => "SELECT ains.publish_capability('a', 'work')",
		redrive => 'SELECT ains.redrive()',
		register_agent => "SELECT ains.register_agent('b')",
		release => "SELECT ains.release($held, $token)",
		release_dead_agent_leases => 'SELECT ains.release_dead_agent_leases()',
		rescan => 'SELECT ains.rescan()',
		resolve_run => "SELECT ains.resolve_run(1, 'accept')",
		resume => "SELECT ains.resume('work')",
		resume_agent => "SELECT ains.resume_agent('a')",
		resume_schedule => "SELECT ains.resume_schedule('s')",
		remove_webhook => "SELECT ains.remove_webhook(ains.add_webhook('https://example.com', '{*}', 'x'))",
		retry => "SELECT ains.retry($waiting)",
		retry_run => 'SELECT ains.retry_run(1)',
		run_schedules => 'SELECT ains.run_schedules()',
		save_template => "SELECT ains.save_template('t', 'work')",
		schedule => "SELECT ains.schedule('s', '* * * * *', 'work')",
		set_quota => "SELECT ains.set_quota(current_user::regrole, 9)",
		set_priority => "SELECT ains.set_priority($waiting, 3)",
		stop_agent => "SELECT ains.stop_agent('a')",
		sweep => 'SELECT ains.sweep()',
		unschedule => "SELECT ains.unschedule('s')",
		wait_for_result => "CALL ains.wait_for_result($waiting, '0')",
		wait_for_task => "CALL ains.wait_for_task('a', '0')",
		withdraw_capability => "SELECT ains.withdraw_capability('a', 'work')");
}

package AinsTest::Session;

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;

# Options: db, user, name (application_name), options (as in PGOPTIONS).
# Dies when the server does not let us in.
sub new
{
	my ($class, $node, %option) = @_;
	my $path = $node->host . '/.s.PGSQL.' . $node->port;
	my $socket =
	  -S $path
	  ? IO::Socket::UNIX->new(Peer => $path)
	  : IO::Socket::INET->new(PeerHost => $node->host, PeerPort => $node->port);
	my $self = bless { socket => $socket, in => '', result => {}, ready => 0 }, $class;
	my %parameter = (
		user => $option{user} // scalar getpwuid($<),
		database => $option{db} // 'postgres',
		application_name => $option{name} // 'ains test',
		$option{options} ? (options => $option{options}) : ());

	die "no connection: $@\n" unless $socket;
	local $SIG{PIPE} = 'IGNORE';
	my $body = pack('N', 196608) . join('', map { "$_\0$parameter{$_}\0" } sort keys %parameter) . "\0";
	$self->put(pack('N', 4 + length $body) . $body);
	my $answer = $self->result;
	die "connection refused: $answer->{message}\n" if defined $answer->{code};
	return $self;
}

# The process id of our backend.
sub pid { return $_[0]{pid} }

sub put
{
	my ($self, $bytes) = @_;

	local $SIG{PIPE} = 'IGNORE';
	while (length $bytes)
	{
		my $n = syswrite($self->{socket}, $bytes);
		return $self->lose unless defined $n;
		substr($bytes, 0, $n, '');
	}
	return;
}

# The connection is gone: so is what was asked.
sub lose
{
	my ($self) = @_;

	$self->{result}{code} //= '08006';
	$self->{result}{message} //= 'connection lost';
	$self->{lost} = $self->{ready} = $self->{result}{lost} = 1;
	return;
}

# Sends statements and does not wait for the answer.
sub send
{
	my ($self, $sql) = @_;

	die "the answer before is not read yet\n" unless $self->{ready};
	$self->{result} = { rows => [], notices => [] };
	return $self->lose if $self->{lost};
	$self->{ready} = 0;
	$self->put('Q' . pack('N', 5 + length $sql) . "$sql\0");
	return;
}

# Whether the answer is there, or comes within so many seconds.
sub ready
{
	my ($self, $seconds) = @_;
	my $until = AinsTest::now() + ($seconds // 0);
	my $select = IO::Select->new($self->{socket});

	$self->take;
	while (!$self->{ready})
	{
		my $left = $until - AinsTest::now();

		# nothing to read: the time is over, or a signal came
		if (!$select->can_read($left > 0 ? $left : 0))
		{
			last if $left <= 0;
			next;
		}
		my $n = sysread($self->{socket}, $self->{in}, 65536, length $self->{in});
		$self->lose unless $n;
		$self->take;
	}
	return $self->{ready};
}

# Takes in the messages that came.
sub take
{
	my ($self) = @_;

	while (length $self->{in} >= 5)
	{
		my ($type, $length) = unpack('a N', $self->{in});
		last if length $self->{in} < 1 + $length;
		my $body = substr($self->{in}, 5, $length - 4);
		my $result = $self->{result};
		substr($self->{in}, 0, 1 + $length, '');

		if ($type eq 'T') { $result->{rows} = [] }
		elsif ($type eq 'D')
		{
			my ($n, $rest) = unpack('n a*', $body);
			my @row;
			for (1 .. $n)
			{
				my ($len) = unpack('l>', $rest);
				push @row, $len < 0 ? undef : substr($rest, 4, $len);
				substr($rest, 0, 4 + ($len < 0 ? 0 : $len), '');
			}
			push @{ $result->{rows} }, \@row;
		}
		elsif ($type eq 'E' || $type eq 'N')
		{
			my %field = map { /^(.)(.*)/s ? ($1 => $2) : () } split /\0/, $body;
			if ($type eq 'N') { push @{ $result->{notices} }, $field{M} }
			else
			{
				@$result{qw(code message detail hint)} = @field{qw(C M D H)};
				$result->{fatal} = $field{S} ne 'ERROR';
			}
		}
		elsif ($type eq 'K') { $self->{pid} = unpack('N', $body) }
		elsif ($type eq 'Z') { $self->{ready} = 1 }
		elsif ($type eq 'R') { die "authentication is not trust\n" if unpack('N', $body) != 0 }
	}
	return;
}

# Waits for the answer: { rows, notices } and after an error { code, message,
# detail, hint }, with { lost } when the connection ended.
sub result
{
	my ($self) = @_;

	$self->ready(AinsTest::patience()) or die "no answer after " . AinsTest::patience() . " s\n";
	return $self->{result};
}

# Whatever happens, as a result.
sub try
{
	my ($self, $sql) = @_;

	$self->send($sql);
	return $self->result;
}

# The rows of the last statement that had some, as psql -At; dies of an error.
sub query
{
	my ($self, $sql) = @_;
	my $result = $self->try($sql);

	die "$result->{code}: $result->{message}\nstatement: $sql\n" if defined $result->{code};
	return rows($result);
}

# The rows of a result as psql -At prints them.
sub rows
{
	my ($result) = @_;

	return join "\n", map { join '|', map { $_ // '' } @$_ } @{ $result->{rows} };
}

# Ends as clients should, and waits until the server has noticed.
sub close
{
	my ($self) = @_;

	return unless $self->{socket};
	$self->put('X' . pack('N', 4));
	if (!$self->{lost})
	{
		my $scrap;
		1 while sysread($self->{socket}, $scrap, 65536);
	}
	$self->hang_up;
	return;
}

# Ends as a killed client does: without a word.
sub hang_up
{
	my ($self) = @_;

	if ($self->{socket})
	{
		# a child of ours may have the socket too
		shutdown($self->{socket}, 2);
		CORE::close($self->{socket});
	}
	delete $self->{socket};
	$self->lose;
	return;
}

1;
