# The rules of the ready set lose nothing, and each of them is needed: a random
# model (test/model/ready_model.pl), no server. AINS_TEST_SEED repeats it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use Test::More;

require "$FindBin::Bin/../model/ready_model.pl";

my $watched = 300;			# runs with the invariant checked after each step
my $runs = 1500;			# and without
my $enough = 3000;			# for a rule that is left out to be missed

my $seed = seed();

# The first failure in so many runs, or nothing; and the number of the run.
sub first_failure
{
	my ($count, @option) = @_;

	for my $n (1 .. $count)
	{
		my $failure = ReadyModel::run($seed + $n, @option);
		return ($failure, $n) if defined $failure;
	}
	return;
}

my ($failure) = first_failure($watched, undef);
is($failure, undef, "the invariant holds all the time, in $watched runs");
($failure) = first_failure($runs, undef, blind => 1);
is($failure, undef, "nothing is lost or out of order, in $runs runs");

for my $rule (sort keys %ReadyModel::rules)
{
	# a key too many is harmless: only the invariant tells
	my ($found, $n) = first_failure($enough, $rule, blind => $rule ne 'drop');
	ok(defined $found, "it is noticed if $ReadyModel::rules{$rule}");
	note("$rule: $found (after $n runs)") if defined $found;
}

done_testing();
