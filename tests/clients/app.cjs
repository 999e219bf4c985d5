// The server behind the real clients: Node's own HTTP servers and the ws package, nothing of lastcall's.
// Prints its port as the first line. With --h2c it speaks HTTP/2 by prior knowledge; with --tls CHAIN KEY, HTTP/2
// and HTTP/1 in TLS. With --broken it does each thing wrongly: the control, which every check of every client must
// notice.
'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const http2 = require('node:http2');
const { setTimeout: sleep } = require('node:timers/promises');
const { WebSocketServer } = require('ws');

const broken = process.argv.includes('--broken');
const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');

function content(length) {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i += 1) bytes[i] = (i * 31 + (i >> 8)) & 0xff;
  return bytes;
}

// What is sent in place of these bytes: themselves, or in the control something else of the same length.
function spoil(bytes) {
  if (!broken) return bytes;
  const other = Buffer.from(bytes);
  if (other.length > 0) other[other.length >> 1] ^= 1;
  return other;
}

async function read(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces);
}

function answer(response, value) {
  const text = JSON.stringify(value);
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
  response.end(text);
}

async function handle(request, response, continued) {
  const url = new URL(request.url, 'http://app');
  switch (url.pathname) {
    case '/bytes': {
      const bytes = content(Number(url.searchParams.get('n')));
      const head = { 'X-Sha256': sha256(bytes) };
      if (!url.searchParams.has('chunked')) head['Content-Length'] = bytes.length;
      response.writeHead(200, head);
      const sent = spoil(bytes);
      for (let at = 0; at < sent.length; at += 50000) response.write(sent.subarray(at, at + 50000));
      return response.end();
    }
    case '/upload': {
      const bytes = await read(request);
      await sleep(Number(url.searchParams.get('wait') ?? 0));
      return answer(response, {
        length: bytes.length,
        sha256: sha256(spoil(bytes)),
        chunked: request.headers['transfer-encoding'] === 'chunked' && !broken,
        continued: continued && !broken,
        trailers: broken ? {} : request.trailers,
      });
    }
    case '/echo': {
      // Back as it comes: the response has begun before the request has ended.
      response.writeHead(200, { 'Content-Type': 'application/octet-stream' });
      response.flushHeaders();
      for await (const piece of request) response.write(spoil(piece));
      return response.end();
    }
    case '/trailers': {
      response.writeHead(200, { Trailer: 'X-Sha256' });
      response.write('a body');
      if (!broken) response.addTrailers({ 'X-Sha256': sha256('a body') });
      return response.end();
    }
    case '/refuse':
      response.writeHead(broken ? 200 : 417, { 'Content-Length': 0, Connection: 'close' });
      return response.end();
    default:
      response.writeHead(404, { 'Content-Length': 0 });
      return response.end();
  }
}

function serve(request, response, continued) {
  handle(request, response, continued).catch((error) => {
    console.error(error);
    response.destroy();
  });
}

function listen(listener) {
  if (process.argv.includes('--h2c')) return http2.createServer(listener);
  const tls = process.argv.indexOf('--tls');
  if (tls < 0) return http.createServer(listener);
  const [cert, key] = process.argv.slice(tls + 1, tls + 3).map((file) => fs.readFileSync(file));
  return http2.createSecureServer({ cert, key, allowHTTP1: true }, listener);
}

const server = listen((request, response) => serve(request, response, false));
server.on('checkContinue', (request, response) => {
  const refuses = request.url.startsWith('/refuse');
  if (!refuses && !broken) response.writeContinue();
  serve(request, response, !refuses);
});
const sockets = new WebSocketServer({ server, path: '/ws' });
sockets.on('connection', (socket) => {
  socket.on('error', () => {}); // A client that breaks the rules; the close frame says which.
  socket.on('message', (bytes, binary) => socket.send(spoil(bytes), { binary }));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
// The test holds standard input open: without it there is nobody to serve.
process.stdin.resume().on('end', () => process.exit(0));
