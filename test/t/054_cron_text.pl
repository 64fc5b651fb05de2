# Cron texts by the thousand: the same times as python3-croniter gives in UTC,
# and the same as looking at each minute in zones that change their clocks.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use IPC::Run;
use Test::More;

# Debian's own: another python3 in the path has not its packages.
my $python = '/usr/bin/python3';
plan skip_all => 'python3-croniter is not installed'
  unless -x $python && IPC::Run::run([ $python, '-c', 'import croniter' ], '>', \my $nothing, '2>&1');

# croniter has faults of its own: the same texts each time, unless told otherwise
$ENV{AINS_TEST_SEED} //= 1;
seed();
my $node = ains_node('main');
my $s = AinsTest::Session->new($node);
my @months = qw(jan feb mar apr may jun jul aug sep oct nov dec);
my @days = qw(sun mon tue wed thu fri sat);

sub between { return $_[0] + int(rand($_[1] - $_[0] + 1)) }

# A value as a number, or by its name where there are names.
sub value
{
	my ($n, $min, $names) = @_;
	return $names && $n - $min < @$names && rand() < 0.3 ? $names->[ $n - $min ] : $n;
}

# A field. Some things croniter reads in its own way: a range over all values is
# a star to it, and so is what begins with one; $star says whether that matters.
sub field
{
	my ($min, $max, $star, $names) = @_;
	my $kind = rand();

	return '*' if $star && $kind < 0.3;
	return '*/' . between(2, $max - $min) if $star && $kind < 0.45;
	return join ',', map {
		my $from = between($min, $max - 1);
		my $to = between($from + 1, $max);
		$to = $max - 1 if $from == $min && $to >= $max - 1 && $max - $min > 1;
		my $range = value($from, $min, $names) . '-' . value($to, $min, $names);
		rand() < 0.5 ? value(between($min, $max), $min, $names) : rand() < 0.5 ? $range : "$range/" . between(1, 9);
	} 1 .. ($star ? between(1, 4) : between(1, 2));
}

sub text
{
	my $kind = rand();
	my ($day, $weekday) = ('*', '*');

	# the day of the month, that of the week, or either
	# (croniter 1.3.5 passes over 2 March when it looks for a 2nd or a 31st in February,
	# and gives up on a day that a month has not, although a weekday would do)
	if ($kind < 0.3) { $day = rand() < 0.7 ? field(1, 28) : between(29, 31) }
	elsif ($kind < 0.6) { $weekday = field(0, 7, 1, \@days) }
	elsif ($kind < 0.9) { ($day, $weekday) = (join(',', map { between(1, 28) } 1 .. between(1, 5)), join ',', map { value(between(0, 6), 0, \@days) } 1 .. between(1, 3)) }
	elsif ($kind < 0.95) { $day = '$' }
	return join ' ', field(0, 59, 1), field(0, 23, 1), $day, field(1, 12, 1, \@months), $weekday;
}

# The next three times, or 'never'.
my $next = 'WITH RECURSIVE run (n, at) AS (VALUES (0, to_timestamp(%d))
	UNION ALL SELECT n + 1, ains_internal.next_run(\'%s\', \'UTC\', at) FROM run WHERE n < 3 AND at IS NOT NULL)
	SELECT string_agg(coalesce(extract(epoch FROM at)::bigint::text, \'never\'), \' \' ORDER BY n) FROM run WHERE n > 0';

my @cases = map { [ text(), between(1.6e9, 2.2e9) ] } 1 .. 3000;
my $script = <<'EOS';
import sys, datetime, croniter
utc = datetime.timezone.utc
for line in sys.stdin:
    cron, start = line.rstrip('\n').split('|')
    times = []
    try:
        it = croniter.croniter(cron.replace('$', 'l'), datetime.datetime.fromtimestamp(int(start), utc), max_years_between_matches=41)
        for _ in range(3):
            times.append('%d' % it.get_next(datetime.datetime).timestamp())
    except croniter.CroniterBadDateError:
        times.append('never')
    print(' '.join(times))
EOS
my $input = join '', map { "$_->[0]|$_->[1]\n" } @cases;
my ($output, $errors);
IPC::Run::run([ $python, '-c', $script ], '<', \$input, '>', \$output, '2>', \$errors) or die "croniter: $errors";
my @expected = split /\n/, $output;
is(scalar @expected, scalar @cases, 'croniter has an answer to each');
my @different;
my $never = 0;
for my $i (0 .. $#cases)
{
	my ($cron, $start) = @{ $cases[$i] };
	my $got = $s->query(sprintf $next, $start, $cron);

	$never++ if $got =~ /never/;
	push @different, "'$cron' after $start: $got, croniter: $expected[$i]" if $got ne ($expected[$i] // '');
}
is(scalar @different, 0, scalar(@cases) . ' texts have the times that croniter gives') or diag(join "\n", @different[ 0 .. ($#different < 9 ? $#different : 9) ]);
note("never: $never");

# ----------------------------------------------------------------------
# Zones: each minute of some weeks in which clocks change
# ----------------------------------------------------------------------
@different = ();
for my $zone (qw(UTC Europe/Berlin America/New_York Australia/Lord_Howe Asia/Kathmandu America/St_Johns Africa/Casablanca America/Sao_Paulo))
{
	for my $from ('2025-03-03', '2025-03-28', '2025-04-01', '2025-09-30', '2025-10-24', '2025-10-30', '2018-10-30', '2018-02-14')
	{
		my @set = map { rand() < 0.4 ? '*' : $_ } between(0, 59), between(0, 4), between(1, 31), '*', between(0, 6);
		my $cron = join ' ', @set;
		my ($minute, $hour, $day, undef, $weekday) = map { $_ eq '*' ? 'NULL::int' : $_ } @set;
		# counted in intervals: '+ 1 day' would be the session's
		my $seen = $s->query("SET timezone = 'UTC'; SELECT string_agg(extract(epoch FROM t)::bigint::text, ' ' ORDER BY t)
			FROM generate_series('$from'::timestamptz, '$from'::timestamptz + interval '6 days', '1 min') t, LATERAL (SELECT t AT TIME ZONE '$zone') l (l)
			WHERE t > '$from' AND coalesce(extract(minute FROM l) = $minute, true) AND coalesce(extract(hour FROM l) = $hour, true)
			AND CASE WHEN $day IS NULL THEN coalesce(extract(dow FROM l) = $weekday, true) WHEN $weekday IS NULL THEN extract(day FROM l) = $day
				ELSE extract(day FROM l) = $day OR extract(dow FROM l) = $weekday END");
		my $got = $s->query("WITH RECURSIVE run (at) AS (SELECT ains_internal.next_run('$cron', '$zone', '$from')
			UNION ALL SELECT ains_internal.next_run('$cron', '$zone', at) FROM run WHERE at <= '$from'::timestamptz + interval '6 days')
			SELECT string_agg(extract(epoch FROM at)::bigint::text, ' ' ORDER BY at) FROM run WHERE at <= '$from'::timestamptz + interval '6 days'");

		push @different, "'$cron' in $zone from $from: $got, each minute: $seen" if $got ne $seen;
	}
}
is(scalar @different, 0, 'the same as looking at each minute in other zones') or diag(join "\n", map { substr $_, 0, 300 } @different[ 0 .. ($#different < 9 ? $#different : 9) ]);

done_testing();
