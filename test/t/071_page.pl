# The page of ains-top, looked at with Chromium: what happens appears, names are
# text whatever they contain, and the console stays silent.
#
# AINS_SCREENSHOT=FILE makes the picture for docs/ instead, of a few minutes' work.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use AinsTest;
use Helper;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $bin = $ENV{AINS_TOP};
plan skip_all => 'AINS_TOP does not name the ains-top to test' unless $bin && -x $bin;

my $node = ains_node('main', test_clock => 1);
my $dsn = $node->connstr('postgres');
my $s = AinsTest::Session->new($node);
my $dir = PostgreSQL::Test::Utils::tempdir();

if (my $picture = $ENV{AINS_SCREENSHOT})
{
	portrait($picture);
	pass("made $picture");
	done_testing();
	exit;
}

$s->query(q{SELECT ains.register_agent('worker-1', capabilities => '{mail.send,image.scale}', heartbeat_timeout => '1 year')});
$s->query(q{SELECT ains.register_agent('worker-2', capabilities => '{mail.send}', heartbeat_timeout => '30 min')});
$s->query(q{SELECT ains.register_agent('<script>document.title = "bad"</script>', capabilities => '{x}', heartbeat_timeout => '1 year')});
$s->query(q{SELECT ains.heartbeat('worker-1', activity => '"><img src=x onerror=alert(1)>')});
$s->query(q{SELECT ains.enqueue('<b>&amp;</b>')});
$s->query(q{SELECT count(*) FROM (SELECT ains.enqueue_batch('image.scale', (SELECT jsonb_agg(i) FROM generate_series(1, 40) i))) e});
$s->query(q{SELECT ains.enqueue('mail.send')});
$s->query(q{SELECT ains.fail(task_id, lease_token, 'smtp: <no such user>', retryable => false) FROM ains.claim('worker-2', capabilities => '{mail.send}')});

# Three agents that work for a while, one of which dies.
sub portrait
{
	my ($picture) = @_;
	my $said = '';
	my $server = IPC::Run::start [ $bin, '-n', '1', '--serve', '127.0.0.1:0', $dsn ], '2>', \$said;
	my @agents = ([ 'mailer-1', 'mail.send' ], [ 'scaler-1', 'image.scale' ], [ 'scaler-2', 'image.scale' ]);

	srand(1);
	$s->query("SELECT ains.register_agent('$_->[0]', capabilities => '{$_->[1]}', heartbeat_timeout => '20 s')") for @agents;
	my $start = now();
	poll(
		sub {
			my $at = now() - $start;
			my $n = int(rand(4 + 3 * sin($at / 20)));
			$s->query("SELECT ains.enqueue('$_') FROM generate_series(1, " . int(rand($n + 1)) . ')') for 'mail.send', 'image.scale';
			$s->query(q{SELECT ains.enqueue('report.weekly', run_at => now() + '1 h')}) if rand() < 0.002;
			for my $agent (@agents)
			{
				next if $agent->[0] eq 'scaler-2' && $at > 150;
				$s->query("SELECT ains.heartbeat('$agent->[0]', activity => 'working on $agent->[1]')");
				my ($task, $token) = split /\|/, $s->query("SELECT task_id, lease_token FROM ains.claim('$agent->[0]')") or next;
				$s->query(rand() < 0.004
					? "SELECT ains.fail($task, $token, 'the other side does not answer', retryable => false)"
					: "SELECT ains.complete($task, $token)");
			}
			select undef, undef, undef, 0.1;
			return $at > 200;
		},
		300);
	$s->query("SELECT ains.claim('mailer-1')");
	$server->pump_nb;
	my ($address) = $said =~ /(http:\S+)/;
	my $chromium = Helper->new('browser.py');
	$chromium->ask({ width => 1000, height => 800, open => $address });
	$chromium->ask({ shot => $picture });
	$chromium->close;
	$server->signal('TERM');
	$server->finish;
	return;
}

