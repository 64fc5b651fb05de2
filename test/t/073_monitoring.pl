# What monitoring/ has, with Debian's exporter and Prometheus: the samples come
# through as they are, every panel has data, every alert can be judged, and the
# one for a killed agent fires.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = "$ENV{AINS_SRC}/monitoring";
my $tmp = PostgreSQL::Test::Utils::tempdir;
my %child;

END { kill 'KILL', values %child if %child; }

# Starts a program; what it prints is in the log.
sub spawn
{
	my ($name, @command) = @_;
	my $pid = fork // die "fork: $!";

	return $child{$name} = $pid if $pid;
	open STDIN, '<', '/dev/null' or die;
	open STDOUT, '>', "$PostgreSQL::Test::Utils::log_path/$name.log" or die;
	open STDERR, '>&', \*STDOUT or die;
	%child = ();
	exec { $command[0] } @command or die "$command[0]: $!";
}

sub end
{
	my ($name) = @_;
	my $pid = delete $child{$name};

	kill 'KILL', $pid;
	waitpid($pid, 0);
	return;
}

# A test: the command succeeds.
sub succeeds
{
	my ($name, @command) = @_;
	my $said;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(IPC::Run::run(\@command, '<', \undef, '>&', \$said), $name) || diag($said);
}

# ----------------------------------------------------------------------
# A server at work
# ----------------------------------------------------------------------

my $node = ains_node('main');
my $s = AinsTest::Session->new($node);
$node->psql('postgres', slurp_file("$dir/role.sql"), on_error_die => 1);
$s->query("SELECT ains.register_agent('a', 'crawler', capabilities => '{work}', heartbeat_timeout => '1 hour')");
$s->query("SELECT ains.enqueue('still') FROM generate_series(1, 7)");
$s->query("SELECT ains.register_agent('b', 'crawler', capabilities => '{still}', heartbeat_timeout => '1 hour')");

