# A model of the ready set of one lane (src/soft/ready.c), of the transactions
# that use it (src/soft/effects.c), and of claims (src/core/lease.c): actors
# whose steps are interleaved at random. What happens under one lock of the lane
# is one step here; what does not, is several.
#
#	my $failure = ReadyModel::run($seed);				# undef, or what went wrong
#	ReadyModel::run($seed, 'ceiling');					# without one of the rules
#
# After each step the invariant of ready.h must hold (unless we are blind to it, to
# see what comes of it, and to be faster). When all actors are done,
# one claims alone: he must get everything that is PENDING, in rank order.
package ReadyModel;

use strict;
use warnings;

my $capacity = 4;			# of the heap
my $most_tasks = 90;
my ($min, $max) = (-1, 1_000_000);

# A key is rank * 100 + task.
sub task_of { return $_[0] % 100 }

# The rules that can be left out, by what is done without them.
our %rules = (
	ceiling => 'a refill ends where it read to, whatever was lowered meanwhile',
	refilling => 'a push beyond the horizon is ignored while a refill runs, too',
	drop => 'lower() leaves the keys that are beyond it',
	evict => 'a key that the full heap throws out does not lower the horizon',
	far => 'a refill always ends with a horizon without end',
	failed => 'a refill that failed ends as if it had read everything',
	flag => 'a refill puts its flag up after it took its snapshot',
	abort => 'what is aborted does not push',
	locker => 'who only locked a row does not push',
	changer => 'who changed the key of a row does not push the new one',
	followed => 'a claim does not push what it locked and found changed',
	recheck => 'a claim takes a row whatever its rank is now',
	early => 'keys are pushed before the commit is visible');

# ----------------------------------------------------------------------
# The lane
# ----------------------------------------------------------------------

sub lower
{
	my ($m, $key) = @_;

	$m->{horizon} = $key if $key < $m->{horizon};
	$m->{ceiling} = $key if $m->{refiller} && $key < $m->{ceiling};
	@{ $m->{heap} } = grep { $_ < $key } @{ $m->{heap} } unless $m->{without}{drop};
	return;
}

sub push_key
{
	my ($m, $key) = @_;
	my $heap = $m->{heap};

	return if (!$m->{refiller} || $m->{without}{refilling}) && $key >= $m->{horizon};
	if (@$heap >= $capacity)
	{
		my $largest = $heap->[-1];
		return if $key >= $largest && $m->{without}{evict};
		return lower($m, $key) if $key >= $largest;
		lower($m, $largest) unless $m->{without}{evict};
		pop @$heap if @$heap >= $capacity;
	}
	@$heap = sort { $a <=> $b } @$heap, $key;
	return;
}

sub push_back
{
	my ($m, $key) = @_;

	push_key($m, $key) unless grep { $_ == $key } @{ $m->{heap} };
	return;
}

# ----------------------------------------------------------------------
# Rows: what is committed, who has it locked, and what he made of it
# ----------------------------------------------------------------------

sub key_of { my ($row, $id) = @_; return $row->{rank} * 100 + $id }

