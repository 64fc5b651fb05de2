# Helper: a program beside this file that takes a line of JSON and answers one.
#
#	my $screen = Helper->new('screen.py', 80, 24, $program);
#	$screen->ask({ keys => 'q' })->{status};
package Helper;

use strict;
use warnings;

use FindBin;
use IPC::Open2;
use JSON::PP;

sub new
{
	my ($class, $name, @args) = @_;
	my $self = bless {}, $class;

	# Debian's own, which has the packages
	$self->{pid} = open2($self->{out}, $self->{in}, '/usr/bin/python3', "$FindBin::Bin/lib/$name", @args);
	return $self;
}

sub ask
{
	my ($self, $order) = @_;
	my $json = JSON::PP->new->allow_nonref->utf8;

	print { $self->{in} } $json->encode($order), "\n";
	$self->{in}->flush;
	my $line = readline $self->{out};
	die "no answer from the helper\n" unless defined $line;
	return $json->decode($line);
}

# The helper ends when it has nothing more to read.
sub close
{
	my ($self) = @_;

	CORE::close($self->{in});
	waitpid $self->{pid}, 0;
	return;
}

1;
