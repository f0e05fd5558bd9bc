// BullMQ. As a producer the twin of producer.py:
//   node bullmq_app.mjs enqueue ONE MANY | fill JOBS | probe JOBS SECONDS
// and as a worker:
//   node bullmq_app.mjs worker CONCURRENCY
import { createRequire } from 'node:module';
import fs from 'node:fs';

const { Queue, Worker } = createRequire(process.env.BENCH_NODE_MODULES + '/')('bullmq');
const url = new URL(process.env.BENCH_BROKER);
const connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null };
const marks = process.env.BENCH_MARKS;
const opts = { removeOnComplete: true };
const CHUNK = 1000;
const PROBE_FIRST = 1_000_000;
const PROBE_GAP_MS = [20, 60];
const BEGIN_MS_MAX = 10_000;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const now = () => Number(process.hrtime.bigint()) / 1e9;
const countMarks = () => {
  const stat = fs.statSync(marks, { throwIfNoEntry: false });
  return stat === undefined ? 0 : Math.floor(stat.size / 16);
};

function work(concurrency) {
  const file = fs.openSync(marks, 'a');
  const record = Buffer.alloc(16);
  new Worker('bench', async (job) => {
    record.writeBigUInt64LE(BigInt(job.data), 0);
    record.writeBigUInt64LE(process.hrtime.bigint(), 8);
    fs.writeSync(file, record);
  }, { connection, concurrency });
}

async function fill(queue, jobs) {
  for (let first = 0; first < jobs; first += CHUNK) {
    const count = Math.min(CHUNK, jobs - first);
    const chunk = Array.from({ length: count }, (_, k) => ({ name: 'noop', data: first + k, opts }));
    await queue.addBulk(chunk);
  }
}

async function enqueue(queue, one, many) {
  await queue.add('noop', 0, opts);
  const begun = now();
  for (let number = 0; number < one; number++) await queue.add('noop', number, opts);
  const between = now();
  await fill(queue, many);
  return { one_per_s: one / (between - begun), many_per_s: many ? many / (now() - between) : 0 };
}

async function probe(queue, jobs, seconds) {
  const before = countMarks();
  const called = [];
  const deadline = now() + seconds;
  while (called.length < jobs && (now() < deadline || called.length === 0)) {
    await sleep(PROBE_GAP_MS[0] + Math.random() * (PROBE_GAP_MS[1] - PROBE_GAP_MS[0]));
    called.push(process.hrtime.bigint());
    await queue.add('noop', PROBE_FIRST + called.length - 1, opts);
    const by = now() + BEGIN_MS_MAX / 1000;
    while (countMarks() < before + called.length && now() < by) await sleep(1);
  }
  return { called_ns: called };
}

const [kind, ...numbers] = process.argv.slice(2);
if (kind === 'worker') {
  work(Number(numbers[0]));
} else {
  const queue = new Queue('bench', { connection });
  await queue.waitUntilReady();
  const orders = { enqueue, fill, probe };
  const done = await orders[kind](queue, ...numbers.map(Number));
  // Nanoseconds are beyond what a number of JSON can hold for JavaScript, not for Python.
  console.log(JSON.stringify(done ?? null, (_, value) =>
    typeof value === 'bigint' ? `ns${value}` : value).replace(/"ns(\d+)"/g, '$1'));
  await queue.close();
}
