# The counters: live tasks in shared memory are those of the table, to the last
# one, although they are counted while others work and nobody waits for it.
#
# Clients make the load of AinsLoad, while one count after the other is asked
# for. After each the clients are stopped for a moment, by a lock on the table:
# it is given when every transaction that wrote there has ended, its counters
# included, so then memory and table must agree. AINS_TEST_SEED repeats the
# clients' choices (if not their timing).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsLoad;
use AinsTest;
use Test::More;
use Time::HiRes qw(usleep);

my $seed = seed();
my $unknown = 'SELECT count(*) FROM ains_internal.counters() WHERE counter = upper(counter) AND value IS NULL';
my $node = ains_node('counters', conf => join "\n", 'ains.audit_interval = 86400', 'log_min_messages = fatal',
	'fsync = off', 'synchronous_commit = off');
my $s = AinsTest::Session->new($node);
my $load = AinsLoad->new(nodes => [$node], seed => $seed);
my ($counts, $wrong) = (0, '');

# many entries, so that the lock of the counters is held for a while
$s->query("SELECT ains.enqueue('other' || n, run_at => clock_timestamp() + '1 day') FROM generate_series(1, 500) n");
$load->start(8);
$load->progress(20);
for (my $until = now() + 6; now() < $until && $wrong eq ''; $counts++)
{
	usleep(rand 3000);
	$s->query('SELECT ains.rescan()');
	# the sweeper was woken to do the same: one of them comes to nothing
	$s->query('SELECT ains.sweep()');
	$s->query('SELECT ains.sweep()') until $s->query($unknown) eq '0';
	usleep(rand 3000) if rand() < 0.5;
	$s->query('BEGIN');
	$s->query('LOCK TABLE ains.task IN SHARE MODE');
	$wrong = $s->query(miscounted());
	$s->query('COMMIT');
}
$load->stop;
is($wrong, '', 'memory and table agree at any time') or diag("in count $counts");
note("$counts counts while $_ tasks were completed") for $load->answers('completed');
ok($load->drain($node), 'nothing is left');
eventually($s, miscounted(), '', 'nor in memory');

# A restart: nothing is known until the sweeper has counted.
$s->query("SELECT count(*) FROM ains.enqueue_batch('after', '[1, 2, 3]')");
$s->query("SELECT ains.enqueue('after', run_at => clock_timestamp() + '1 day')");
$s->query("SELECT ains.register_agent('a', capabilities => '{after}')");
$s->query("SELECT task_id FROM ains.claim('a')");
$s->query("ALTER SYSTEM SET ains.databases = 'none'");
$node->restart;
$s = AinsTest::Session->new($node);
my $stats = "SELECT scheduled, pending, active FROM ains.queue_stats() WHERE capability = 'after'";
is($s->query($stats), '1|2|1', 'after a restart queue_stats counts the table');
is($s->query('SELECT count(*) FROM ains_internal.counters()'), '0', 'as memory knows nothing');
$s->query("SELECT ains.enqueue('after')");
is($s->query("SELECT counter, value FROM ains_internal.counters()
	WHERE capability = 'after' AND bound IS NULL AND value IS DISTINCT FROM 0 AND counter IN ('enqueued', 'PENDING') ORDER BY 1"),
	"PENDING|\nenqueued|1", 'but what was done since');
$s->query('ALTER SYSTEM RESET ains.databases');
$s->query('SELECT pg_reload_conf()');
eventually($s, miscounted(since_start => 0), '', 'the sweeper counts');
is($s->query($stats), '1|3|1', 'and queue_stats is right');

# What is loaded by other means, as by a restore, is seen after rescan.
$s->query("INSERT INTO ains.task (rank, lane_id, status, priority, run_at, created_at, enqueued_by, capability, payload)
	SELECT rank, lane_id, status, priority, run_at, created_at, enqueued_by, capability, payload
	FROM ains.task WHERE status = 'PENDING'");
is($s->query($stats), '1|3|1', 'what came by other means is not noticed');
$s->query('SELECT ains.rescan()');
is($s->query($stats), '1|6|1', 'until rescan');
eventually($s, miscounted(since_start => 0), '', 'and the sweeper counts again');

# A new installation begins anew; more capabilities than there is room for.
$s->query('DROP EXTENSION ains');
$node->append_conf('postgresql.conf', 'ains.max_capabilities = 2');
$node->restart;
$s = AinsTest::Session->new($node);
$s->query('CREATE EXTENSION ains');
$s->query("SELECT ains.enqueue(capability) FROM unnest('{a,b,b,c,d}'::text[]) capability");
eventually($s, 'SELECT capability, value FROM ains_internal.counters()
	WHERE counter = \'enqueued\' ORDER BY 1', "a|1\nb|2\n|2", 'those without room are counted as one');
$s->query('SELECT ains.sweep()');
is($s->query("SELECT string_agg(capability || pending, ' ' ORDER BY capability) FROM ains.queue_stats()"),
	'a1 b2 c1 d1', 'and queue_stats counts the table');
$s->query('DROP EXTENSION ains');
eventually($s, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ains sweeper'", '0', 'the sweeper ends');
$s->query('CREATE EXTENSION ains');
$s->query("SELECT ains.enqueue(capability) FROM unnest('{e,f}'::text[]) capability");
eventually($s, 'SELECT string_agg(capability || value, \' \' ORDER BY capability) FROM ains_internal.counters()
	WHERE counter = \'enqueued\'', 'e1 f1', 'a new installation has the room of the old one');
$s->close;
$node->stop;

done_testing();
