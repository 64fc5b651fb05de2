# Webhooks, end to end: the sweeper makes the tasks, ains-agent with the example
# of examples/webhook-agent delivers them by curl, and a receiver on the loopback
# checks the signature over the bytes that arrive.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use AinsTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $secret = 'a secret of 32 characters, or so';

# Answers each request with the first status of the file, and goes on to the
# next one if there is one; notes what came.
append_to_file("$dir/receiver.py", <<'EOS');
import hashlib, hmac, http.server, os, sys
dir, secret = sys.argv[1], sys.argv[2].encode()
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        signature = 'sha256=' + hmac.new(secret, body, hashlib.sha256).hexdigest()
        answers = open(dir + '/answers').read().split()
        with open(dir + '/answers', 'w') as f:
            f.write(' '.join(answers[1:] or answers))
        with open(dir + '/received', 'a') as f:
            f.write(' '.join([self.path, self.headers['X-AINS-Event'], self.headers['X-AINS-Delivery'],
                'signed' if hmac.compare_digest(signature, self.headers['X-AINS-Signature']) else 'forged',
                self.headers['Content-Type'], answers[0]]) + '\n')
        with open(dir + '/body', 'wb') as f:
            f.write(body)
        self.send_response(int(answers[0]))
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(('127.0.0.1', 0), Receiver)
with open(dir + '/port.new', 'w') as f:
    f.write(str(server.server_port))
os.rename(dir + '/port.new', dir + '/port')
server.serve_forever()
EOS

sub answer
{
	my ($statuses) = @_;

	unlink "$dir/received", "$dir/answers";
	append_to_file("$dir/answers", $statuses);
	return;
}

sub received { return -e "$dir/received" ? split /\n/, slurp_file("$dir/received") : () }

answer('200');
my $receiver = IPC::Run::start([ 'python3', "$dir/receiver.py", $dir, $secret ]);
poll(sub { -s "$dir/port" }) or die 'the receiver does not start';
my $port = slurp_file("$dir/port");

