// Drives Node through the base URL: fetch (undici), node:http or node:https, and the ws package. Prints one JSON line.
'use strict';
const assert = require('node:assert');
const crypto = require('node:crypto');
const http = process.argv[2].startsWith('https:') ? require('node:https') : require('node:http');
const { once } = require('node:events');
const WebSocket = require('ws');
const { report } = require('./verdicts.cjs');

const base = process.argv[2];
const body = crypto.randomBytes(3000000);
const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');
const signal = () => AbortSignal.timeout(20000);
const pieces = async function* pieces() {
  for (let at = 0; at < body.length; at += 40000) yield body.subarray(at, at + 40000);
};

async function download(query) {
  const answer = await fetch(`${base}/bytes?n=2000000${query}`, { signal: signal() });
  const got = Buffer.from(await answer.arrayBuffer());
  assert.strictEqual(got.length, 2000000);
  assert.strictEqual(sha256(got), answer.headers.get('x-sha256'));
}

async function upload(content, chunked) {
  const answer = await fetch(`${base}/upload`, { method: 'POST', body: content, duplex: 'half', signal: signal() });
  const said = await answer.json();
  assert.strictEqual(said.length, body.length);
  assert.strictEqual(said.sha256, sha256(body));
  if (chunked) assert.strictEqual(said.chunked, true);
}

async function echo() {
  const answer = await fetch(`${base}/echo`, { method: 'POST', body: pieces(), duplex: 'half', signal: signal() });
  assert.strictEqual(sha256(Buffer.from(await answer.arrayBuffer())), sha256(body));
}

async function whole(request) {
  const [answer] = await once(request, 'response', { signal: signal() });
  const got = [];
  for await (const piece of answer) got.push(piece);
  return { answer, got: Buffer.concat(got) };
}

async function trailers() {
  const request = http.get(`${base}/trailers`, { headers: { TE: 'trailers', Connection: 'TE' } });
  const { answer, got } = await whole(request);
  assert.strictEqual(answer.trailers['x-sha256'], sha256(got));
}

async function requestTrailers() {
  const headers = { 'Transfer-Encoding': 'chunked', Trailer: 'X-Checked' };
  const request = http.request(`${base}/upload`, { method: 'POST', headers });
  request.addTrailers({ 'X-Checked': 'yes' });
  request.end(body);
  const said = JSON.parse((await whole(request)).got);
  assert.strictEqual(said.trailers['x-checked'], 'yes');
  assert.strictEqual(said.sha256, sha256(body));
}

async function continues() {
  const headers = { Expect: '100-continue', 'Content-Length': body.length };
  const request = http.request(`${base}/upload`, { method: 'POST', headers });
  request.flushHeaders();
  await once(request, 'continue', { signal: AbortSignal.timeout(8000) });
  request.end(body);
  const said = JSON.parse((await whole(request)).got);
  assert.strictEqual(said.continued, true);
  assert.strictEqual(said.sha256, sha256(body));
}

async function many() {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ports = new Set();
  for (let number = 0; number < 200; number += 1) {
    const request = http.get(`${base}/bytes?n=1000`, { agent });
    const { answer, got } = await whole(request);
    ports.add(request.socket.localPort);
    assert.strictEqual(sha256(got), answer.headers['x-sha256']);
  }
  agent.destroy();
  assert.strictEqual(ports.size, 1);
}

async function webSocket() {
  const socket = new WebSocket(`${base.replace('http', 'ws')}/ws`, { perMessageDeflate: false });
  await once(socket, 'open', { signal: signal() });
  for (const size of [1, 125, 126, 65535, 65536, 1000000]) {
    const message = crypto.randomBytes(size);
    socket.send(message);
    const [got] = await once(socket, 'message', { signal: signal() });
    assert.strictEqual(sha256(got), sha256(message));
  }
  socket.close(1000);
  const [code] = await once(socket, 'close', { signal: signal() });
  assert.strictEqual(code, 1000);
}

const checks = {
  download: () => download(''),
  downloadChunked: () => download('&chunked'),
  upload: () => upload(body, false),
  uploadChunked: () => upload(pieces(), true),
  echo,
  trailers,
  requestTrailers,
  continue: continues,
  many,
  webSocket,
};

report('node', checks);
