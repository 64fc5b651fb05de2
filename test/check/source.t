# The laws of the source text: who may call what, and in which direction.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Laws;
use Test::More;

my @c = files(qr/\.[ch]$/, 'src');
plan skip_all => 'no src/ yet' unless @c;

# Lines of code (no comments, no strings) that match, in files other than those.
sub only_in
{
	my ($match, @except) = @_;
	my @broken;

	for my $file (@c)
	{
		next if grep { $file eq $_ } @except;
		my $n = 0;
		for my $line (split /\n/, code($file, strings => 0))
		{
			$n++;
			push @broken, "$file:$n: $line" if $line =~ $match;
		}
	}
	return @broken;
}

law('SPI is called by query.c alone',
	only_in(qr/\bSPI_\w/, 'src/query.c', 'src/query.h'));

law('table access methods are called by rows.c alone',
	only_in(qr/\btable_tuple_\w/, 'src/rows.c', 'src/compat.h'));

law('the ends of transactions are followed by soft/effects.c alone',
	only_in(qr/\bRegister(?:Sub)?XactCallback\s*\(/, 'src/soft/effects.c'));

law('PG_VERSION_NUM is asked by compat.h alone',
	only_in(qr/\bPG_VERSION_NUM\b/, 'src/compat.h'));

law('the time is read by clock.c alone',
	only_in(qr/\b(?:GetCurrentTimestamp|GetCurrentTransactionStartTimestamp|
		clock_gettime|gettimeofday|time|INSTR_TIME_SET_CURRENT)\s*\(/x, 'src/clock.c'));

# Functions of SQL that read the clock would pass by the seam.
{
	my $clock = qr/(?:(?<![\w.])|pg_catalog\.)
			(?:now|clock_timestamp|statement_timestamp|transaction_timestamp)\s*\(\s*\)
		|\b(?:CURRENT_TIMESTAMP|LOCALTIMESTAMP|CURRENT_DATE|CURRENT_TIME)\b/xi;
	my @broken;

	for my $file (@c)
	{
		my $n = 0;
		for my $line (split /\n/, code($file))
		{
			$n++;
			push @broken, "$file:$n: $line" if $line =~ /"[^"]*$clock/;
		}
	}
	law('SQL text in src/ does not read the clock either', @broken);
}

# Each ereport(ERROR or above, ...) up to its closing parenthesis has an errcode.
{
	my $paren;
	$paren = qr/\((?:[^()]++|(??{$paren}))*\)/;
	my @broken;

	for my $file (@c)
	{
		my $code = code($file, strings => 0);
		while ($code =~ /\b(ereport(?:_domain)?\s*$paren)/g)
		{
			my ($call, $at) = ($1, $-[1]);
			my $line = 1 + (substr($code, 0, $at) =~ tr/\n//);

			push @broken, "$file:$line"
			  if $call =~ /^\w+\s*\(\s*(?:ERROR|FATAL|PANIC)\b/ && $call !~ /\berrcode\w*\s*\(/;
		}
	}
	law('every ereport(ERROR or FATAL) has an errcode', @broken);
}

# ains -> {worker, sql} -> core -> {soft, store} -> services -> headers
{
	my %rank_of_dir = (worker => 5, sql => 5, core => 4, soft => 3, store => 3);
	my %service = map { $_ => 1 } qw(guc clock policy query rows);
	my @broken;

	my $rank = sub {
		my ($path) = @_;
		return $rank_of_dir{$1} if $path =~ m{^(\w+)/};
		my ($name, $ext) = $path =~ /^(\w+)\.([ch])$/;
		return 6 if $path eq 'ains.c';
		return 2 if $service{$name};
		return 1 if $ext eq 'h';
		return undef;    # a new service: enter it above, or find its room
	};

	for my $file (@c)
	{
		(my $path = $file) =~ s{^src/}{};
		my $from = $rank->($path);
		if (!defined $from)
		{
			push @broken, "$file: belongs to no layer";
			next;
		}
		my $n = 0;
		for my $line (split /\n/, code($file))
		{
			$n++;
			my ($name) = $line =~ /^\s*#\s*include\s+"([^"]+)"/ or next;
			my ($dir) = $path =~ m{^(\w+)/};
			my ($ours) = grep { -f "$root/src/$_" } $name, ($dir ? "$dir/$name" : ());
			next unless defined $ours;    # one of PostgreSQL's
			my $to = $rank->($ours);
			my $sibling = ($path =~ m{^(\w+)/} ? $1 : '') eq ($ours =~ m{^(\w+)/} ? $1 : '');

			push @broken, "$file:$n: includes $name"
			  if $to > $from || ($to == $from && !$sibling);
		}
	}
	law('includes go down only', @broken);
}

law('files stay short',
	map { my $n = text($_) =~ tr/\n//; $n > 700 ? "$_: $n lines" : () }
	  @c, files(qr/\.[ch]$/, 'client'), files(qr/\.sql$/, 'sql'), files(qr//, 'scripts'));

# The words are put together so that this file does not break its own law.
{
	my $word = join '|', 'TO' . 'DO', 'FIX' . 'ME', 'X' . 'XX', 'HA' . 'CK';
	my @broken;

	for my $file (files(qr{(?:\.(?:[chtp][lm]?|sql|spec|sh|md|control)|/[\w-]+)$},
		qw(src sql client demo bench test scripts docs examples monitoring README.md Makefile)))
	{
		next if -B "$root/$file";
		my $n = 0;
		for my $line (split /\n/, text($file))
		{
			$n++;
			push @broken, "$file:$n: $line" if $line =~ /\b(?:$word)\b/;
		}
	}
	law('nothing is left over', @broken);
}

# A name that the library exports may meet another library's.
SKIP:
{
	my $so = $ENV{AINS_SO} // "$root/ains.so";
	skip "$so is not built", 1 unless -f $so;

	my @symbols = map { (split)[2] } grep { /^\S+ [A-Z] / } `nm -D --defined-only '$so'`;
	law('exported symbols are ours by name',
		!@symbols ? 'nm shows none' : (),
		grep { !/^(?:ains_|_PG_|Pg_magic_func$|pg_finfo_ains_)/ } @symbols);
}

done_testing();
