// Drives Node's http2 through the base URL; prints one JSON line.
'use strict';
const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const http2 = require('node:http2');
const { once } = require('node:events');
const { report } = require('./verdicts.cjs');

const base = process.argv[2];
const ca = process.env.NODE_EXTRA_CA_CERTS && fs.readFileSync(process.env.NODE_EXTRA_CA_CERTS);
const body = crypto.randomBytes(3000000);
const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');

// Sends a request and reads its whole answer.
async function ask(session, headers, content, options) {
  const stream = session.request(headers, { signal: AbortSignal.timeout(20000), ...options });
  const answer = { trailers: {} };
  stream.on('response', (fields) => (answer.headers = fields));
  stream.on('trailers', (fields) => (answer.trailers = fields));
  if (!options?.waitForTrailers) stream.end(content);
  else stream.on('wantTrailers', () => stream.sendTrailers({ 'x-checked': 'yes' })).end(content);
  const got = [];
  for await (const piece of stream) got.push(piece);
  assert.strictEqual(answer.headers[':status'], 200);
  answer.body = Buffer.concat(got);
  return answer;
}

const session = http2.connect(base, { ca });
session.on('error', () => {});

async function download() {
  const { headers, body: got } = await ask(session, { ':path': '/bytes?n=2000000' });
  assert.strictEqual(got.length, 2000000);
  assert.strictEqual(sha256(got), headers['x-sha256']);
}

async function upload(headers, options) {
  const answer = await ask(session, { ':method': 'POST', ':path': '/upload', ...headers }, body, options);
  const said = JSON.parse(answer.body);
  assert.deepStrictEqual([said.length, said.sha256], [body.length, sha256(body)]);
  return said;
}

async function echo() {
  const answer = await ask(session, { ':method': 'POST', ':path': '/echo' }, body);
  assert.strictEqual(sha256(answer.body), sha256(body));
}

async function trailers() {
  const { trailers: came, body: got } = await ask(session, { ':path': '/trailers', te: 'trailers' });
  assert.strictEqual(came['x-sha256'], sha256(got));
}

async function requestTrailers() {
  const said = await upload({ trailer: 'x-checked' }, { waitForTrailers: true });
  assert.strictEqual(said.trailers['x-checked'], 'yes');
}

async function continues() {
  const stream = session.request({ ':method': 'POST', ':path': '/upload', expect: '100-continue' });
  const answered = once(stream, 'response');
  await once(stream, 'continue', { signal: AbortSignal.timeout(8000) });
  stream.end(body);
  await answered;
  const got = [];
  for await (const piece of stream) got.push(piece);
  const said = JSON.parse(Buffer.concat(got));
  assert.deepStrictEqual([said.continued, said.sha256], [true, sha256(body)]);
}

async function concurrent() {
  const one = async (number) => {
    const { headers, body: got } = await ask(session, { ':path': `/bytes?n=${1000 + number}` });
    assert.deepStrictEqual([got.length, sha256(got)], [1000 + number, headers['x-sha256']]);
  };
  await Promise.all(Array.from({ length: 100 }, (_, number) => one(number)));
}

// Uploads, eight at once, as long as the file is there.
async function rolling(file) {
  const piece = body.subarray(0, 20000);
  const uploads = async () => {
    do {
      const answer = await ask(session, { ':method': 'POST', ':path': '/upload?wait=20' }, piece);
      assert.strictEqual(JSON.parse(answer.body).sha256, sha256(piece));
    } while (fs.existsSync(file));
  };
  await Promise.all(Array.from({ length: 8 }, uploads));
}

const told = process.env.LASTCALL_ROLLING;
const checks = told
  ? { rolling: () => rolling(told) }
  : {
      download,
      upload: () => upload({ 'content-length': body.length }),
      uploadStreamed: () => upload({}),
      echo,
      trailers,
      requestTrailers,
      continue: continues,
      concurrent,
    };

report('node-http2', checks);
