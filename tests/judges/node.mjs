// What Node's HTTP parser (llhttp) makes of raw bytes: an independent judge of our codec.
// One JSON object a line on stdin, {"role": "request" | "response", "method", "bytes": hex}; one answer a
// line on stdout, {"messages": [...], "error": text or null}. Bytes go over a loopback socket, so that it
// is the parser people really run.
import http from 'node:http';
import net from 'node:net';
import readline from 'node:readline';

const listen = (server) =>
  new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));

const pairs = (raw) => {
  const all = [];
  for (let at = 0; at < raw.length; at += 2) all.push([raw[at], raw[at + 1]]);
  return all;
};

const collect = async (stream) => {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces).toString('hex');
};

// Requests: one server, one case at a time.
let current;
const server = http.createServer(async (req, res) => {
  const judged = current;
  const message = { method: req.method, target: req.url, fields: pairs(req.rawHeaders) };
  judged.open += 1;
  try {
    message.body = await collect(req);
    message.trailers = pairs(req.rawTrailers);
    judged.messages.push(message);
  } catch (error) {
    judged.error = String(error.code ?? error);
  }
  judged.open -= 1;
  res.end();
});
server.on('checkContinue', (req, res) => server.emit('request', req, res));
server.on('upgrade', (req, socket) => {
  current.messages.push({ method: req.method, target: req.url, fields: pairs(req.rawHeaders), body: '', trailers: [] });
  socket.end();
});
server.on('clientError', (error, socket) => {
  current.error = String(error.code);
  socket.destroy();
});
const requestPort = await listen(server);

const judgeRequest = (bytes) =>
  new Promise((resolve) => {
    current = { messages: [], error: null, open: 0 };
    const judged = current;
    const socket = net.connect(requestPort, '127.0.0.1', () => socket.end(bytes));
    socket.on('error', () => {});
    socket.resume();
    socket.on('close', () => resolve({ messages: judged.messages, error: judged.error }));
  });

// Responses: a server that answers anything with the bytes in question.
let answer;
const backend = net.createServer((socket) => {
  socket.on('error', () => {});
  socket.once('data', () => socket.end(answer));
});
const responsePort = await listen(backend);

const judgeResponse = (bytes, method) =>
  new Promise((resolve) => {
    answer = bytes;
    const request = http.request({ port: responsePort, host: '127.0.0.1', method, agent: false });
    request.on('error', (error) => resolve({ messages: [], error: String(error.code ?? error) }));
    request.on('upgrade', (res, socket) => {
      socket.destroy();
      resolve({ messages: [{ status: res.statusCode, fields: pairs(res.rawHeaders), body: '', trailers: [] }], error: null });
    });
    request.on('response', async (res) => {
      const message = { status: res.statusCode, fields: pairs(res.rawHeaders) };
      try {
        message.body = await collect(res);
        message.trailers = pairs(res.rawTrailers);
        resolve({ messages: [message], error: null });
      } catch (error) {
        resolve({ messages: [], error: String(error.code ?? error) });
      }
    });
    request.end();
  });

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { role, method, bytes } = JSON.parse(line);
  const raw = Buffer.from(bytes, 'hex');
  const judged = role === 'request' ? await judgeRequest(raw) : await judgeResponse(raw, method);
  process.stdout.write(JSON.stringify(judged) + '\n');
}
process.exit(0);
