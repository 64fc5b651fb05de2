# The laws of the install script, and of the number it carries.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Laws;
use Test::More;

my ($version) = text('ains.control') =~ /^default_version\s*=\s*'([^']+)'/m;
like($version, qr/^\d+\.\d+(?:\.\d+)?$/, 'ains.control has a version');

{
	my @broken;

	for my $file (files(qr{\.(?:[ch]|sql|sh|pl|1)$|/(?:Makefile|run)$|^[^.]+$},
		qw(src sql client demo scripts Makefile)))
	{
		next if $file =~ m{^sql/updates/} || -B "$root/$file";
		my $n = 0;
		for my $line (split /\n/, text($file))
		{
			$n++;
			push @broken, "$file:$n: $line" if $line =~ /(?<![\d.])\Q$version\E(?![\d.]*\d)/;
		}
	}
	law('the version number is in ains.control alone', @broken);
}

my @parts = files(qr/\.sql$/, 'sql');
my @install = grep { !m{^sql/updates/} } @parts;

SKIP:
{
	skip 'no sql/ yet', 4 unless @install;

	my %text;
	for my $file (@install)
	{
		my $sql = text($file);
		$sql =~ s{/\*.*?\*/|--[^\n]*}{}gs;
		$text{$file} = $sql;
	}
	my $all = join "\n", map { $text{$_} } @install;

	# A part that the Makefile does not know would be missing silently.
	my ($list) = text('Makefile') =~ /^SQL_PARTS\s*=\s*(.+)$/m;
	my %listed = map { +"sql/$_.sql" => 1 } split ' ', $list;
	law('the Makefile lists every part of the script',
		(map { "$_ is not listed" } grep { !$listed{$_} } @install),
		(map { "$_ does not exist" } grep { !-f "$root/$_" } sort keys %listed));

	# It would take over what somebody else created, with their rights.
	law('the install script replaces nothing',
		grep { $text{$_} =~ /\bOR\s+REPLACE\b/i } @install);

	my $name = qr/((?:"?\w+"?\.)?"?\w+"?)\s*\(/;
	my $plain = sub { my ($n) = @_; $n =~ s/^ains\.|"//g; lc $n };
	my (%made, %told);
	$made{ $plain->($1) }++ while $all =~ /\bCREATE\s+(?:FUNCTION|PROCEDURE)\s+$name/gi;
	$told{ $plain->($1) }++ while $all =~ /\bCOMMENT\s+ON\s+(?:FUNCTION|PROCEDURE)\s+$name/gi;
	law('every function has its COMMENT ON',
		grep { $made{$_} > ($told{$_} // 0) } sort keys %made);

	law('SQL reads the clock through the seam',
		grep { $text{$_} =~ /(?:(?<![\w.])|pg_catalog\.)
			(?:now|clock_timestamp|statement_timestamp|transaction_timestamp)\s*\(\s*\)
			|\b(?:CURRENT_TIMESTAMP|LOCALTIMESTAMP)\b/xi } @install);
}

done_testing();
