# AinsLoad: clients that work a server hard, write down each answer they get,
# and never lie; and the questions which their books then answer.
#
#	my $load = AinsLoad->new(nodes => [$node], seed => seed());
#	$load->start(6);
#	... crash the server ...
#	$load->stop;
#	$load->drain($node);				# everything left gets done
#	$load->verify($node, 'after the crash');
#
# A client writes a line when an answer has arrived, not before, so each line
# is something the server has acknowledged: op, when it was asked and answered
# (by the machine's monotonic clock), and what it was. What was asked for and
# never answered is written too, when it was asked: it may have happened.
package AinsLoad;

use strict;
use warnings;

use AinsTest;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;
use Time::HiRes qw(usleep);

# What a client may be told while servers crash and leases are lost: everything
# else is a defect. 08: the connection; 57: the server goes or comes.
my $loads = 0;
my $expected = qr/^(NS00[145]|08...|57P0[123]|25006)$/;

# nodes: where to look for a server that takes writes, in this order each time.
# hot: clients only take and give back what is there, as fast as they can.
sub new
{
	my ($class, %option) = @_;
	$loads++;
	my $self = bless {
		nodes => $option{nodes},
		seed => $option{seed},
		hot => $option{hot},
		work => [ map { 'load' . $loads . '_' . $_ } 0 .. 2 ],
		dir => PostgreSQL::Test::Utils::tempdir(),
		clients => 0,
		crashes => [] }, $class;

	my $s = AinsTest::Session->new($self->{nodes}[0]);
	$s->query("SELECT ains.configure_capability('$_', lease => '1 s', max_attempts => 1000000,
		backoff => 'fixed', backoff_base => '10 ms')") for @{ $self->{work} };
	$s->close;
	return $self;
}

# Starts so many clients.
sub start
{
	my ($self, $count) = @_;

	for (1 .. $count)
	{
		my $number = ++$self->{clients};
		my $pid = fork() // die "fork: $!";
		if ($pid == 0)
		{
			my $ok = eval { $self->client($number); 1 };
			open my $out, '>', "$self->{dir}/died.$number" unless $ok;
			print $out $@ unless $ok;
			close $out unless $ok;
			# our parent's tests, nodes and sockets are not ours to end
			POSIX::_exit($ok ? 0 : 1);
		}
		push @{ $self->{pids} }, $pid;
	}
	return;
}

# Lets each client finish what it is asking, and waits for all of them.
sub stop
{
	my ($self) = @_;

	kill 'TERM', @{ $self->{pids} };
	waitpid $_, 0 for @{ $self->{pids} };
	$self->{pids} = [];
	$self->{book} = undef;
	return;
}