my $node = ains_node('main', conf => "ains.events = 'task.completed, task.failed, agent.dead, run.needs_decision'");
$node->safe_psql('postgres', 'CREATE ROLE producer LOGIN; GRANT ains_producer TO producer;
	CREATE ROLE courier LOGIN; GRANT ains_agent TO courier');
my $s = AinsTest::Session->new($node);
my $producer = AinsTest::Session->new($node, user => 'producer');

my $webhook = $producer->query("SELECT ains.add_webhook('http://127.0.0.1:$port/hook', '{task.completed,task.failed,run.*}', '$secret')");
$s->query("SELECT ains.configure_capability('ains.webhook', max_attempts => 3, backoff => 'fixed', backoff_base => '10 ms', jitter => 0)");
$s->query("SELECT ains.register_agent('worker', capabilities => ARRAY['grüße'])");

my $agent = IPC::Run::start(
	[
		$ENV{AINS_AGENT}, '--dsn', $node->connstr('postgres') . ' user=courier', '--agent-id', 'courier',
		'-c', 'ains.webhook', '--', 'python3', "$ENV{AINS_SRC}/examples/webhook-agent/deliver"
	],
	'2>', "$dir/agent.log");

# A task of the producer ends so; returns a condition on what tells of it.
sub happens
{
	my ($how) = @_;
	my $id = $producer->query("SELECT ains.enqueue('grüße')");

	$s->query("SELECT ains.$how FROM ains.claim('worker')");
	return "capability = 'ains.webhook' AND payload->>'body' ~ '\"task_id\" : $id,'";
}

# ----------------------------------------------------------------------
# Delivered, signed, at once
# ----------------------------------------------------------------------
my $delivery = happens('complete(task_id, lease_token)');
eventually($s, "SELECT status, attempt, result FROM ains.tasks WHERE $delivery", 'COMPLETED|1|{"status": 200}', 'delivered');
like((received())[0], qr{^/hook task\.completed $webhook-\d+ signed application/json 200$}, 'the signature is over the bytes that came');
my $body = slurp_file("$dir/body");
like($body, qr/"capability" : "grüße"/, 'text beyond ASCII, too');
is($s->query("SELECT enqueued_by FROM ains.tasks WHERE $delivery"), 'producer', 'the task is the webhook owner\'s');

# ----------------------------------------------------------------------
# Tried again, and given up
# ----------------------------------------------------------------------
answer('500 429 204');
$delivery = happens(q{fail(task_id, lease_token, 'no', retryable => false)});
eventually($s, "SELECT status, attempt, result FROM ains.tasks WHERE $delivery", 'COMPLETED|3|{"status": 204}', 'delivered at the third attempt');
is($s->query("SELECT string_agg(a.outcome || ' ' || a.error, ', ' ORDER BY a.attempt) FROM ains.attempts a JOIN ains.tasks USING (task_id) WHERE $delivery"),
	'failed exit code 1: the answer was 500, failed exit code 1: the answer was 429', 'the history of it');
is(scalar(grep { / task\.failed $webhook-\d+ signed / } received()), 3, 'each with a signature');
is(scalar(keys %{ { map { (split)[2] => 1 } received() } }), 1, 'and the same delivery id');

answer('500');
$delivery = happens('complete(task_id, lease_token)');
eventually($s, "SELECT status, attempt, error FROM ains.tasks WHERE $delivery", 'FAILED|3|exit code 1: the answer was 500', 'a dead letter after all attempts');
answer('200');
is($producer->query(q{SELECT ains.redrive('ains.webhook')}), '1', 'which its owner puts back');
eventually($s, "SELECT status FROM ains.tasks WHERE $delivery", 'COMPLETED', 'and it is delivered');

answer('410');
$delivery = happens('complete(task_id, lease_token)');
eventually($s, "SELECT status, attempt, error FROM ains.tasks WHERE $delivery", 'FAILED|1|exit code 65: the answer was 410', 'gone for good');

# ----------------------------------------------------------------------
# A run that falls short of its target
# ----------------------------------------------------------------------
answer('200');
my $run = $producer->query(q{SELECT ains.create_run('leads', target => 2)});
$producer->query("SELECT ains.enqueue('step', run_id => $run)");
$s->query(q{SELECT ains.register_agent('stepper', capabilities => '{step}')});
$s->query(q{SELECT ains.complete(task_id, lease_token) FROM ains.claim('stepper')});
eventually($s, qq{SELECT status, result, payload->>'body' ~ '"run_id": $run,' FROM ains.tasks WHERE payload->'headers'->>'X-AINS-Event' = 'run.needs_decision'},
	'COMPLETED|{"status": 200}|t', 'somebody is told which run waits for a decision');

# ----------------------------------------------------------------------
# No more than that
# ----------------------------------------------------------------------
is($s->query(q{SELECT count(*) FROM ains.tasks WHERE capability = 'ains.webhook'}), '6', 'one task for each event, none for what became of deliveries');
$producer->query("SELECT ains.remove_webhook($webhook)");
answer('200');
happens('complete(task_id, lease_token)');
eventually($s, q{SELECT count(*) FROM ains.events WHERE capability = 'grüße'}, '5', 'the event is there');
is($s->query(q{SELECT count(*) FROM ains.tasks WHERE capability = 'ains.webhook'}), '6', 'a webhook that was removed is told nothing');

# The secret is nowhere but in its row.
is($s->query(qq{SELECT count(*) FROM ains.task_info WHERE payload::text ~ '$secret'}), '0', 'no task has the secret');
unlike(slurp_file("$dir/agent.log"), qr/$secret/, 'the agent does not know it');

$agent->signal('TERM');
$agent->finish;
$receiver->signal('TERM');
$receiver->finish;
$node->stop;
done_testing();
