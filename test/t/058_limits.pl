# Limits: no slot is lost or won by a crash, a connection that ends or a
# transaction that cannot be prepared; never is one too many taken, by however
# many at once; who waits for a slot or a window is woken. Of a key no more run
# than may, and none is forgotten; a claim does not notice how many keys there
# are, counted in buffers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use Test::More;

my $node = ains_node('limits', test_clock => 1, conf => <<EOS);
fsync = off
restart_after_crash = on
max_prepared_transactions = 2
ains.audit_interval = 3600
EOS
my $s = AinsTest::Session->new($node);

sub active { return $s->query("SELECT count(*) FROM ains.task WHERE capability = '$_[0]' AND status = 'ACTIVE'") }

sub claim
{
	my ($session, $capability) = @_;
	return $session->query("SELECT count(*) FROM ains.claim('a', 10, capabilities => '{$capability}')");
}

sub reconnect
{
	wait_for_restart($node);
	return $s = AinsTest::Session->new($node);
}

# Slots.
$s->query("SELECT ains.configure_capability('slots', concurrency_limit => 5, lease => '10 days')");
$s->query("SELECT ains.configure_capability('rated', rate_limit => 2, rate_period => '1 hour')");
$s->query("SELECT ains.register_agent('a', capabilities => '{slots,rated}', heartbeat_timeout => '10 days')");
$s->query("SELECT ains.enqueue_batch('slots', (SELECT jsonb_agg(n) FROM generate_series(1, 100) n))");
$s->query("SELECT ains.enqueue_batch('rated', '[1, 2, 3, 4]')");
is($s->query("SELECT count(*) FROM ains.claim('a', 3, capabilities => '{slots}')"), '3', 'three slots are taken');

sub open_claim
{
	my ($count) = @_;
	my $b = AinsTest::Session->new($node);

	$b->query('BEGIN');
	$b->query("SELECT count(*) FROM ains.claim('a', $count, capabilities => '{slots}')");
	return $b;
}

my $b = open_claim(1);
is(claim($s, 'slots'), '1', 'and one by a transaction, so one is left');
my $log = -s $node->logfile;
kill 'KILL', $b->pid;
$node->wait_for_log(qr/all server processes terminated; reinitializing/, $log);
reconnect();
my @many = map { AinsTest::Session->new($node) } 1 .. 6;
$_->send("SELECT count(*) FROM ains.claim('a', 10, capabilities => '{slots}')") for @many;
$_->result for @many;
ok(poll(sub { claim($s, 'slots'); active('slots') eq '5' }), 'a backend was killed: its slot is free, the others are not');
is(claim($s, 'slots'), '0', 'and there are no more');

$node->restart;
reconnect();
is(claim($s, 'slots'), '0', 'after a restart neither');
$s->query("SELECT ains.complete(task_id, lease_token) FROM ains.task WHERE status = 'ACTIVE' LIMIT 2");
$b = open_claim(2);
is(claim($s, 'slots'), '0', 'two are taken by a transaction');
$s->query('SELECT pg_terminate_backend(' . $b->pid . ', 60000)');
is(claim($s, 'slots'), '2', 'whose backend is ended: they are free');
$s->query("SELECT ains.complete(task_id, lease_token) FROM ains.task WHERE status = 'ACTIVE' LIMIT 2");
$b = open_claim(2);
raises($b, "PREPARE TRANSACTION 'claim'", '0A000', 'a claim cannot be prepared');
is(claim($s, 'slots'), '2', 'and its slots are free');

$s->query("SELECT ains.configure_capability('line', key_limit => 1)");
$s->query("SELECT ains.enqueue('line', concurrency_key => 'k')");
$b = AinsTest::Session->new($node);
$b->query('BEGIN');
$b->query("SELECT ains.enqueue('line', concurrency_key => 'k')");
raises($b, "PREPARE TRANSACTION 'line'", '0A000', 'nor can a task in line');
is($s->query("SELECT count(*) FROM ains.task WHERE capability = 'line'"), '1', 'which is not there then');

