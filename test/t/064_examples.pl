# The agents of examples/, each as its comment says to start it: work, failure,
# a signal to end, and a sudden death.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ains_node('main');
my $s = AinsTest::Session->new($node);

$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGUSER} = 'worker';
$ENV{PGDATABASE} = 'postgres';
$s->query('CREATE ROLE worker LOGIN IN ROLE ains_agent');

for my $language ([ 'agent.py', 'python3' ], [ 'agent.js', 'node' ])
{
	my ($file, @program) = @$language;
	my $path = "$ENV{AINS_SRC}/examples/$file";
	my $capability = "count $file";
	my ($agent, $out) = ('', '');
	my $start = sub {
		local @ENV{qw(AGENT CAPABILITY)} = ($file, $capability);
		$agent = IPC::Run::start([ @program, $path ], '<', \undef, '>&', \$out);
	};
	my $agent_is = "SELECT wanted, agent_status FROM ains.agent WHERE agent_id = '$file'";
	my $live = "SELECT count(*) FROM ains.task WHERE capability = '$capability'";

	cmp_ok(scalar(split /\n/, slurp_file($path)), '<', 80, "$file has less than 80 lines");

	$s->query("SELECT ains.enqueue('$capability', jsonb_build_object('text', repeat('to be or not to be ', n)))
		FROM generate_series(1, 20) n");
	$s->query("SELECT ains.enqueue('$capability', '{\"words\": 7}')");
	$start->();
	eventually($s, $live, '0', "$file works off what there is") or diag($out);
	is($s->query("SELECT count(*), sum((result->>'words')::integer), sum((result->>'different')::integer)
		FROM ains.task_history WHERE capability = '$capability' AND status = 'COMPLETED'"),
		'20|1260|80', "$file completes with the right result");
	like($s->query("SELECT status, attempt, error FROM ains.tasks
		WHERE capability = '$capability' AND status <> 'COMPLETED'"),
		qr/^FAILED\|1\|bad request: /, "$file fails what it cannot do, for good");

	# asleep, it is woken
	$s->query("SELECT ains.enqueue('$capability', '{\"text\": \"once\"}')");
	eventually($s, $live, '0', "$file wakes up");

	$agent->signal('KILL');
	$agent->finish;
	$s->query("SELECT ains.enqueue('$capability', '{\"text\": \"again\"}')");
	$start->();
	eventually($s, $live, '0', "$file comes back") or diag($out);

	$agent->signal('TERM');
	ok($agent->finish, "$file ends when it is told");
	is($s->query($agent_is), 'stopped|INACTIVE', "$file is stopped then") or diag($out);
}

$s->close;
$node->stop;
done_testing();
