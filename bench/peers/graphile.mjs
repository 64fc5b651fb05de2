// graphile-worker as its documentation runs it: one runner, jobs one by one, or
// with its local queue and batched completion.
import { EventEmitter } from 'node:events';
import { run, runMigrations, Logger } from 'graphile-worker';
import { WORKERS, mode, count, pool, counter, stopwatch, payload, settle } from './common.mjs';

const db = pool(WORKERS + 2);
const logger = new Logger(() => () => {});
const watch = stopwatch();
const done = counter();
const events = new EventEmitter();

await runMigrations({ pgPool: db, logger });
await db.query(`SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
  SELECT json_populate_record(NULL::graphile_worker.job_spec, json_build_object('identifier', 'noop',
    'payload', json_build_object('page', n, 'url', 'https://example.org/item/' || n, 'mode', 'summary', 'depth', 3)))
  FROM generate_series(1, $1::int) AS n))`, [mode === 'latency' ? 0 : count]);

if (mode !== 'latency') await settle();
events.on('job:start', () => done.begin());
events.on('job:complete', () => done.end());
const runner = await run({
  preset: {
    worker: {
      concurrentJobs: mode === 'latency' ? 1 : WORKERS,
      ...(mode === 'many' ? { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } : {}),
    },
  },
  pgPool: db, logger, events, noHandleSignals: true,
  taskList: { noop: async () => { watch.arrived(); } },
});
if (mode === 'latency')
  await watch.run(() => db.query({
    name: 'add', text: `SELECT graphile_worker.add_job('noop', $1)`, values: [JSON.stringify(payload(1))],
  }));
else
  console.log(await done.finished);
await runner.stop();
await db.end();
