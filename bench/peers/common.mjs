// What the drivers of the peers share: the same jobs, the same number of
// workers, the same clock. Each driver is called as
//	node DRIVER.mjs one|many|latency N
// and prints jobs per second, or one microsecond count per line.
import pg from 'pg';

export const WORKERS = 10;
export const mode = process.argv[2];
export const count = Number(process.argv[3]);
export const database = {
  host: process.env.PGHOST, port: Number(process.env.PGPORT), user: process.env.PGUSER,
  database: process.env.PGDATABASE,
};
export const payload = (n) => ({ page: n, url: `https://example.org/item/${n}`, mode: 'summary', depth: 3 });
export function pool(max = WORKERS) {
  const p = new pg.Pool({ ...database, max });
  const failed = (e) => { console.error(e.message); process.exit(1); };
  p.on('error', failed);
  p.on('connect', (c) => c.on('error', failed));
  return p;
}
export const nap = (ms) => new Promise((done) => setTimeout(done, ms));

// Resolves when it was called as often as there are jobs; knows how fast.
export function counter() {
  let begin = 0n, left = count, all;
  const finished = new Promise((done) => { all = done; });
  return {
    begin() { begin ||= process.hrtime.bigint(); },
    end(n = 1) {
      left -= n;
      if (left <= 0) all(count / (Number(process.hrtime.bigint() - begin) / 1e9));
    },
    get left() { return left; },
    finished,
  };
}

// Enqueues one job after the other, each when the worker is asleep again;
// arrived() says that the job of now is in its handler's hands.
export function stopwatch() {
  let arrived;
  return {
    arrived() { const at = process.hrtime.bigint(); arrived?.(at); },
    async run(enqueue) {
      for (let i = -10; i < count; i++) {
        await nap(5 + Math.random() * 10);
        const there = new Promise((done) => { arrived = done; });
        const from = process.hrtime.bigint();
        await enqueue();
        const at = await there;
        if (i >= 0) console.log(Number(at - from) / 1000);
      }
    },
  };
}

// What autovacuum would have done by now, for everybody: the queue was just filled.
export async function settle() {
  const p = pool(1);
  await p.query('VACUUM (ANALYZE)');
  await p.end();
}