# Waiting.
my $w = AinsTest::Session->new($node);
$w->send("CALL ains.wait_for_task('a', '60 s', NULL, '{slots}')");
ok(!$w->ready(0.3), 'who waits for a slot sleeps, although there are tasks');
$s->query("SELECT ains.complete(task_id, lease_token) FROM ains.task WHERE status = 'ACTIVE' LIMIT 1");
ok($w->ready(patience()), 'until there is one');
is($w->result->{rows}[0][0], 't', 'and is told so');
is(claim($s, 'slots'), '1', 'it is there');
$b = AinsTest::Session->new($node);
$s->query("SELECT ains.complete(task_id, lease_token) FROM ains.task WHERE status = 'ACTIVE' LIMIT 1");
$b = open_claim(1);
$w->send("CALL ains.wait_for_task('a', '60 s', NULL, '{slots}')");
ok(!$w->ready(0.3), 'a slot that is only taken is none');
$b->query('ROLLBACK');
ok($w->ready(patience()), 'until it is given back');
$w->result;
is(claim($s, 'rated'), '2', 'a window has room for two');
$w->send("CALL ains.wait_for_task('a', '60 s', NULL, '{rated}')");
ok(!$w->ready(0.3), 'who waits for the next window sleeps');
$s->query("SELECT ains_internal.advance_clock('1 hour')");
ok($w->ready(patience()), 'until it begins');
is($w->result->{rows}[0][0], 't', 'and is told so');
is(claim($s, 'rated'), '2', 'it has room for two again');

# Many at once: each looks, with a snapshot of its own, whether there is one too many.
$s->query("SELECT ains.configure_capability('busy', concurrency_limit => 3)");
$s->query("SELECT ains.configure_capability('keyed', key_limit => 2, backoff_base => '0', jitter => 0, max_attempts => 1000)");
$s->query("SELECT ains.register_agent('b', capabilities => '{busy,keyed}', heartbeat_timeout => '10 days')");
$s->query(<<'EOS');
CREATE PROCEDURE hammer(which text, rounds integer) LANGUAGE plpgsql AS $$
DECLARE
    c record;
    most bigint;
BEGIN
    FOR i IN 1 .. rounds LOOP
        BEGIN
            PERFORM ains.enqueue(which, concurrency_key => CASE which WHEN 'keyed' THEN 'k' || i % 3 END,
                                 run_at => clock_timestamp() + random() * interval '3 ms');
            IF random() < 0.2 THEN
                PERFORM ains.cancel(task_id) FROM ains.task WHERE status < 'ACTIVE' AND capability = which ORDER BY random() LIMIT 1;
            END IF;
        EXCEPTION WHEN deadlock_detected OR SQLSTATE 'NS003' OR SQLSTATE 'NS006' THEN NULL;
        END;
        COMMIT;
        SELECT task_id, lease_token INTO c FROM ains.claim('b', capabilities => ARRAY[which]);
        IF c.task_id IS NULL THEN
            CONTINUE;
        END IF;
        IF random() < 0.2 THEN
            ROLLBACK;
            CONTINUE;
        END IF;
        COMMIT;
        SELECT max(n) INTO most FROM (SELECT count(*) AS n FROM ains.task
         WHERE capability = which AND (status = 'ACTIVE' OR (which = 'keyed' AND status = 'PENDING'))
         GROUP BY concurrency_key) k;
        IF most > (CASE which WHEN 'busy' THEN 3 ELSE 2 END) THEN
            RAISE 'one too many: %', most;
        END IF;
        IF random() < 0.5 THEN
            BEGIN
                PERFORM ains.complete(c.task_id, c.lease_token);
            EXCEPTION WHEN SQLSTATE 'NS004' THEN
                PERFORM ains.fail(c.task_id, c.lease_token, 'cancelled meanwhile');
            END;
        ELSIF random() < 0.5 THEN
            PERFORM ains.fail(c.task_id, c.lease_token, 'broken', retry_after => random() * interval '2 ms');
        ELSE
            PERFORM ains.release(c.task_id, c.lease_token);
        END IF;
        COMMIT;
    END LOOP;
END $$
EOS
@many = map { AinsTest::Session->new($node) } 1 .. 8;
$many[$_]->send(sprintf "CALL hammer('%s', 200)", $_ % 2 ? 'busy' : 'keyed') for 0 .. 7;
is(join(' ', grep { defined } map { $_->result->{message} } @many), '', 'never is there one too many');
$s->query(<<'EOS');
CREATE PROCEDURE drain() LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        PERFORM ains.complete(task_id, lease_token) FROM ains.claim('b', 1000);
        EXIT WHEN NOT FOUND;
        COMMIT;
    END LOOP;
END $$
EOS
ok( poll(
		sub {
			$s->query('CALL drain()');
			$s->query("SELECT count(*) FROM ains.task WHERE capability IN ('busy', 'keyed')") eq '0';
		}),
	'and nothing is left behind')
  or diag($s->query("SELECT capability, concurrency_key, status, unmet, count(*) FROM ains.task GROUP BY 1, 2, 3, 4"));
