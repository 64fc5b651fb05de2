# The documents name what is there, and nothing else.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Laws;
use Test::More;

sub missing
{
	my ($there, $said) = @_;
	return grep { !$said->{$_} } sort keys %$there;
}

SKIP:
{
	skip 'no docs/settings.md or src/guc.c yet', 1
	  unless -f "$root/docs/settings.md" && -f "$root/src/guc.c";

	my (%there, %said);
	my $code = code('src/guc.c');
	$there{$1} = 1 while $code =~ /"(ains\.[a-z_]+)"/g;
	my $text = text('docs/settings.md');
	$said{$1} = 1 while $text =~ /`(ains\.[a-z_]+)`/g;

	law('docs/settings.md has the settings of guc.c',
		!%there ? 'found none in guc.c' : (),
		(map { "$_ is not documented" } missing(\%there, \%said)),
		(map { "$_ does not exist" } missing(\%said, \%there)));
}

SKIP:
{
	my @sql = files(qr{^(?!.*/updates/).*\.sql$}, 'sql');
	skip 'no docs/functions.md or sql/ yet', 1 unless -f "$root/docs/functions.md" && @sql;

	my %there;
	for my $sql (map { text($_) } @sql)
	{
		$sql =~ s{/\*.*?\*/|--[^\n]*}{}gs;
		$there{ lc $1 } = 1
		  while $sql =~ /\bCREATE\s+(?:FUNCTION|PROCEDURE)\s+(?:ains\.)?(\w+)\s*\(/gi;
	}
	my %said;
	my $text = text('docs/functions.md');
	$said{$1} = 1 while $text =~ /\b(\w+)\(/g;

	law('docs/functions.md has every function', missing(\%there, \%said));
}

# The tables of monitoring.md: metrics, checks of health(), and alerts.
for my $table ([ 'src/core/metrics.c', qr/\{"(ains_\w+)", "(?:counter|gauge|histogram)"/, qr/^\| `(ains_\w+)` \|/m ],
	[ 'src/core/health.c', qr/\{"(\w+)", check_\w+/, qr/^\| `((?!ains_|Ains)\w+)` \|/m ],
	[ 'monitoring/alerts.yml', qr/- alert: (\w+)/, qr/^\| `(Ains\w+)` \|/m ])
{
	my ($file, $in_code, $in_docs) = @$table;
	my $code = code($file);
	my $text = text('docs/monitoring.md');
	my %there = map { $_ => 1 } $code =~ /$in_code/g;
	my %said = map { $_ => 1 } grep { !/^NS/ } $text =~ /$in_docs/g;

	law("docs/monitoring.md has the table of $file",
		!%there ? "found none in $file" : (),
		(map { "$_ is not documented" } missing(\%there, \%said)),
		(map { "$_ does not exist" } missing(\%said, \%there)));
}

# features.md: a function, a test or words in it that are gone make its rows lies.
SKIP:
{
	skip 'no docs/features.md yet', 1 unless -f "$root/docs/features.md";

	my (%function, %words_of, @broken);
	for my $sql (map { text($_) } files(qr{^(?!.*/updates/).*\.sql$}, 'sql'))
	{
		$function{$1} = 1 while $sql =~ /^CREATE (?:FUNCTION|PROCEDURE) ains\.(\w+)/mg;
	}
	# Words may go over the end of a line, also of a comment.
	my $flat = sub { my ($s) = @_; $s =~ s/\n\s*(?:--|#)?/ /g; $s =~ s/\s+/ /g; $s };

	for my $line (split /\n/, text('docs/features.md'))
	{
		push @broken, "$_() does not exist" for grep { !$function{$_} } $line =~ /`(\w+)\(/g;
		while ($line =~ m{`((?:sql|specs|pgtap|t|check)/[\w.-]+)`((?:,? "[^"]*")*)}g)
		{
			my ($file, $words) = ("test/$1", $2);
			my $there = $words_of{$file} //= -f "$root/$file" ? $flat->(text($file)) : '';
			push @broken, $there eq '' ? "$file does not exist"
			  : map { qq{$file does not say "$_"} } grep { index($there, $_) < 0 } $words =~ /"([^"]*)"/g;
		}
	}
	law('docs/features.md names functions and tests that are there', @broken);
}

SKIP:
{
	my @docs = files(qr/\.md$/, 'docs');
	skip 'no docs/ or src/errors.h yet', 1 unless @docs && -f "$root/src/errors.h";

	my (%there, %said);
	my $code = code('src/errors.h');
	while ($code =~ /MAKE_SQLSTATE\s*\(([^)]*)\)|"(NS\w{3})"/g)
	{
		my $state = defined $2 ? $2 : join '', $1 =~ /'(\w)'/g;
		$there{$state} = 1 if $state =~ /^NS/;
	}
	for my $text (map { text($_) } @docs)
	{
		$said{$1} = 1 while $text =~ /\b(NS\d{3})\b/g;
	}
	law('docs/ has the SQLSTATEs of errors.h',
		!%there ? 'found none in errors.h' : (),
		(map { "$_ is not documented" } missing(\%there, \%said)),
		(map { "$_ does not exist" } missing(\%said, \%there)));
}

done_testing();
