# ains-top as text and on a terminal: what it shows, to whom, what its keys do,
# and that it leaves the terminal as it was.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use AinsTest;
use Helper;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $bin = $ENV{AINS_TOP};
plan skip_all => 'AINS_TOP does not name the ains-top to test' unless $bin && -x $bin;

# ----------------------------------------------------------------------
# Without a server, and without the extension
# ----------------------------------------------------------------------
sub says
{
	my ($name, $args, $status, $out, $err) = @_;
	my ($stdout, $stderr) = ('', '');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	IPC::Run::run [ $bin, @$args ], '<', \undef, '>', \$stdout, '2>', \$stderr, IPC::Run::timeout(patience());
	is($? >> 8, $status, "$name: exit status");
	utf8::decode($stdout);
	like($stdout, $out, "$name: standard output");
	like($stderr, $err, "$name: standard error");
	return $stdout;
}

says('--help', ['--help'], 0, qr/^Usage:\n.*--operate.*--once.*--serve/ms, qr/^$/);
says('--version', ['--version'], 0, qr/^ains-top \d+\.\d+\.\d+$/, qr/^$/);
says('no terminal', [], 2, qr/^$/, qr/not a terminal.*--once/);
says('unknown option', ['--nonsense'], 2, qr/^$/, qr/nonsense/);
says('bad interval', [ '-n', '0' ], 2, qr/^$/, qr/--interval must be/);
says('what does not go together', [ '--once', '--serve', '127.0.0.1:0' ], 2, qr/^$/, qr/does not go with/);
says('to operate without keys', [ '--once', '--operate' ], 2, qr/^$/, qr/--operate is for/);
says('a name for an address', [ '--serve', 'example.org:80' ], 3, qr/^$/, qr/must be ADDRESS:PORT/);
says('an address of others', [ '--serve', '0.0.0.0:0' ], 3, qr/^$/, qr/without a password.*--allow-remote/);

my $node = ains_node('main', test_clock => 1, extension => 0);
my $dsn = $node->connstr('postgres');
my $s = AinsTest::Session->new($node);

says('no such database', [ '--once', $node->connstr('nowhere') ], 3, qr/^$/, qr/"nowhere" does not exist/);
says('not installed', [ '--once', $dsn ], 3, qr/^$/, qr/CREATE EXTENSION ains/);

# ----------------------------------------------------------------------
# As text
# ----------------------------------------------------------------------
$s->query('CREATE EXTENSION ains');
$s->query('CREATE ROLE looker LOGIN IN ROLE ains_monitor');
$s->query('CREATE ROLE nobody_special LOGIN');
$s->query(q{SELECT ains.register_agent('bad', capabilities => '{mail}', heartbeat_timeout => '1 year')});
$s->query(q{SELECT ains.register_agent('München 東京', capabilities => '{mail}', heartbeat_timeout => '1 year')}
	  =~ s/([^\x00-\x7f])/my $c = $1; utf8::encode($c); $c/ger);
$s->query(q{SELECT ains.register_agent('mortal', capabilities => '{mail}', heartbeat_timeout => '30 min')});
$s->query(q{SELECT ains.heartbeat('mortal', activity => 'sorting letters')});
my $dead = $s->query(q{SELECT ains.enqueue('mail')});
$s->query(q{SELECT ains.fail(task_id, lease_token, E'no\nsuch \x1b[31maddress', retryable => false) FROM ains.claim('mortal')});
my $held = $s->query(q{SELECT ains.enqueue('mail')});
$s->query(q{SELECT ains.claim('mortal')});

