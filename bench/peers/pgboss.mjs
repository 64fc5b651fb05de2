// pg-boss: loops of fetch and complete, which is what its work() does without
// the pauses between polls; for latency work() itself, woken by NOTIFY.
import { PgBoss } from 'pg-boss';
import { WORKERS, mode, count, database, payload, counter, stopwatch, settle } from './common.mjs';

const latency = mode === 'latency';
const boss = new PgBoss({ ...database, max: WORKERS + 2, schedule: false, ...(latency ? { useListenNotify: true } : {}) });
boss.on('error', (e) => { console.error(e.message); process.exit(1); });
await boss.start();
const queue = `bench-${mode}`;
await boss.createQueue(queue, latency ? { notify: true } : {});

if (latency) {
  const watch = stopwatch();
  await boss.work(queue, { pollingIntervalSeconds: 0.5 }, async () => { watch.arrived(); });
  await watch.run(() => boss.send(queue, payload(1)));
} else {
  for (let i = 0; i < count; i += 1000)
    await boss.insert(queue, Array.from({ length: Math.min(1000, count - i) }, (_, n) => ({ data: payload(i + n) })));
  await settle();
  const done = counter();
  const batchSize = mode === 'one' ? 1 : 100;
  done.begin();
  for (let n = 0; n < WORKERS; n++)
    (async () => {
      while (done.left > 0) {
        const jobs = await boss.fetch(queue, { batchSize });
        if (jobs.length === 0) break;
        await boss.complete(queue, jobs.map((j) => j.id));
        done.end(jobs.length);
      }
    })();
  console.log(await done.finished);
}
await boss.stop({ graceful: false });
process.exit(0);
