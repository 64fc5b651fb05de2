// ains through the same Node.js driver as the peers: workers that claim and
// complete, one task or a hundred at a time.
import { WORKERS, mode, count, payload, pool, counter, stopwatch, settle } from './common.mjs';

const db = pool(WORKERS + 1);
const agent = (n) => `peer-${n}`;
for (let n = 0; n < WORKERS; n++)
  await db.query(`SELECT ains.register_agent($1, capabilities => '{peer}', heartbeat_timeout => '1 h')`, [agent(n)]);

const claim = (c, n, many) => c.query({
  name: 'claim', text: 'SELECT task_id, lease_token, payload FROM ains.claim($1, $2)', values: [agent(n), many],
});
const complete = (c, row) => c.query({
  name: 'complete', text: 'SELECT ains.complete($1, $2)', values: [row.task_id, row.lease_token],
});

if (mode === 'latency') {
  const watch = stopwatch();
  const c = await db.connect();
  let ending = false;
  const worker = (async () => {
    while (!ending) {
      await c.query(`CALL ains.wait_for_task('${agent(0)}', '1 s')`);
      for (const row of (await claim(c, 0, 1)).rows) {
        watch.arrived();
        await complete(c, row);
      }
    }
  })();
  await watch.run(() => db.query({ name: 'enqueue', text: `SELECT ains.enqueue('peer', $1)`, values: [payload(1)] }));
  ending = true;
  await worker;
  c.release();
} else {
  for (let i = 0; i < count; i += 10000) {
    const jobs = Array.from({ length: Math.min(10000, count - i) }, (_, n) => payload(i + n));
    await db.query(`SELECT count(*) FROM ains.enqueue_batch('peer', $1)`, [JSON.stringify(jobs)]);
  }
  await settle();
  const done = counter();
  const many = mode === 'one' ? 1 : 100;
  done.begin();
  for (let n = 0; n < WORKERS; n++)
    (async () => {
      const c = await db.connect();
      while (done.left > 0) {
        const { rows } = await claim(c, n, many);
        if (rows.length === 0) break;
        if (many === 1) await complete(c, rows[0]);
        else await c.query({
          name: 'complete_batch', text: 'SELECT count(*) FROM ains.complete_batch($1, $2)',
          values: [rows.map((r) => r.task_id), rows.map((r) => r.lease_token)],
        });
        done.end(rows.length);
      }
      c.release();
    })();
  console.log(await done.finished);
}
await db.end();
