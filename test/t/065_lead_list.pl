# The pipeline of examples/lead-list, on what is installed on this machine: a
# worker dies in the middle of a batch, the run falls short of its target, and
# ends as its owner decides.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use File::Path qw(make_path remove_tree);
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $example = "$ENV{AINS_SRC}/examples/lead-list";
my $docs = PostgreSQL::Test::Utils::tempdir() . '/doc';
my $target = 15;
my $readable = 8;		# companies that can be researched before the gap
my $node = ains_node('main');
my $s = AinsTest::Session->new($node);
my (%worker, %said);

$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGUSER} = 'leads';
$ENV{PGDATABASE} = 'postgres';
$s->query('CREATE ROLE leads LOGIN IN ROLE ains_producer, ains_agent');
$s->query('GRANT CREATE ON DATABASE postgres TO leads');
$s->query("SELECT ains.configure_capability('lead.research', backoff_base => '10 ms')");

# Runs a command of the program; its exit status, what it printed, its errors.
sub lead_list
{
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'python3', "$example/lead_list.py", @_ ], '<', \undef, '>', \$out, '2>', \$err,
		IPC::Run::timeout(patience()));
	chomp $out;
	return ($? >> 8, $out, $err);
}

sub start_worker
{
	my ($agent) = @_;

	$said{$agent} = '';
	$worker{$agent} = IPC::Run::start([ 'python3', "$example/lead_list.py", 'work', '--agent', $agent, '--docs', $docs ],
		'<', \undef, '>&', \$said{$agent});
	return;
}

sub kill_worker
{
	my $dead = delete $worker{ $_[0] };

	$dead->signal('KILL');
	$dead->finish;
	return;
}

sub run_is { return $s->query("SELECT status FROM ains.runs WHERE run_id = $_[0]") }

# Lets these packages have the copyright files that they have on this machine.
sub document
{
	for my $package (grep { -r "/usr/share/doc/$_/copyright" } @_)
	{
		make_path("$docs/$package");
		symlink "/usr/share/doc/$package/copyright", "$docs/$package/copyright";
	}
	return;
}

# ----------------------------------------------------------------------
# Errors that say what to do.