my $text = says('--once', [ '--once', $dsn ], 0, qr/^ains .* role ains_monitor/, qr/^$/);
like($text, qr/^agents: 3 alive, 0 dead, 0 away  tasks: 0 ready, 1 active, 0 later$/m, 'the sums');
like($text, qr/^mail +0 +1 +0 +- +- +- +- +- +3$/m, 'a capability');
like($text, qr/^mortal +agent +AVAILABLE +\S+ +1 +0\.\d\d  sorting letters$/m, 'an agent');
like($text, qr/^München 東京 +agent/m, 'a name that is not ASCII');
like($text, qr/^ +$held +mail +ACTIVE +mortal +1\/4 +\S+ +\S+ +-$/m, 'a live task');
like($text, qr/^ +$dead +mail +mortal +1\/4 +\S+ +no such \?\[31maddress$/m, 'a dead letter, with nothing that a terminal would obey');
unlike(says('--once', [ '--once', "$dsn user=looker" ], 0, qr/role ains_monitor/, qr/^$/), qr/^$/, 'a member of ains_monitor sees it');
says('no member of ains_monitor', [ '--once', "$dsn user=nobody_special" ], 3, qr/^$/, qr/permission denied.*ains_monitor/);
says('no member of --role', [ '--once', '--role', 'ains_admin', "$dsn user=looker" ], 3, qr/^$/, qr/permission denied to set role/);
says('--role', [ '--once', '--role', 'ains_admin', $dsn ], 0, qr/role ains_admin/, qr/^$/);

# ----------------------------------------------------------------------
# On a terminal
# ----------------------------------------------------------------------
my ($screen, $last);

sub shows
{
	my ($match, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(
		poll(
			sub {
				$last = $screen->ask({});
				grep { $_ =~ $match } @{ $last->{lines} };
			}),
		$name) || diag(join "\n", @{ $last->{lines} });
}

sub types { $screen->ask({ keys => $_[0] }); return }

# The colour of the line that matches.
sub colour
{
	my ($match) = @_;

	for my $i (0 .. $#{ $last->{lines} })
	{
		return $last->{colours}[$i] if $last->{lines}[$i] =~ $match;
	}
	return 'not there';
}

sub ends
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(poll(sub { $last = $screen->ask({}); defined $last->{status} }), "$name ends it");
	is($last->{status}, 0, "$name: exit status");
	ok($last->{echo}, "$name: the terminal is as it was");
	$screen->close;
	return;
}

$screen = Helper->new('screen.py', 80, 24, $bin, '-n', '0.2', $dsn);
shows(qr/^mortal +AVAILABLE .* 1 +0\.\d\d sorting letters/, 'an agent on the screen');
is(colour(qr/^mortal/), 'default', 'in no special colour');
shows(qr/^München 東京 +AVAILABLE/, 'a name that is not ASCII');
shows(qr/^ +$dead mail .* 1\/4 .* no such \?\[31maddress/, 'a dead letter');
shows(qr/^ +$held mail +ACTIVE +mortal +\S+ +\S+ +-/, 'a live task');
shows(qr/^mail +0 +1 +0 +- +0\.0 +0\.0/, 'a capability, with rates');
ok(!$last->{echo}, 'what is typed is not echoed');
$s->query(q{SELECT ains.enqueue('post')});
shows(qr/^post +no agent +1 +0 +0 /, 'a task that is enqueued appears, and that there is nobody for it');
types('1p');
shows(qr/only looks.*--operate/, 'p does nothing unless told otherwise');
types('4e');
shows(qr/^explain task: $dead$/, 'e proposes the selected dead letter');
types("\r");
shows(qr/^finished: It ended as FAILED/, 'and explains it');
types(' 2<');
shows(qr/^AGENT\+ /, 'the column to sort by is another');
my @agents = grep { /AVAILABLE/ } @{ $last->{lines} };
like($agents[0], qr/^M/, 'and the rows are sorted by it');
types('R');
shows(qr/^AGENT- /, 'the other way round');
like((grep { /AVAILABLE/ } @{ $last->{lines} })[0], qr/^mortal/, 'so are the rows');
types("\r");
shows(qr/^$held  ACTIVE  mail  attempt 1/, 'Enter lists what an agent holds');
types(' /MORT' . "\r");
shows(qr/^filter: MORT/, 'a filter');
ok(!(grep { /^bad|^post/ } @{ $last->{lines} }), 'hides what does not match');
types("/\x15\r");
shows(qr/^post/, 'an empty filter hides nothing');
$s->query(q{SELECT ains_internal.advance_clock('31 min')});
$s->query('SELECT ains.sweep()');
shows(qr/^mortal +DEAD/, 'a dead agent says so');
is(colour(qr/^mortal/), 'red', 'in red');
types('h');
shows(qr/Tab, 1 2 3/, 'help');
types(' ');
for my $size ([ 20, 5 ], [ 3, 2 ], [ 140, 40 ])
{
	$screen->ask({ size => $size });
	types(' ');
}
shows(qr/^mail +\d+ .* 0\.0 /, 'the screen may change its size');
shows(qr/^CAPABILITY .* AGENTS TREND/, 'and room is used');
$node->restart;
$s = AinsTest::Session->new($node);
$s->query(q{SELECT ains.enqueue('after')});
shows(qr/^after +no agent/, 'a connection that was lost comes back');
unlike($last->{lines}[1], qr/next attempt/, 'and nothing says otherwise');
$node->stop;
shows(qr/^connection: .* failed: /, 'a lost connection is told');
shows(qr/^after/, 'while the last data stay');
$node->start;
$s = AinsTest::Session->new($node);
types('q');
ends('q');

$screen = Helper->new('screen.py', 80, 24, $bin, '-n', '0.2', $dsn);
shows(qr/^mail/, 'it starts again');
$screen->ask({ signal => 2 });
ends('SIGINT');

# ----------------------------------------------------------------------
# Keys that change things
# ----------------------------------------------------------------------
$screen = Helper->new('screen.py', 80, 24, $bin, '-n', '0.2', '--operate', $dsn);
shows(qr/\(operating\)/, 'it says that keys change things');
types('1/post' . "\r");
shows(qr/^post /, 'a capability is selected');
types('p');
shows(qr/^post paused/, 'p pauses it');
shows(qr/^post +paused +1/, 'which is shown');
is($s->query(q{SELECT paused FROM ains.queue_stats() WHERE capability = 'post'}), 't', 'and so');
types('p');
shows(qr/^post resumed/, 'p again resumes it');
is($s->query(q{SELECT paused FROM ains.queue_stats() WHERE capability = 'post'}), 'f', 'and so');
my $waiting = $s->query(q{SELECT task_id FROM ains.tasks WHERE capability = 'post'});
types("c$waiting\r");
shows(qr/^task $waiting: cancelled/, 'c cancels a task');
is($s->query("SELECT status FROM ains.get_task($waiting)"), 'CANCELLED', 'and so');
my @two = split /\n/, $s->query(q{SELECT * FROM ains.enqueue_batch('two', '[1, 2]')});
types("/\x15two\r3");
shows(qr/^ +$two[1] two +PENDING/, 'live tasks, one of which is chosen');
types('je');
shows(qr/^explain task: $two[1]$/, 'e proposes the one under the cursor');
types("\x1b");
types('c');
shows(qr/^cancel task: $two[1]$/, 'so does c');
types("\r");
shows(qr/^task $two[1]: cancelled/, 'which cancels it');
is($s->query("SELECT string_agg(status::text, ' ' ORDER BY task_id) FROM ains.tasks WHERE capability = 'two'"), 'PENDING CANCELLED', 'and no other');
ok(poll(sub { $last = $screen->ask({}); !grep { /^ +$two[1] two/ } @{ $last->{lines} } }), 'it is no live task any more');
types("\r");
shows(qr/^Task $two[0]$/, 'Enter tells of the other one');
shows(qr/^[a-z_ ]+: /, 'why it does not run');
types(' 1');
types("cnonsense\r");
shows(qr/invalid input syntax for type bigint: "nonsense"/, 'an error is told');
types("/\x15\r4");
shows(qr/^ +$dead mail/, 'a dead letter is selected');
types("r");
shows(qr/^retry task: $dead$/, 'r proposes it');
types("\r");
shows(qr/^task $dead is put back/, 'and puts it back');
is($s->query("SELECT status FROM ains.get_task($dead)"), 'PENDING', 'and so');
shows(qr/^none$/, 'it is no dead letter any more');
types('q');
ends('q');

# ----------------------------------------------------------------------
# Looking for dead letters takes too long
# ----------------------------------------------------------------------
$s->query(q{CREATE FUNCTION public.too_long() RETURNS boolean LANGUAGE plpgsql STABLE AS
	$$BEGIN RAISE SQLSTATE '57014'; END$$});
$s->query(q{CREATE OR REPLACE VIEW ains.dead_letters WITH (security_barrier) AS SELECT * FROM ains.tasks WHERE public.too_long()});
$text = says('too much history', [ '--once', $dsn ], 0, qr/^Dead letters: not known: there is too much history/m, qr/^$/);
like($text, qr/^mail +\d/m, 'the rest is shown');
like($text, qr/^Live tasks: [1-9]/m, 'live tasks too');
$s->query(q{SELECT count(*) FROM ains.enqueue_batch('many', (SELECT jsonb_agg(n) FROM generate_series(1, 300) n))});
says('no more live tasks than a page takes', [ '--once', $dsn ], 0, qr/^Live tasks: 200$/m, qr/^$/);
$s->query(q{CREATE OR REPLACE VIEW ains.tasks WITH (security_barrier) AS SELECT * FROM ains.visible_task WHERE public.too_long()});
$text = says('too many live tasks', [ '--once', $dsn ], 0, qr/^Live tasks: not known: there are too many/m, qr/^$/);
like($text, qr/^mail +\d/m, 'the rest is shown then, too');

done_testing();