# Of each ten tasks one fails, and waits.
sub work
{
	$s->query("SELECT ains.enqueue('work') FROM generate_series(1, 10)");
	$s->query("SELECT CASE WHEN row_number() OVER () = 1 THEN ains.fail(task_id, lease_token, 'x')::text
		ELSE ains.complete(task_id, lease_token)::text END FROM ains.claim('a', 10)");
	return;
}

work();
my $exporter = PostgreSQL::Test::Cluster::get_free_port();
my $prometheus = PostgreSQL::Test::Cluster::get_free_port();
my $config = slurp_file("$dir/prometheus.yml");
my $rules = slurp_file("$dir/alerts.yml");
$config =~ s/127\.0\.0\.1:9187/127.0.0.1:$exporter/;
$config =~ s/_interval: \w+/_interval: 500ms/g;
$rules =~ s/^( +for:) \w+/$1 1s/mg;
append_to_file("$tmp/prometheus.yml", $config);
append_to_file("$tmp/alerts.yml", $rules);

$ENV{DATA_SOURCE_NAME} = 'host=' . $node->host . ' port=' . $node->port . ' user=prometheus dbname=postgres sslmode=disable';
spawn('exporter', 'prometheus-postgres-exporter', "--web.listen-address=127.0.0.1:$exporter",
	split(' ', `$dir/exporter-flags`), "--extend.query-path=$dir/exporter.yml");
spawn('prometheus', 'prometheus', "--config.file=$tmp/prometheus.yml", "--storage.tsdb.path=$tmp/data",
	"--web.listen-address=127.0.0.1:$prometheus");

# ----------------------------------------------------------------------
# What needs no server
# ----------------------------------------------------------------------

succeeds('the configuration', 'promtool', 'check', 'config', "$dir/prometheus.yml");
succeeds('alerts fire, and do not', 'promtool', 'test', 'rules', "$dir/alerts_test.yml");
{
	my @alerts = slurp_file("$dir/alerts.yml") =~ /alert: (\w+)/g;
	my $cases = slurp_file("$dir/alerts_test.yml");
	is_deeply([ grep { my $a = $_; grep { $cases !~ /name: $a $_\n/ } 'fires', 'does not fire' } @alerts ],
		[], 'each has both cases');
}

my %dashboard = map { /([^\/]+)\.json$/ ? ($1 => JSON::PP::decode_json(slurp_file($_))) : () } glob "$dir/grafana/*.json";
is(join(' ', sort keys %dashboard), 'ains-agents ains-leases ains-overview ains-tasks', 'the dashboards');

# As Grafana's own types have it, which allow no property that they do not name.
{
	my %options = (timeseries => 'TimeSeries', stat => 'Stat', table => 'Table', heatmap => 'Heatmap');
	my $from = "$ENV{NODE_PATH}/\@grafana/schema/dist/esm/raw";
	my $source = "import type { Dashboard, Panel } from '$from/dashboard/x/dashboard_types.gen';\n"
	  . join('', map { "import type { Options as $options{$_}Options } from '$from/composable/$_/panelcfg/x/$options{$_}PanelCfg_types.gen';\n" } sort keys %options)
	  . "import type { FieldConfig } from '$from/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';\n"
	  # JSON has texts where they have enums
	  . "type Json<T> = T extends string ? `\${T}` | T : T extends Array<infer E> ? Array<Json<E>> : T extends object ? { [K in keyof T]: Json<T[K]> } : T;\n";
	my $n = 0;
	my $is = sub { $source .= 'const v' . $n++ . ": Json<$_[0]> = " . JSON::PP->new->encode($_[1]) . ";\n" };

	for my $d (values %dashboard)
	{
		$is->('Dashboard', $d);
		for my $panel (@{ $d->{panels} })
		{
			$is->('Panel', $panel);
			$is->("Partial<$options{$panel->{type}}Options>", $panel->{options});
			$is->('FieldConfig', $panel->{fieldConfig}{defaults}{custom}) if $panel->{type} eq 'timeseries';
		}
	}
	append_to_file("$tmp/dashboards.ts", $source);
	succeeds("are what Grafana's schema says", 'node', "$ENV{NODE_PATH}/typescript/bin/tsc", '--noEmit', '--strict',
		'--skipLibCheck', '--moduleResolution', 'node', '--target', 'es2020', '--module', 'es2020', "$tmp/dashboards.ts");
}
for my $uid (sort keys %dashboard)
{
	my $d = $dashboard{$uid};
	my @ds = map { $_->{datasource}{uid} } (@{ $d->{panels} }, (map { @{ $_->{targets} } } @{ $d->{panels} }),
		grep { $_->{type} eq 'query' } @{ $d->{templating}{list} });
	is_deeply([ grep { $_ ne '${datasource}' } @ds ], [], "$uid asks the data source that is chosen");
	is($d->{uid}, $uid, 'and is named as its file');
	is(scalar(keys %{ { map { $_->{id} => 1 } @{ $d->{panels} } } }), scalar @{ $d->{panels} }, 'each panel has its id');
}

# ----------------------------------------------------------------------
# Prometheus
# ----------------------------------------------------------------------

my $http = HTTP::Tiny->new(timeout => 10);

# What Prometheus answers; undef: it does not, or not with success.
sub api
{
	my ($path, %arguments) = @_;
	my $answer = $http->get("http://127.0.0.1:$prometheus/api/v1/$path?" . $http->www_form_urlencode(\%arguments));

	return unless $answer->{success};
	return JSON::PP::decode_json($answer->{content})->{data};
}

# The values of an expression that are numbers.
sub values_of
{
	my $data = api('query', query => $_[0]) or return;
	return grep { $_ ne 'NaN' } map { $_->{value}[1] } @{ $data->{result} };
}

sub states
{
	my ($alert) = @_;
	my $data = api('alerts') or return '';
	return join ' ', sort map { $_->{state} } grep { $_->{labels}{alertname} eq $alert } @{ $data->{alerts} };
}

ok(poll(sub { grep { $_->{health} eq 'up' } @{ (api('targets') // {})->{activeTargets} // [] } }), 'the target is up');
ok(poll(sub { values_of('ains_application_info') }), 'and gives metrics');

# ----------------------------------------------------------------------
# What comes through
# ----------------------------------------------------------------------

my $names = sub { join ' ', sort grep { /^ains_/ } @{ api('label/__name__/values') } };
my $expected = join ' ', sort('ains_capability_agents', split /\n/, $s->query('SELECT DISTINCT name FROM ains.metric_samples()'));
ok(poll(sub { $names->() eq $expected }), 'all families, under their names') || is($names->(), $expected);
is(join(' ', values_of('ains_tasks_created_total{capability="still"}')), '7', 'with their values');
is(join(' ', sort keys %{ api('query', query => 'ains_tasks{capability="still", status="PENDING"}')->{result}[0]{metric} }),
	'__name__ capability instance job status', 'and labels');
is(join(' ', values_of('ains_agents_active{agent_type="crawler"}'), values_of('ains_capability_agents{capability="still"}')), '2 1', 'agents, too');
my $text = $http->get("http://127.0.0.1:$exporter/metrics")->{content};
is(join(' ', $text =~ /^# TYPE ains_\w+_value (\w+)$/mg), 'counter gauge histogram', 'types are kept');
is(join(' ', $text =~ /^# TYPE (pg_(?!exporter_|scrape_collector_|up |static )\w+)/mg), '', "none of PostgreSQL's own");
is($s->query("SELECT count(*) FROM ains.metric_samples() WHERE name = 'ains_task_wait_seconds_bucket' AND labels ->> 'capability' = 'work'"),
	scalar(values_of('ains_task_wait_seconds_bucket{capability="work"}')), 'a histogram has all its buckets');
is(join(' ', values_of('ains_task_wait_seconds_bucket{capability="work", le="+Inf"}')), '10', 'that add up');
is(join(' ', values_of('ains_task_wait_seconds_count{capability="work"}')), '10', 'to its count');
ok(values_of('ains_task_wait_seconds_sum{capability="work"} > 0'), 'and it has a sum');

# the role can do this, and nothing else
my $r = AinsTest::Session->new($node, user => 'prometheus');
raises($r, 'SELECT count(*) FROM ains.tasks', '42501', 'the role sees no task');
raises($r, 'SELECT count(*) FROM ains.agents', '42501', 'no agent');
raises($r, "SELECT ains.enqueue('x')", '42501', 'enqueues none');
raises($r, 'SELECT ains.sweep()', '42501', 'and does not sweep');
$r->close;

# ----------------------------------------------------------------------
# An agent is killed
# ----------------------------------------------------------------------

spawn('agent', $ENV{AINS_AGENT}, '--dsn', $node->connstr('postgres'), '--agent-id', 'doomed', '--capability', 'lonely',
	'--heartbeat-timeout', '3 s', '--', 'sleep', '60');
$s->query("SELECT ains.enqueue('lonely') FROM generate_series(1, 3)");
eventually($s, "SELECT count(*) FROM ains.task WHERE agent_id = 'doomed'", '1', 'an agent works');
ok(poll(sub { values_of('ains_capability_agents{capability="lonely"} == 1 and on (capability) ains_tasks_in_queue > 0') }), 'which Prometheus knows');
ok(poll(sub { !@{ api('alerts')->{alerts} } }), 'all is well');
end('agent');
for (['AinsAgentDied', 'its death'], ['AinsNoAgents', 'that its capability has nobody'])
{
	my ($alert, $what) = @$_;
	ok(poll(sub { states($alert) eq 'firing' }), "an alert says $what") || is(states($alert), 'firing');
}
my @rules = map { @{ $_->{rules} } } @{ api('rules')->{groups} };
is(scalar(@rules), scalar(() = $rules =~ /alert:/g), 'all alerts are there');
is_deeply([ map { "$_->{name}: $_->{lastError}" } grep { $_->{health} ne 'ok' } @rules ], [], 'and can be judged');

# ----------------------------------------------------------------------
# Every panel
# ----------------------------------------------------------------------

my @asked;
for my $uid (sort keys %dashboard)
{
	for my $panel (@{ $dashboard{$uid}{panels} })
	{
		push @asked, map { [ "$uid, $panel->{title}, $_->{legendFormat}", $_->{expr} ] } @{ $panel->{targets} };
	}
}
for (@asked)
{
	my $query = $_->[1];
	$query =~ s/\$__rate_interval/15s/g;
	$query =~ s/\$(?:instance|capability)/.*/g;
	$_->[1] = $query;
}
my @silent = @asked;
poll(
	sub {
		work();
		@silent = grep { !values_of($_->[1]) } @silent;
		return !@silent;
	});
is_deeply([ map { "$_->[0]: $_->[1]" } @silent ], [], @asked . ' queries of panels have data');
my %known = map { $_ => 1 } @{ api('label/__name__/values') };
is_deeply([ grep { !$known{$_} } map { $_->[1] =~ /\b(ains_\w+)/g } (@asked, map { [ 0, $_->{query} ] } @rules) ], [],
	'and neither they nor alerts name what is not there');
for my $uid (sort keys %dashboard)
{
	for my $variable (grep { $_->{type} eq 'query' } @{ $dashboard{$uid}{templating}{list} })
	{
		my ($series, $label) = $variable->{query}{query} =~ /^label_values\((.*), (\w+)\)$/;
		$series =~ s/\$instance/.*/;
		ok(scalar @{ api("label/$label/values", 'match[]' => $series) }, "$uid: the variable $variable->{name} has values");
	}
}

# ----------------------------------------------------------------------
# The server is gone
# ----------------------------------------------------------------------

$node->stop('immediate');
ok(poll(sub { states('AinsUnreachable') eq 'firing' }), 'an alert says that the server is gone');
is(scalar(values_of('ains_tasks_created_total')), 0, 'and no old numbers are shown as new');

end($_) for keys %child;
done_testing();