my ($status, $out, $err) = lead_list('--help');
is($status, 0, '--help');
like($out, qr/start.*work.*progress.*decide.*export/s, 'has the commands');
($status, $out, $err) = lead_list('start');
is($status, 1, 'without tables nothing starts');
like($err, qr/\blead_list: .*leads\.\w+" does not exist.*\nCREATE EXTENSION ains; then psql -f schema\.sql\n$/s, 'and it says why');
is($s->query('SELECT count(*) FROM ains.runs'), '0', 'no run is left behind');
like((lead_list('start', '--oversample', '0'))[2], qr/must be at least 1/, 'too few companies are no plan');
$node->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-f', "$example/schema.sql" ], 'the tables are made') for 1, 2;
($status, $out, $err) = lead_list('progress', 1);
is("$status $err", "1 there is no run 1, or it is not yours\n", 'an unknown run');

# ----------------------------------------------------------------------
# Discovery: killed in the middle of the second batch, it goes on after the
# first. Who counts sees what was tried and committed, whether it was new or not.

$s->query(<<'EOS');
CREATE TABLE tried (run_id bigint, site text)
EOS
$s->query(<<'EOS');
CREATE FUNCTION count_tried() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	IF (SELECT count(*) FROM tried) = 14 THEN PERFORM pg_advisory_xact_lock(65); END IF;
	INSERT INTO tried VALUES (new.run_id, new.site);
	RETURN new;
END $$
EOS
$s->query('CREATE TRIGGER count_tried BEFORE INSERT ON leads.company FOR EACH ROW EXECUTE FUNCTION count_tried()');
$s->query('SELECT pg_advisory_lock(65)');
$s->query("SELECT ains.pause('lead.research')");

($status, $out, $err) = lead_list('start', '--target', $target);
is($status, 0, 'a run is made') or diag($err);
my $run = $out;
start_worker('first');
eventually($s, 'SELECT count(*) FROM pg_locks WHERE locktype = $$advisory$$ AND NOT granted', '1', 'a worker is in the second batch')
  || die $said{first};
is($s->query("SELECT stage, active, pending, percent FROM ains.run_progress($run)"), "discovery|1|0|33.3\nresearch|0|10|0.0",
	'the first one is done');
kill_worker('first');
$s->query('SELECT pg_advisory_unlock(65)');
eventually($s, "SELECT status, attempt, checkpoint ->> 'found' FROM ains.tasks WHERE stage = 'discovery'", 'PENDING|1|10',
	'the task is given back, with its checkpoint');
start_worker('second');
eventually($s, "SELECT status, attempt, result ->> 'found' FROM ains.tasks WHERE stage = 'discovery'", 'COMPLETED|2|30',
	'another worker completes it') || die $said{second};
my $companies = "SELECT count(*), count(DISTINCT site) FROM";
is($s->query("$companies tried"), '30|30', 'no batch was done twice');
is($s->query("$companies leads.company"), '30|30', 'each company is there once');
is($s->query("$companies (SELECT payload ->> 'site' AS site FROM ains.tasks WHERE stage = 'research') t"), '30|30',
	'and is to be researched once');

# ----------------------------------------------------------------------
# The gap: of some companies there is nothing to read, of one not now, and two
# have the same address.

my @packages = split /\n/, $s->query('SELECT package FROM leads.company ORDER BY site');
for my $twin (@packages[ 0, 1 ])
{
	make_path("$docs/$twin");
	append_to_file("$docs/$twin/copyright", "Upstream-Name: Twin\nCopyright: Ann <ann\@twin.invalid>, Bob <bob\@debian.org>\nLicense: Expat\n");
}
document(@packages[ 2 .. $readable - 1 ]);
my $unreadable = $packages[-1];
make_path("$docs/$unreadable/copyright");
$s->query("SELECT ains.resume('lead.research')");
($status, $out, $err) = lead_list('progress', '--wait', $run);
is($status, 3, 'progress --wait tells that somebody has to decide');
like($out, qr/^run $run: NEEDS_DECISION, target $target\n  discovery .*\n  research .*\n  contact .* \d+ missing$/m, 'and what is missing');
is($s->query("SELECT status, attempt, count(*) FROM ains.tasks
	WHERE stage = 'research' AND payload ->> 'package' = '$unreadable' GROUP BY 1, 2"), 'FAILED|4|1', 'what cannot be read is tried again');
is($s->query("SELECT DISTINCT status, attempt FROM ains.tasks WHERE stage = 'research' AND error LIKE '%has no copyright file'"),
	'FAILED|1', 'what is missing is not');
is($s->query("SELECT name, licence, emails FROM leads.lead WHERE name = 'Twin'"), 'Twin|Expat|ann@twin.invalid',
	'of two with the same address one is a lead');
is($s->query("SELECT status, count(*) FROM ains.tasks WHERE stage = 'contact'
	AND payload ->> 'package' IN ('$packages[0]', '$packages[1]') GROUP BY 1 ORDER BY 1"), "COMPLETED|1\nFAILED|1", 'the other is none');
($status, $out, $err) = lead_list('export', $run);
is("$status $err", "1 run $run is NEEDS_DECISION: there is no list yet\n", 'there is nothing to export');

# ----------------------------------------------------------------------
# The decision: more companies. Two workers, of which one dies on the way.

document(map { m{/([^/]+)/copyright$} } grep { !m{/\Q$unreadable\E/} } glob '/usr/share/doc/*/copyright');
my $continued = 0;
my $known = 30;
while (run_is($run) eq 'NEEDS_DECISION' && $continued < 10)
{
	$continued++;
	($status, $out, $err) = lead_list('decide', $run, 'continue');
	is("$status $out", '0 RUNNING', 'it goes on') or diag($err);
	if ($continued == 1)
	{
		start_worker('third');
		cmp_ok(poll(sub { $s->query("SELECT count(*) FROM leads.company") > $known }), '>', 0, 'it finds more');
		kill_worker('second');
	}
	lead_list('progress', '--wait', $run);
}
is(run_is($run), 'COMPLETED', "the target is reached after $continued decisions");
is($s->query("SELECT count(*) = count(DISTINCT site), count(*) = (SELECT count(*) FROM leads.company) FROM tried"), 't|t',
	'nothing was discovered twice');
is($s->query("SELECT stage, count(*) - count(DISTINCT payload ->> 'site') FROM ains.tasks
	WHERE run_id = $run AND stage <> 'discovery' GROUP BY 1 ORDER BY 1"), "contact|0\nresearch|0", 'each task was made once');
is($s->query("SELECT (SELECT completed FROM ains.run_progress($run) WHERE stage = 'contact') = count(*) FROM leads.lead"), 't',
	'what is completed is there');

($status, $out, $err) = lead_list('export', $run);
my ($head, @rows) = split /\n/, $out;
is($head, 'site,name,licence,summary,emails', 'the list has a header');
is(scalar(@rows), $target, 'and as many rows as were wanted') or diag($out, $err);
my %site = map { (split /,/)[0] => 1 } @rows;
is(scalar(keys %site), $target, 'no company twice');
my @emails = $out =~ /[\w.+-]+@[\w.-]+/g;
my %email = map { $_ => 1 } @emails;
is(scalar(keys %email), scalar(@emails), 'no address twice');
is((lead_list('export', $run))[1], $out, 'the same list again');
($status, $out, $err) = lead_list('decide', $run, 'accept');
is($status, 1, 'nothing is left to decide');
like($err, qr/^lead_list: cannot .* this run\nDETAIL:  Run $run is COMPLETED\./, 'and it says so');

# ----------------------------------------------------------------------
# Other decisions: to try again what failed, and to take what there is.

remove_tree($docs);
document(@packages[ 0 .. $readable - 1 ]);
$run = (lead_list('start', '--target', $target, '--oversample', 1))[1];
is((lead_list('progress', '--wait', $run))[0], 3, 'another run falls short, too');
my $before = $s->query("SELECT count(*) FROM leads.lead WHERE run_id = $run");
document(@packages[ $readable .. $target - 1 ]);
like((lead_list('decide', $run, 'retry'))[1], qr/^[1-9]\d* tasks put back$/, 'what failed is put back');
lead_list('progress', '--wait', $run);
my $after = $s->query("SELECT count(*) FROM leads.lead WHERE run_id = $run");
cmp_ok($after, '>', $before, 'this time more is found');
SKIP:
{
	skip 'all of the companies have addresses here', 1 if $after == $target;
	is((lead_list('decide', $run, 'accept'))[1], 'COMPLETED', 'what there is, is enough');
}
is(scalar(split /\n/, (lead_list('export', $run))[1]), $after + 1, 'and is all of the list');

# ----------------------------------------------------------------------
# A run that is cancelled while a worker is in the middle of a batch.

$s->query('DELETE FROM tried');
$s->query('SELECT pg_advisory_lock(65)');
$run = (lead_list('start', '--target', $target))[1];
eventually($s, 'SELECT count(*) FROM pg_locks WHERE locktype = $$advisory$$ AND NOT granted', '1', 'a worker is at work');
$s->query("SELECT ains.cancel_run($run)");
$s->query('SELECT pg_advisory_unlock(65)');
eventually($s, "SELECT status, live, cancelled > 0 FROM ains.runs WHERE run_id = $run", 'CANCELLED|0|t', 'its task ends');
is($s->query('SELECT count(*) FROM tried'), '10', 'without the batch');

$worker{third}->signal('TERM');
ok($worker{third}->finish, 'a worker ends when it is told');
is($s->query("SELECT agent_status FROM ains.agent WHERE agent_id = 'third'"), 'INACTIVE', 'and is stopped then');

$s->close;
$node->stop;
done_testing();