is($s->query("SELECT count(*) FROM ains.concurrency_key WHERE capability = 'keyed'"), '0', 'nor a key');
is($s->query('SELECT ains_internal.ready_drift()'), '0', 'nor was a key of the ready set lost');

# Many keys. They are made by hand, as enqueue would make them.
$s->query("SELECT ains.configure_capability('many', key_limit => 1)");
$s->query("SELECT ains.configure_capability('none')");
$s->query("SELECT ains.register_agent('c', capabilities => '{many}', heartbeat_timeout => '10 days')");
$s->query("SELECT ains.register_agent('d', capabilities => '{none}', heartbeat_timeout => '10 days')");
my $put = <<'EOS';
INSERT INTO ains.task (rank, lane_id, status, priority, run_at, created_at, enqueued_by, capability, payload, concurrency_key)
SELECT n, lane_id, (%s)::ains.task_status, 5, now(), now(), current_user::regrole, capability, '{}', %s
  FROM ains.lane, generate_series(1, %d) n WHERE capability = '%s'
EOS
$s->query(sprintf $put, "CASE WHEN n <= 10000 THEN 'PENDING' ELSE 'BLOCKED' END", "'key ' || n % 10000", 1_000_000, 'many');
$s->query(sprintf $put, "'PENDING'", 'NULL', 10_000, 'none');
$s->query("INSERT INTO ains.concurrency_key SELECT 'many', 'key ' || n FROM generate_series(0, 9999) n");
$s->query('VACUUM ANALYZE ains.task');
$s->query('SELECT ains.rescan()');

# Buffers that a statement touches.
sub buffers
{
	my ($statement) = @_;
	my $plan = $s->query("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) $statement");
	my $buffers = 0;

	# the first line is of the whole
	if ($plan =~ /Buffers: shared([^\n]*)/)
	{
		my $counts = $1;
		$buffers += $_ for $counts =~ /(?:hit|read)=(\d+)/g;
	}
	return $buffers;
}

sub claims
{
	my ($agent) = @_;
	my $sum = 0;

	$s->query("SELECT count(*) FROM ains.claim('$agent')");	# fills the lane, and what a session keeps
	$sum += buffers("SELECT * FROM ains.claim('$agent')") for 1 .. 20;
	return $sum;
}
my ($with, $without) = (claims('c'), claims('d'));
note("20 claims touch $with buffers, $without without keys");
cmp_ok($with, '<', $without + 20 * 5, 'a million tasks of 10,000 keys cost a claim no more than an index more to write');
my $complete = 0;
for my $n (1 .. 20)
{
	my ($id, $token) = split /\|/, $s->query("SELECT task_id, lease_token FROM ains.claim('c')");
	$complete += buffers("SELECT ains.complete($id, $token)");
}
note("20 completions touch $complete buffers");
cmp_ok($complete, '<', 20 * 120, 'and handing on a key costs the same, however many there are');
is($s->query("SELECT count(*) FROM (SELECT FROM ains.task WHERE capability = 'many' AND status IN ('PENDING', 'ACTIVE') GROUP BY concurrency_key HAVING count(*) <> 1) k"),
	'0', 'of each one runs');

# There is room for the limits of so many at a time, not for ever.
my $narrow = ains_node('narrow', test_clock => 1, conf => "fsync = off\nains.max_capabilities = 4\n");
$s = AinsTest::Session->new($narrow);
my $roles = $s->query(q{SELECT string_agg(format('CREATE ROLE r%s IN ROLE ains_producer', n), ';') FROM generate_series(1, 24) n});
$s->query($roles);
$s->query("SELECT count(ains.set_quota(('r' || n)::regrole, 1, '1 hour')) FROM generate_series(1, 24) n");
for my $round (1 .. 3)
{
	my %codes;

	for my $n (map { $_ + ($round - 1) * 8 } 1 .. 8)
	{
		$s->query("SET ROLE r$n");
		$codes{ $s->try("SELECT ains.enqueue('work')")->{code} // 'done' }++;
		$codes{ $s->try("SELECT ains.enqueue('work')")->{code} // 'done' }++;
		$s->query('RESET ROLE');
	}
	is_deeply(\%codes, { done => 8, NS008 => 8 }, "quotas of eight roles: the windows of round $round");
	$s->query("SELECT ains_internal.advance_clock('2 hours')");
}

done_testing();