# ----------------------------------------------------------------------
# In a file
# ----------------------------------------------------------------------
my $file = "$dir/page.html";
IPC::Run::run [ $bin, '--html', $file, '--once', $dsn ];
is($?, 0, '--html --once writes a file');
my $html = slurp_file($file);
like($html, qr/<!DOCTYPE html>.*worker-1.*<\/html>\n$/s, 'a whole page');
like($html, qr/<h2>Live tasks<\/h2>.*<table id="tasks">.*<td class="[^"]*">PENDING<.*<h2>Dead letters/s, 'with live tasks');
unlike($html, qr/<script|<img|http:|https:/, 'with no script, and nothing from elsewhere');
ok(!-e "$file.tmp", 'and nothing besides');
IPC::Run::run [ $bin, '--html', "$dir/nowhere/page.html", '--once', $dsn ], '2>', \my $error;
is($? >> 8, 3, 'a file that cannot be written: exit status');
like($error, qr/cannot write/, 'a file that cannot be written: why');

# ----------------------------------------------------------------------
# By HTTP
# ----------------------------------------------------------------------
my $log = '';
my $server = IPC::Run::start [ $bin, '-n', '0.2', '--serve', '127.0.0.1:0', $dsn ], '2>', \$log;
# whatever becomes of us
END { local $?; $server->kill_kill if $server && $server->pumpable }
ok(poll(sub { $server->pump_nb; $log =~ /serving/ }), '--serve says where') or diag($log);
my ($url, $port) = $log =~ m{(http://127\.0\.0\.1:(\d+)/)};

# An answer to a request, as text.
sub request
{
	my ($path, %option) = @_;
	my $socket = IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $port) or die "no connection: $@";

	$option{host} //= "127.0.0.1:$port";
	$option{method} //= 'GET';
	print $socket "$option{method} $path HTTP/1.1\r\nHost: $option{host}\r\nConnection: close\r\n\r\n";
	local $/;
	return scalar <$socket>;
}

ok(poll(sub { request('/') =~ /worker-1/ }), 'the page is served');
like(request('/'), qr/^Content-Security-Policy: default-src 'none';.*script-src 'nonce-/m, 'with a policy');
isnt((request('/') =~ /nonce-(\w+)/)[0], (request('/') =~ /nonce-(\w+)/)[0], 'that is another each time');
like(request('/nowhere'), qr{^HTTP/1.1 404 }, 'nothing else is there');
like(request('/', method => 'POST'), qr{^HTTP/1.1 405 }, 'and nothing can be done');
like(request('/', method => 'HEAD'), qr{^HTTP/1.1 200 .*\r\n\r\n$}s, 'HEAD has no body');
like(request('/', host => 'evil.example'), qr{^HTTP/1.1 403 }, 'nor by another name');
like(request('/', host => 'localhost'), qr{^HTTP/1.1 200 }, 'localhost is a name of ours');
for my $function ('metrics', 'health')
{
	my $there = $s->query("SELECT to_regprocedure('ains.$function()') IS NOT NULL") eq 't';
	my $answer = request("/$function");
	like($answer, $there ? qr{^HTTP/1.1 200 } : qr{^HTTP/1.1 503 .*function ains.$function\(\) does not exist}s,
		"/$function is what the function returns, or why it fails");
}

# ----------------------------------------------------------------------
# In a browser
# ----------------------------------------------------------------------
my $browser = Helper->new('browser.py');

# The text of the table's row whose first cell says so, and its class.
my $row = q{const find = (id, name) => [...document.querySelectorAll(`#${id} tbody tr`)].find(r => r.cells[0].textContent === name);};

sub script { return $browser->ask({ script => "$row return $_[0]" }) }

sub becomes
{
	my ($script, $expected, $name) = @_;
	my $last;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(poll(sub { ($last = script($script) // 'nothing') eq $expected }, 20), $name)
	  || diag("$script\nreturns: $last\nexpected: $expected");
}

$browser->ask({ width => 1100, height => 900, dark => JSON::PP::false, open => $url });
is(script('document.title'), 'ains-top: postgres', 'the page is there');
is(script(q{find('agents', '<script>document.title = "bad"</script>').cells[2].textContent}), 'AVAILABLE', 'a name that is a script is a name');
is(script(q{find('agents', 'worker-1').cells[6].textContent}), '"><img src=x onerror=alert(1)>', 'an activity is text');
is(script(q{find('capabilities', '<b>&amp;</b>').cells[1].textContent}), 'no agent', 'a capability is text');
is(script(q{document.querySelector('#dead-letters tbody td:last-child').textContent}), 'smtp: <no such user>', 'an error is text');
is(script(q{document.querySelectorAll('main script, main img, main b').length}), 0, 'none of them became an element');
is(script(q{document.querySelectorAll('.plots figure').length}), 3, 'three plots');

$s->query(q{SELECT ains.enqueue('new.thing')});
becomes(q{find('capabilities', 'new.thing')?.cells[2].textContent}, '1', 'a task that is enqueued appears');
is(script(q{find('agents', 'worker-2').className}), '', 'an agent that lives has no colour');
$s->query(q{SELECT ains_internal.advance_clock('31 min')});
$s->query('SELECT ains.sweep()');
becomes(q{find('agents', 'worker-2').className}, 'bad', 'an agent that was killed stands out');
is(script(q{getComputedStyle(find('agents', 'worker-2').cells[2]).color}), 'rgb(196, 33, 27)', 'in red');
$s->query(q{SELECT ains.complete(task_id, lease_token) FROM ains.claim('worker-1', 15)});
becomes(q{document.querySelector('.plots path.completed').getAttribute('d').match(/[ML]\d+ (?!100\.0)/) ? 'moves' : 'flat'},
	'moves', 'what was completed moves the plot');

script(q{document.getElementById('filter').value = 'WORKER-1', document.getElementById('filter').dispatchEvent(new Event('input'))});
is(script(q{find('agents', 'worker-2').hidden + ' ' + find('agents', 'worker-1').hidden}), 'true false', 'the filter hides rows');
script(q{!(window.old = document.getElementById('live'))});
becomes(q{window.old === document.getElementById('live') ? 'old' : 'new'}, 'new', 'the page refreshes itself');
is(script(q{find('agents', 'worker-2').hidden}), JSON::PP::true, 'and still hides them');
script(q{document.getElementById('filter').value = '', document.querySelector('#capabilities th:nth-child(3) button').click()});
my $ready = q{[...document.querySelectorAll('#capabilities tbody tr')].map(r => r.cells[2].textContent).join(' ')};
my $up = script($ready);
script(q{document.querySelector('#capabilities th:nth-child(3) button').click()});
is(script($ready), join(' ', reverse split / /, $up), 'a title sorts, up and down');
is($up, join(' ', sort { $a <=> $b } split / /, $up), 'by number');

$browser->ask({ width => 360, dark => JSON::PP::true, open => $url });
is(script('document.documentElement.scrollWidth'), 360, 'it fits a telephone');
is(script('getComputedStyle(document.body).backgroundColor'), 'rgb(20, 20, 23)', 'and is dark where dark is wished');
is_deeply($browser->ask({ log => 1 }), [], 'the console has nothing to say');
is_deeply($browser->ask({ script => q{return performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith(location.origin))} }),
	[], 'nothing is asked of anybody else');
$browser->close;

# ----------------------------------------------------------------------
# The server of the page outlives that of the data, and ends as it should
# ----------------------------------------------------------------------
$node->stop;
ok(poll(sub { request('/') =~ /class="notice" role="status">connection: / }), 'a lost connection is told');
like(request('/'), qr/worker-1/, 'with the last data');
like(request('/metrics'), qr{^HTTP/1.1 503 .*not connected}s, '/metrics says so too');
$server->signal('TERM');
$server->finish;
is($server->result(0), 0, 'SIGTERM ends it: exit status');

done_testing();
