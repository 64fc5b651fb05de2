# What the tests of the laws share: the tree, and its text without comments.
package Laws;

use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename qw(dirname);
use File::Find;
use Test::More;

our @EXPORT = qw($root files text code law);

our $root = abs_path(dirname(__FILE__) . '/../..');

# Files below the directories (or the files) given, relative to the root, whose
# names match.
sub files
{
	my ($match, @places) = @_;
	my @found;

	for my $place (grep { -e "$root/$_" } @places)
	{
		find(
			{
				no_chdir => 1,
				wanted => sub {
					push @found, substr($_, 1 + length $root) if -f && $_ =~ $match;
				}
			},
			"$root/$place");
	}
	return sort @found;
}

sub text
{
	my ($file) = @_;
	open(my $fh, '<', $file =~ m{^/} ? $file : "$root/$file") or die "$file: $!";
	local $/;
	return scalar <$fh>;
}

# C source with comments blanked, and with strings => 0 string literals too.
# Lines keep their numbers.
sub code
{
	my ($file, %opt) = @_;
	my $text = text($file);
	my $blank = sub { my ($s) = @_; $s =~ s/[^\n]/ /g; $s };

	$text =~ s{
		( " (?: \\. | [^"\\] )* " | ' (?: \\. | [^'\\] )* ' )
		| ( /\* .*? \*/ | // [^\n]* )
	}{
		defined $2 ? $blank->($2)
			: ($opt{strings} // 1) ? $1
			: '"' . $blank->(substr $1, 2) . '"'
	}gsex;
	return $text;
}

# One law: a name, and what breaks it, a line each.
sub law
{
	my ($name, @broken) = @_;
	ok(!@broken, $name) or diag(map { "  $_\n" } @broken);
}

1;