# The tests end here in whatever way: so do the clients.
sub DESTROY
{
	my ($self) = @_;

	kill 'KILL', @{ $self->{pids} // [] };
	return;
}

# Answers of this kind written so far: a measure of progress that needs no server.
sub answers
{
	my ($self, $op) = @_;
	my $count = 0;

	for my $file (glob "$self->{dir}/book.*")
	{
		open my $in, '<', $file or die "$file: $!";
		while (<$in>) { $count++ if /^$op / }
		close $in;
	}
	return $count;
}

# Until this many more tasks were completed (or whatever else).
sub progress
{
	my ($self, $more, $op) = @_;
	my $goal = $self->answers($op // 'completed') + $more;

	return poll(sub { $self->answers($op // 'completed') >= $goal })
	  || die 'the load makes no progress';
}

# The test is about to crash the server, in a way that may lose commits.
sub lossy_crash { push @{ $_[0]{crashes} }, now(); return }

# ----------------------------------------------------------------------
# A client
# ----------------------------------------------------------------------

sub client
{
	my ($self, $number) = @_;
	my $stopped = 0;

	local $SIG{TERM} = sub { $stopped = 1 };
	srand($self->{seed} + $number);
	open my $book, '>', "$self->{dir}/book.$number" or die $!;
	$self->{out} = $book;
	$self->{agent} = "agent$number";
	$self->{mine} = [];			# tasks it enqueued
	$self->{later} = {};		# leases it sits on

	until ($stopped)
	{
		$self->connect_somewhere or usleep(20_000), next;
		until ($stopped || $self->{session}{lost})
		{
			$self->act;
		}
	}
	close $book;
	return;
}

# Finds a server that takes writes, and registers there.
sub connect_somewhere
{
	my ($self) = @_;

	for my $node (@{ $self->{nodes} })
	{
		my $s = eval { AinsTest::Session->new($node, name => 'ains load') } or next;
		my $answer = $s->try('SELECT pg_is_in_recovery()');
		next if defined $answer->{code} || $answer->{rows}[0][0] eq 't';
		$self->{session} = $s;
		$self->{later} = {};
		return 1 if $self->register;
	}
	return 0;
}

sub note_down
{
	my ($self, $op, $from, @what) = @_;

	# one call, so that a line is there or not
	syswrite($self->{out}, join(' ', $op, $from, now(), @what) . "\n");
	return;
}

# Asks; returns the rows and when it was asked, or nothing and notes why.
sub ask
{
	my ($self, $sql) = @_;
	my $from = now();
	my $answer = $self->{session}->try($sql);

	if (defined $answer->{code})
	{
		my ($what) = $sql =~ /ains\.(\w+)/;
		$self->note_down('error', $from, $answer->{code}, $what // $sql,
			($answer->{message} // '') =~ tr/\n /__/r);
		return;
	}
	return ($answer->{rows}, $from);
}

sub chance { return rand() < $_[0] }

# The capabilities of this load, or one of them.
sub capabilities { return join ',', @{ $_[0]{work} } }
sub capability { return $_[0]{work}[ rand 3 ] }

sub register
{
	my ($self) = @_;
	my ($rows, $from) = $self->ask("SELECT incarnation FROM ains.register_agent('$self->{agent}',
		capabilities => '{" . $self->capabilities . "}')") or return 0;

	$self->note_down('registered', $from, $self->{agent}, $rows->[0][0]);
	return 1;
}

sub act
{
	my ($self) = @_;
	my $dice = rand();

	return $self->take_and_give_back if $self->{hot};
	return $self->enqueue if $dice < 0.30;
	return $self->enqueue_and_regret if $dice < 0.33;
	return $self->cancel if $dice < 0.36;
	return $self->claim_and_regret if $dice < 0.39;
	return $self->heartbeat if $dice < 0.45;
	return $self->ask('SELECT ains.sweep()') if $dice < 0.46;
	if ($dice < 0.47) { $self->{later} = {}; return $self->register }
	return $self->complete_batch if $dice < 0.52;
	return $self->work;
}

sub enqueue
{
	my ($self) = @_;
	my $capability = $self->capability;
	my $more = chance(0.2) ? ", run_at => clock_timestamp() + '50 ms'" : '';
	my $priority = 1 + int(rand(10));
	my ($rows, $from) = chance(0.8)
	  ? $self->ask("SELECT ains.enqueue('$capability', '{\"n\": 1}', $priority$more)")
	  : $self->ask("SELECT ains.enqueue_batch('$capability', '[1,2,3,4,5]', $priority$more)");

	return unless $rows;
	$self->note_down('enqueued', $from, $_->[0]) for @$rows;
	push @{ $self->{mine} }, map { $_->[0] } @$rows;
	return;
}

# What is rolled back was never there.
sub enqueue_and_regret
{
	my ($self) = @_;
	my $capability = $self->capability;

	$self->ask('BEGIN') or return;
	if (my ($rows, $from) = $self->ask("SELECT ains.enqueue('$capability')"))
	{
		$self->note_down('regretted', $from, $rows->[0][0]);
	}
	$self->ask('ROLLBACK');
	return;
}

sub claim_and_regret
{
	my ($self) = @_;

	$self->ask('BEGIN') or return;
	if (my ($rows, $from) = $self->ask("SELECT task_id, lease_token FROM ains.claim('$self->{agent}', 3)"))
	{
		$self->note_down('unclaimed', $from, @$_) for @$rows;
	}
	$self->ask('ROLLBACK');
	return;
}

sub cancel
{
	my ($self) = @_;
	my $id = pop @{ $self->{mine} } or return;
	my $from = now();
	my $answer = $self->{session}->try("SELECT ains.cancel($id)");

	# NS006: it was finished already
	if (!defined $answer->{code}) { $self->note_down('cancel', $from, $id, $answer->{rows}[0][0]) }
	elsif ($answer->{code} ne 'NS006' && $answer->{code} ne 'NS003')
	{
		$self->note_down('error', $from, $answer->{code}, 'cancel', $answer->{message} =~ tr/\n /__/r);
	}
	elsif ($answer->{code} eq 'NS003') { $self->note_down('missed', $from, $id) }
	return;
}

# Says what it sits on, and drops what it has lost.
sub heartbeat
{
	my ($self) = @_;
	my $held = join ',', keys %{ $self->{later} };
	my ($rows) = $self->ask("SELECT array_to_string(lost || cancel_requested, ' ') FROM ains.heartbeat('$self->{agent}',
		held => '{$held}')") or return;

	delete $self->{later}{$_} for split ' ', $rows->[0][0];
	return;
}

# Returns the pairs of task and token.
sub claim
{
	my ($self) = @_;
	my $count = 1 + int(rand(5));
	my ($rows, $from) = $self->ask("SELECT task_id, lease_token FROM ains.claim('$self->{agent}', $count)")
	  or return;

	$self->note_down('claimed', $from, @$_) for @$rows;
	return @$rows;
}

# A call that presents a token: notes it if it was accepted.
sub present
{
	my ($self, $op, $task, $token, $call) = @_;

	$self->note_down("ask_$op", now(), $task, $token) if $op eq 'completed';
	my ($rows, $from) = $self->ask("SELECT ains.$call") or return 0;
	$self->note_down($op, $from, $task, $token, $rows->[0][0] // '');
	return 1;
}

sub work
{
	my ($self) = @_;

	for my $pair ($self->claim)
	{
		my ($task, $token) = @$pair;
		my $dice = rand();
		last if $self->{session}{lost};
		if ($dice < 0.04) { next }			# forgets it
		elsif ($dice < 0.12) { $self->{later}{$task} = $token }
		elsif ($dice < 0.18) { $self->present('released', $task, $token, "release($task, $token)") }
		elsif ($dice < 0.26) { $self->present('failed', $task, $token, "fail($task, $token, 'bad luck')") }
		elsif ($dice < 0.28) { $self->present('failed', $task, $token, "fail($task, $token, 'hopeless', retryable => false)") }
		else
		{
			$self->present('extended', $task, $token, "extend_lease($task, $token)") if chance(0.05);
			$self->present('saved', $task, $token, "checkpoint($task, $token, '{\"at\": 1}')") if chance(0.05);
			$self->present('completed', $task, $token, "complete($task, $token, '$token')");
			$self->present('completed', $task, $token, "complete($task, $token, '$token')") if chance(0.05);
		}
	}
	return;
}

sub take_and_give_back
{
	my ($self) = @_;

	$self->present('released', @$_, "release($_->[0], $_->[1])") for $self->claim;
	return;
}

# What it sat on, at last: some of it is lost by now.
sub complete_batch
{
	my ($self) = @_;
	my @tasks = keys %{ $self->{later} } or return;
	my @tokens = @{ $self->{later} }{@tasks};

	$self->{later} = {};
	$self->note_down('ask_completed', now(), $tasks[$_], $tokens[$_]) for 0 .. $#tasks;
	my %token;
	@token{@tasks} = @tokens;
	my ($rows, $from) = $self->ask('SELECT * FROM ains.complete_batch('
		  . "'{" . join(',', @tasks) . "}', '{" . join(',', @tokens) . "}', '["
		  . join(',', @tokens) . "]')") or return;
	$self->note_down('completed', $from, $_->[0], $token{ $_->[0] }, '') for @$rows;
	return;
}

# ----------------------------------------------------------------------
# Afterwards
# ----------------------------------------------------------------------

# Does all that is left, which must be possible: the leases of the dead run out,
# what waits becomes due. True: nothing is left.
sub drain
{
	my ($self, $node) = @_;
	my $s = AinsTest::Session->new($node);
	my $out;

	open $out, '>', "$self->{dir}/book.drain" . ++$self->{drains} or die $!;
	local @$self{qw(out session agent later)} = ($out, $s, "drain$self->{drains}", {});
	$self->register or die 'cannot register';
	my $done = poll(sub {
		my ($rows, $from) = $self->ask("SELECT task_id, lease_token FROM ains.claim('$self->{agent}', 1000)");
		return $s->query("SELECT count(*) FROM ains.task WHERE capability = ANY ('{" . $self->capabilities . "}')") == 0
		  unless @$rows;
		$self->note_down('claimed', $from, @$_) for @$rows;
		$self->{later} = { map { @$_ } @$rows };
		$self->complete_batch;
		return 0;
	});
	close $out;
	diag("left over:\n" . $s->query("SELECT task_id, status, agent_id, wake_at, clock_timestamp()
		FROM ains.task WHERE capability = ANY ('{" . $self->capabilities . "}') LIMIT 5")) unless $done;
	$s->close;
	$self->{book} = undef;
	return $done;
}

# All lines, by op, in the order of their answers.
sub book
{
	my ($self) = @_;
	my %book;

	return $self->{book} if $self->{book};
	for my $file (glob "$self->{dir}/book.*")
	{
		open my $in, '<', $file or die "$file: $!";
		while (<$in>)
		{
			chomp;
			my ($op, $from, $to, @what) = split / /;
			push @{ $book{$op} }, { from => $from, to => $to, what => \@what };
		}
		close $in;
	}
	@$_ = sort { $a->{to} <=> $b->{to} } @$_ for values %book;
	return $self->{book} = \%book;
}

# A test: the list of violations is empty.
sub none
{
	my ($name, @violations) = @_;
	my $shown = @violations > 5 ? 5 : scalar @violations;

	local $Test::Builder::Level = $Test::Builder::Level + 2;
	return ok(!@violations, $name)
	  || diag(join "\n", scalar(@violations) . ' violations:', @violations[ 0 .. $shown - 1 ]);
}

# Tests what must hold after any crash, also if commits were lost in it.
sub verify_tokens
{
	my ($self, $node, $name) = @_;
	my $book = $self->book;
	my (%seen, @again, @order, @stale);

	# what clients died of, and what they were told
	none("$name: clients end when they are told", map { slurp_file($_) } glob "$self->{dir}/died.*");
	none("$name: no error that should not be",
		map { "@{ $_->{what} }" } grep { $_->{what}[0] !~ $expected } @{ $book->{error} });

	# no number twice, nor as the incarnation of an agent
	for my $line (@{ $book->{claimed} }, @{ $book->{unclaimed} }, @{ $book->{registered} })
	{
		push @again, "$line->{what}[1]: $seen{ $line->{what}[1] } and $line->{what}[0]"
		  if exists $seen{ $line->{what}[1] };
		$seen{ $line->{what}[1] } = $line->{what}[0];
	}
	none("$name: no token was issued twice (of " . keys(%seen) . ')', @again);

	# who got his answer before another asked has the smaller token: over all
	# clients, and over every crash
	my @asked = sort { $a->{from} <=> $b->{from} } @{ $book->{claimed} };
	my @answered = @{ $book->{claimed} };
	my $highest = 0;
	my $i = 0;
	for my $line (@asked)
	{
		for (; $i < @answered && $answered[$i]{to} < $line->{from}; $i++)
		{
			$highest = $answered[$i]{what}[1] if $answered[$i]{what}[1] > $highest;
		}
		push @order, "$line->{what}[1] after $highest" if $line->{what}[1] <= $highest;
	}
	none("$name: tokens only grow", @order);

	# a token that was replaced is void from then on; only a crash that lost
	# the claim may bring the old one back
	my %claims;
	push @{ $claims{ $_->{what}[0] } }, $_ for @{ $book->{claimed} };
	for my $op (qw(completed extended saved released failed))
	{
		for my $line (@{ $book->{$op} })
		{
			my ($task, $token) = @{ $line->{what} };
			for my $claim (@{ $claims{$task} })
			{
				next unless $claim->{what}[1] > $token && $claim->{to} < $line->{from};
				next if grep { $claim->{from} < $_ && $_ < $line->{to} } @{ $self->{crashes} };
				push @stale, "task $task: $op with $token after $claim->{what}[1] was claimed";
			}
		}
	}
	none("$name: a token that was replaced is refused", @stale);

	my $s = AinsTest::Session->new($node);
	none("$name: no task is there twice", split /\n/,
		$s->query("SELECT task_id, count(*) FROM (SELECT task_id FROM ains.task_history
			UNION ALL SELECT task_id FROM ains.task) t GROUP BY 1 HAVING count(*) > 1"));
	none("$name: no attempt is there twice", split /\n/,
		$s->query('SELECT task_id, lease_token FROM ains.attempt GROUP BY 1, 2 HAVING count(*) > 1'));
	none("$name: what succeeded did not fail too", split /\n/,
		$s->query("SELECT h.task_id FROM ains.task_history h JOIN ains.attempt a USING (task_id, lease_token)
			WHERE h.status = 'COMPLETED'"));
	none("$name: the result is that of the lease which completed", split /\n/,
		$s->query("SELECT task_id, lease_token, result FROM ains.task_history
			WHERE status = 'COMPLETED' AND result <> to_jsonb(lease_token)
				AND capability = ANY ('{" . $self->capabilities . "}')"));

	# who completed it had asked to
	my %asked_with;
	$asked_with{"$_->{what}[0]|$_->{what}[1]"} = 1 for @{ $book->{ask_completed} };
	none("$name: nothing was completed that nobody completed",
		grep { !$asked_with{$_} }
		  split /\n/, $s->query("SELECT task_id, lease_token FROM ains.task_history
			WHERE status = 'COMPLETED' AND capability = ANY ('{" . $self->capabilities . "}')"));
	$s->close;
	return;
}

# Tests that nothing acknowledged was lost: for servers that lose no commit.
sub verify
{
	my ($self, $node, $name) = @_;
	my $book = $self->book;
	my $s = AinsTest::Session->new($node);
	my (%live, %past, %attempt);

	$self->verify_tokens($node, $name);

	$live{$_} = 1 for split /\n/, $s->query('SELECT task_id FROM ains.task');
	for (split /\n/, $s->query('SELECT task_id, status, lease_token FROM ains.task_history'))
	{
		my ($task, $status, $token) = split /\|/;
		$past{$task} = [ $status, $token // '' ];
	}
	$attempt{$_} = 1 for split /\n/, $s->query('SELECT task_id, lease_token FROM ains.attempt');
	$s->close;

	my $count = @{ $book->{enqueued} // [] };
	none("$name: of $count tasks enqueued none is lost",
		map { $_->{what}[0] } grep { !$live{ $_->{what}[0] } && !$past{ $_->{what}[0] } } @{ $book->{enqueued} });
	none("$name: no task enqueued is unknown to cancel", map { $_->{what}[0] } @{ $book->{missed} });
	none("$name: what was rolled back is not there",
		map { $_->{what}[0] } grep { $live{ $_->{what}[0] } || $past{ $_->{what}[0] } } @{ $book->{regretted} });

	my (@lost, @twice, %completed);
	for my $line (@{ $book->{completed} })
	{
		my ($task, $token) = @{ $line->{what} };
		push @twice, "$task: $completed{$task} and $token" if ($completed{$task} // $token) != $token;
		$completed{$task} = $token;
		push @lost, "$task with $token: " . join ' ', @{ $past{$task} // ['nowhere'] }
		  unless $past{$task} && "@{ $past{$task} }" eq "COMPLETED $token";
	}
	$count = keys %completed;
	none("$name: of $count tasks completed none is lost", @lost);
	none("$name: none was completed by two leases", @twice);
	cmp_ok($count, '>', 100, "$name: there was a load");

	none("$name: no attempt that failed is lost",
		map { "@{ $_->{what} }" } grep { !$attempt{"$_->{what}[0]|$_->{what}[1]"} } @{ $book->{failed} });
	none("$name: what failed for good is in history",
		map { "@{ $_->{what} }" }
		  grep { $_->{what}[2] eq 'FAILED' && ($past{ $_->{what}[0] }[0] // '') ne 'FAILED' } @{ $book->{failed} });
	none("$name: what was cancelled at once is in history",
		map { "@{ $_->{what} }" }
		  grep { $_->{what}[1] eq 'CANCELLED' && ($past{ $_->{what}[0] }[0] // '') ne 'CANCELLED' } @{ $book->{cancel} });
	return;
}

1;