sub lock_row
{
	my ($actor, $row) = @_;

	push @{ $actor->{locked} }, $row if ($row->{locked_by} // 0) != $actor;
	$row->{locked_by} = $actor;
	return;
}

# The row as the actor sees it.
sub seen_by
{
	my ($row, $actor) = @_;

	return $row->{new} && $row->{locked_by} == $actor ? $row->{new} : $row;
}

# One of the rows of this status that nobody has locked: its number, or nothing.
sub any_free
{
	my ($m, $status) = @_;
	my @free = grep { $m->{rows}[$_]{status} eq $status && !$m->{rows}[$_]{locked_by} } 0 .. $#{ $m->{rows} };

	return @free ? $free[ rand @free ] : undef;
}

# The end of the transaction pushes this key: when is commit, abort or both.
sub effect
{
	my ($actor, $when, $key, $what) = @_;

	push @{ $actor->{effects} }, { when => $when, key => $key, task => task_of($key), do => $what // \&push_key };
	return;
}

# ----------------------------------------------------------------------
# What transactions do: each is a step
# ----------------------------------------------------------------------

sub enqueue
{
	my ($m, $actor) = @_;
	my $many = rand() < 0.1;		# too many to push: lowers

	for (1 .. ($many ? 3 : 1))
	{
		return if @{ $m->{rows} } >= $most_tasks;
		my $row = { status => 'NONE', rank => 0, new => { status => 'PENDING', rank => int(rand 30) } };
		push @{ $m->{rows} }, $row;
		lock_row($actor, $row);
		effect($actor, 'commit', key_of($row->{new}, $#{ $m->{rows} }), $many ? \&lower : undef);
	}
	return;
}

sub lock_only
{
	my ($m, $actor) = @_;
	my $id = any_free($m, 'PENDING') // return;
	my $row = $m->{rows}[$id];

	lock_row($actor, $row);
	effect($actor, 'both', key_of($row, $id), \&push_back) unless $m->{without}{locker};
	return;
}

sub change_rank
{
	my ($m, $actor) = @_;
	my $id = any_free($m, 'PENDING') // return;
	my $row = $m->{rows}[$id];

	lock_row($actor, $row);
	$row->{new} = { status => 'PENDING', rank => int(rand 30) };
	effect($actor, 'abort', key_of($row, $id));
	effect($actor, 'commit', key_of($row->{new}, $id)) unless $m->{without}{changer};
	return;
}

sub cancel
{
	my ($m, $actor) = @_;
	my $id = any_free($m, 'PENDING') // return;
	my $row = $m->{rows}[$id];

	lock_row($actor, $row);
	$row->{new} = { status => 'GONE', rank => $row->{rank} };
	effect($actor, 'abort', key_of($row, $id));
	return;
}

sub release
{
	my ($m, $actor) = @_;
	my $id = any_free($m, 'ACTIVE') // return;
	my $row = $m->{rows}[$id];

	lock_row($actor, $row);
	$row->{new} = { status => 'PENDING', rank => $row->{rank} };
	effect($actor, 'commit', key_of($row, $id));
	return;
}

sub rescan { my ($m) = @_; lower($m, $min); return }

# The lane's memory is given to another lane, and given back.
sub lose_memory
{
	my ($m) = @_;

	@$m{qw(heap horizon)} = ([], $min) unless $m->{refiller};
	return;
}

# Pops the head of the lane, or refills it first.
sub claim
{
	my ($m, $actor) = @_;
	my $heap = $m->{heap};

	if (@$heap && $heap->[0] < $m->{horizon})
	{
		$actor->{popped} = shift @$heap;
		unshift @{ $actor->{todo} }, \&claim_popped;
	}
	elsif ($m->{horizon} == $max) { $actor->{empty} = 1 }
	elsif ($m->{refiller})
	{
		unshift @{ $actor->{todo} }, \&claim if $actor->{patience}-- > 0;
	}
	else
	{
		my @steps = (\&refill_begin, \&refill_read, \&refill_push, \&refill_end, \&claim);
		@steps[ 0, 1 ] = @steps[ 1, 0 ] if $m->{without}{flag};
		$actor->{from} = $m->{horizon};
		$actor->{fails} = rand() < 0.1;
		unshift @{ $actor->{todo} }, splice @steps, 1;
		$m->{without}{flag} ? refill_read($m, $actor) : refill_begin($m, $actor);
	}
	return;
}

# The heap is a hint, the row is the truth.
sub claim_popped
{
	my ($m, $actor) = @_;
	my $key = delete $actor->{popped};
	my $id = task_of($key);
	my $row = $m->{rows}[$id];

	# dropped: whoever has it locked, or changed it, pushes it
	return if ($row->{locked_by} // $actor) != $actor;
	my $seen = seen_by($row, $actor);
	return if $seen->{status} eq 'GONE';
	lock_row($actor, $row);
	return if $seen->{status} ne 'PENDING';
	if (key_of($seen, $id) == $key || $m->{without}{recheck})
	{
		effect($actor, 'abort', $key);
		push @{ $actor->{claimed} }, key_of($seen, $id);
		$row->{new} = { status => 'ACTIVE', rank => $seen->{rank} };
	}
	elsif (!$m->{without}{followed}) { effect($actor, 'both', key_of($seen, $id), \&push_back) }
	return;
}

sub refill_begin
{
	my ($m, $actor) = @_;

	@$m{qw(refiller ceiling)} = ($actor, $max) unless $m->{refiller};
	return;
}

sub refill_read
{
	my ($m, $actor) = @_;
	my $room = $capacity / 2;
	my @keys = sort { $a <=> $b } grep { $_ >= $actor->{from} } pending($m);

	$actor->{to} = @keys < $room ? $max : $keys[ $room - 1 ] + 1;
	splice @keys, $room if @keys > $room;
	$actor->{read} = \@keys;
	return;
}

sub refill_push
{
	my ($m, $actor) = @_;

	return if ($m->{refiller} // 0) != $actor || $actor->{fails};
	push_key($m, $_) for @{ $actor->{read} };
	return;
}

sub refill_end
{
	my ($m, $actor) = @_;
	my $horizon = $actor->{to};

	return if ($m->{refiller} // 0) != $actor;
	$horizon = $actor->{from} if $actor->{fails} && !$m->{without}{failed};
	$horizon = $max if $m->{without}{far};
	$horizon = $m->{ceiling} if $m->{ceiling} < $horizon && !$m->{without}{ceiling};
	@$m{qw(horizon refiller)} = ($horizon, undef);
	@{ $m->{heap} } = grep { $_ < $horizon } @{ $m->{heap} };
	return;
}

# ----------------------------------------------------------------------
# The end of a transaction, or of a subtransaction that aborts
# ----------------------------------------------------------------------

sub commit
{
	my ($m, $actor) = @_;
	my @pushes = grep { $_->{when} ne 'abort' } @{ $actor->{effects} };
	my $visible = sub {
		for my $row (@{ $actor->{locked} })
		{
			my $new = delete $row->{new};
			@$row{qw(status rank)} = @$new{qw(status rank)} if $new;
			$row->{locked_by} = undef;
		}
		@$actor{qw(locked effects)} = ([], []);
	};

	$actor->{pushing} = \@pushes;
	if ($m->{without}{early}) { unshift @{ $actor->{todo} }, (\&push_one) x @pushes, $visible }
	else
	{
		$visible->();
		unshift @{ $actor->{todo} }, (\&push_one) x @pushes;
	}
	return;
}

sub push_one
{
	my ($m, $actor) = @_;
	my $effect = shift @{ $actor->{pushing} };

	$effect->{do}->($m, $effect->{key});
	return;
}

sub savepoint
{
	my ($m, $actor) = @_;

	$actor->{savepoint} = [ scalar @{ $actor->{effects} }, scalar @{ $actor->{locked} },
		map { [ $_, $_->{new} ] } @{ $actor->{locked} } ];
	return;
}

sub undo_to_savepoint
{
	my ($m, $actor) = @_;
	my ($effects, $locked, @before) = @{ delete $actor->{savepoint} // [ 0, 0 ] };
	my @pushes = grep { $_->{when} ne 'commit' } splice @{ $actor->{effects} }, $effects;

	@$_{qw(new locked_by)} = () for splice @{ $actor->{locked} }, $locked;
	$_->[0]{new} = $_->[1] for @before;
	@pushes = () if $m->{without}{abort};
	$actor->{pushing} = \@pushes;
	unshift @{ $actor->{todo} }, (\&push_one) x @pushes;
	return;
}

sub abort { my ($m, $actor) = @_; delete $actor->{savepoint}; return undo_to_savepoint($m, $actor) }

# ----------------------------------------------------------------------
# A run
# ----------------------------------------------------------------------

my @steps = ((\&enqueue) x 8, (\&claim) x 6, (\&release) x 2, \&lock_only, \&lock_only, \&change_rank,
	\&change_rank, \&cancel);

# The steps of a transaction.
sub transaction
{
	my $some = sub { map { $steps[ rand @steps ] } 1 .. 1 + rand 3 };

	return rand() < 0.5 ? \&rescan : \&lose_memory if rand() < 0.02;
	return ($some->(),
		(rand() < 0.2 ? (\&savepoint, $some->(), \&undo_to_savepoint) : ()),
		(rand() < 0.75 ? \&commit : \&abort));
}

sub actor { return { todo => [], effects => [], locked => [], pushing => [], claimed => [], patience => 16, @_ } }

sub step
{
	my ($m, $actor) = @_;

	(shift @{ $actor->{todo} })->($m, $actor);
	return;
}

# The invariant of ready.h; what is wrong, or nothing. A key in motion is one
# that somebody popped and has not looked at yet, or is about to push.
sub broken
{
	my ($m) = @_;
	my %there = map { $_ => 1 } @{ $m->{heap} };
	my $from = $max + 1;		# in motion from here on

	for my $actor (@{ $m->{actors} })
	{
		$there{ $actor->{popped} } = 1 if defined $actor->{popped};
		for (@{ $actor->{pushing} }, @{ $actor->{effects} })
		{
			$there{ $_->{key} } = 1;
			$from = $_->{key} if $_->{do} == \&lower && $_->{key} < $from;
		}
	}
	return 'the heap is too large' if @{ $m->{heap} } > $capacity;
	return "key $m->{heap}[-1] is not below the horizon, $m->{horizon}"
	  if !$m->{refiller} && @{ $m->{heap} } && $m->{heap}[-1] >= $m->{horizon};
	$from = $m->{horizon} if $m->{horizon} < $from;
	my ($nowhere) = grep { $_ < $from && !$there{$_} } pending($m);
	return defined $nowhere ? "key $nowhere is nowhere" : undef;
}

# The keys that the index has.
sub pending
{
	my ($m) = @_;

	my ($id, @keys) = (0);

	for my $row (@{ $m->{rows} })
	{
		push @keys, $row->{rank} * 100 + $id if $row->{status} eq 'PENDING';
		$id++;
	}
	return @keys;
}

# Returns undef, or what went wrong. Option blind: see above.
sub run
{
	my ($seed, $without, %option) = @_;
	my $m = { heap => [], horizon => $min, ceiling => $max, rows => [], without => { $without // '' => 1 } };
	my $steps = 0;

	srand($seed);
	$m->{actors} = [ map { actor(left => 6) } 1 .. 4 ];
	while (my @able = grep { @{ $_->{todo} } || $_->{left} } @{ $m->{actors} })
	{
		my $actor = $able[ rand @able ];

		if (!@{ $actor->{todo} })
		{
			$actor->{left}--;
			$actor->{patience} = 16;
			$actor->{todo} = [ transaction() ];
		}
		step($m, $actor);
		my $broken = $option{blind} ? undef : broken($m);
		return "run $seed, step $steps: $broken" if $broken;
		return "run $seed: no progress" if ++$steps > 5000;
	}

	# nobody else is there: one actor claims and commits until there is nothing
	my @expected = sort { $a <=> $b } pending($m);
	my $last = actor();
	$m->{actors} = [$last];
	for ($steps = 0; $steps < 2000 && !$last->{empty}; $steps++)
	{
		$last->{todo} = [ (\&claim) x (1 + rand 3), \&commit ] unless @{ $last->{todo} };
		step($m, $last);
	}
	step($m, $last) while @{ $last->{todo} };
	return "run $seed: no progress alone" unless $last->{empty};
	my @lost = pending($m);
	return "run $seed: of @expected lost: @lost" if @lost;
	return "run $seed: not in rank order: @{ $last->{claimed} }" if "@{ $last->{claimed} }" ne "@expected";
	return undef;
}

1;
